"""The one mapping from a request, in any dialect, to the text that its model reads. Pure; `middleware` calls it.

Everything that a request holds is text of it, except what is listed here with a reason. Fields of another version of the engine
are found by a test, which goes through its request models.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from llama_serving.contract.usage import Dialect

Role = Literal["user", "assistant"]
"""Who is speaking, as a guard knows it: the model, or anybody else."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is asked.

    Attributes:
        turns: The conversation; the sides alternate.
        unread: Place of something that is no text, which a guard cannot read; None if there is none.
    """

    turns: tuple[Turn, ...]
    unread: str | None = None


TURNS: Final = {Dialect.CHAT: "messages", Dialect.MESSAGES: "messages", Dialect.RESPONSES: "input"}
"""Fields with the conversation."""

BEFORE: Final = ("system", "instructions", "tools", "documents", "chat_template_kwargs", "prompt", "suffix")
"""Fields that the model reads beside the conversation, in any dialect."""

_NEVER_READ = "it sets how the engine computes or answers; no model reads it"
_FORCES = "it forces the form of the answer; the answer is checked"
_REFUSED = "the desk refuses it, or sets it"

EXCUSED: Final[dict[str, str]] = {
    **dict.fromkeys(("response_format", "structured_outputs", "text", "output_config", "tool_choice"), _FORCES),
    **dict.fromkeys(
        (
            *("cache_salt", "request_id", "session_id", "priority", "kv_transfer_params", "ec_transfer_params"),
            *("vllm_xargs", "chat_template", "media_io_kwargs", "mm_processor_kwargs", "mm_payload", "prompt_embeds"),
            *("previous_response_id", "previous_input_messages", "background", "store"),
        ),
        _REFUSED,
    ),
    **dict.fromkeys(
        (
            *("model", "stop", "stop_sequences", "bad_words", "user", "metadata", "prompt_cache_key", "include"),
            *("logit_bias", "stream_options", "repetition_detection", "service_tier", "truncation", "truncation_side"),
            *("reasoning_effort", "reasoning", "thinking", "thinking_token_budget"),
        ),
        _NEVER_READ,
    ),
}
"""Fields with text that are not checked, and why."""

_LABELS: Final = frozenset({"role", "type", "status", "detail", "phase"})
"""Fields of a message that hold a word of the API."""
_IDS: Final = frozenset({"id", "tool_call_id", "tool_use_id", "call_id"})
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ABOUT: Final = frozenset({"signature", "encrypted_content", "cache_control"})
"""Fields of a message that no model reads."""
_SAID: Final = frozenset(
    {
        *("content", "text", "name", "tool_calls", "function", "function_call", "reasoning", "reasoning_content"),
        *("refusal", "output", "thinking", "summary", "tool_name", "is_error", "index", "annotations", *_IDS, *_LABELS),
    }
)
"""Fields of a message whose values are text, or hold such fields again; of any other field the name is text too."""
_MEDIA: Final = frozenset(
    {
        *("image_url", "input_image", "input_audio", "audio_url", "video_url", "file", "file_data", "file_url"),
        *("file_id", "image", "audio", "video", "source", "image_embeds"),
    }
)
"""Fields of a message that hold something else than text."""
_OF_MODEL: Final = frozenset({"assistant", "function_call", "reasoning", "custom_tool_call"})
"""Roles and types of what the model has said."""


def asked_of(request: dict[str, Any], dialect: Dialect, decode: Callable[[list[int]], str]) -> Asked:
    """Return what a request asks its model.

    Args:
        request: The body.
        dialect: Its API.
        decode: Makes text of tokens, for prompts that are tokens already.
    """
    said: list[Turn] = []
    unread: list[str] = []
    for name in BEFORE:
        value = request.get(name)
        if name == "prompt":
            value = _decoded(value, decode, unread)
        as_messages = name == "system" or (isinstance(value, list) and name == "prompt")
        texts = _texts(value, name, unread) if as_messages else _whole(value)
        said += [Turn("user", text) for text in texts]
    messages = request.get(TURNS.get(dialect, ""))
    for number, message in enumerate(messages if isinstance(messages, list) else [messages]):
        role = _role(message)
        place = f"{TURNS.get(dialect, '')}[{number}]"
        said += [Turn(role, text) for text in _texts(message, place, unread)]
    return Asked(tuple(_alternating(said)), unread[0] if unread else None)


def _alternating(said: list[Turn]) -> Iterator[Turn]:
    """Join what one side says in one go."""
    texts: list[str] = []
    role: Role = "user"
    for turn in said:
        if turn.role != role and texts:
            yield Turn(role, "\n\n".join(texts))
            texts = []
        role = turn.role
        texts.append(turn.text)
    if texts:
        yield Turn(role, "\n\n".join(texts))


def _role(message: Any) -> Role:
    if not isinstance(message, dict):
        return "user"
    said_by = message.get("role") or message.get("type")
    return "assistant" if isinstance(said_by, str) and said_by in _OF_MODEL else "user"


def _texts(value: Any, place: str, unread: list[str]) -> Iterator[str]:
    """All text in a message, or in a part of one, in its order."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts(one, f"{place}[{number}]", unread)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _of_field(name, inner, f"{place}.{name}", unread)


def _of_field(name: str, value: Any, place: str, unread: list[str]) -> Iterator[str]:
    if value is None or name in _ABOUT:
        return
    if name in _LABELS | _IDS and isinstance(value, str) and _WORD.fullmatch(value):
        return
    if name in _MEDIA:
        if value:
            unread.append(place)
    elif name in _SAID:
        yield from _texts(value, place, unread)
    else:
        # Arguments of a tool may be a text or an object, with names of the client's choice.
        yield from _whole(value if isinstance(value, str) else {name: value})


def _whole(value: Any) -> Iterator[str]:
    """A value as one text, with the names in it."""
    if isinstance(value, str):
        yield from (value,) if value.strip() else ()
    elif value:
        yield json.dumps(value, ensure_ascii=False)


def _decoded(prompt: Any, decode: Callable[[list[int]], str], unread: list[str]) -> Any:
    """The prompt of a completion with text in place of tokens."""
    if not isinstance(prompt, list) or not prompt:
        return prompt
    if all(isinstance(token, int) and not isinstance(token, bool) for token in prompt):
        try:
            return decode(prompt)
        except (ValueError, OverflowError, LookupError, TypeError):
            # Numbers of no token.
            unread.append("prompt")
            return None
    return [_decoded(one, decode, unread) for one in prompt]
