"""What a request asks for, in any of the dialects: as much of it as limits need. Pure; `middleware` calls it."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from llama_serving.contract.usage import Dialect
from llama_serving.desk.fields import refuse_fields, refuse_media, refused
from llama_serving.desk.reading import RefusedError
from llama_serving.door.refusals import Refusal

_LENGTHS: Final[dict[Dialect, tuple[str, ...]]] = {
    Dialect.CHAT: ("max_completion_tokens", "max_tokens"),
    Dialect.COMPLETIONS: ("max_tokens",),
    Dialect.RESPONSES: ("max_output_tokens",),
    Dialect.MESSAGES: ("max_tokens",),
    Dialect.COUNT_TOKENS: (),
}
"""Fields with the length of the answer; the first one that is set counts."""

_LEAST: Final = {Dialect.COMPLETIONS: 0}
_COMPLETION_TOKENS: Final = 16
"""Length of a completion that names none, as the API defines it."""
_MOST_TOKENS: Final = (1 << 31) - 1
_MOST_PROMPTS: Final = 256
_BYTES_A_TOKEN: Final = 3
_IMAGE_TOKENS: Final = 2048
_COMING_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for.

    Attributes:
        dialect: Its API.
        model: The model that it names; None if it names none.
        stream: Whether the answer shall come in parts.
        sequences: Answers that the engine makes: choices times prompts.
        prompt_tokens: Length of the prompts together, estimated from their bytes.
        output_tokens: Longest answer that it allows, a sequence; None if it does not say.
        usual_output_tokens: What the API takes if it does not say; None if that is no number.
    """

    dialect: Dialect
    model: str | None
    stream: bool
    sequences: int
    prompt_tokens: int
    output_tokens: int | None
    usual_output_tokens: int | None = None


def wish_of(
    body: dict[str, Any],
    dialect: Dialect,
    *,
    body_bytes: int,
    most_choices: int,
    media_domains: Collection[str] = (),
) -> Wish:
    """Read what a request asks for.

    Args:
        body: The request; numbers that stand for whole numbers are replaced by those.
        dialect: Its API.
        body_bytes: Its length.
        most_choices: Answers that one request may ask for.
        media_domains: Hosts from which images are fetched.

    Raises:
        RefusedError: If a field is wrong or not allowed.
    """
    refuse_fields(body, dialect)
    refuse_media(body, media_domains)
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise refused("model", "The field 'model' must be the name of a model, as a text.")
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise refused("stream", "The field 'stream' must be true or false.")
    choices = _number(body, "n", least=1, most=most_choices)
    prompts, prompt_tokens = _prompts(body, dialect, body_bytes)
    return Wish(
        dialect=dialect,
        model=model,
        stream=bool(stream),
        sequences=(1 if choices is None else choices) * prompts,
        prompt_tokens=prompt_tokens,
        output_tokens=_output_tokens(body, dialect),
        usual_output_tokens=_COMPLETION_TOKENS if dialect is Dialect.COMPLETIONS else None,
    )


def refuse_model(name: str | None) -> RefusedError:
    """Return the refusal of a model that is unknown or not allowed, to be raised: the same words for both."""
    shown = "without a name" if name is None else ascii(name if len(name) <= 128 else f"{name[:128]}...")  # noqa: PLR2004
    return RefusedError(
        Refusal(
            404,
            f"The model {shown} does not exist here, or your key may not use it. GET /v1/models lists the models that you may use.",
            code="model_not_found",
            param="model",
        )
    )


def refuse_conversation() -> RefusedError:
    """Return the refusal of a conversation with a model that has no template for it, to be raised."""
    return RefusedError(
        Refusal(
            400,
            "This is a base model: it goes on with a text, and it has no chat template, which would make a text of a conversation. "
            "Send the text to POST /v1/completions, or ask an endpoint with an instruct model. The team that runs this endpoint can "
            "name a template in spec.model.chatTemplate.",
            code="no_chat_template",
        )
    )


def _output_tokens(body: dict[str, Any], dialect: Dialect) -> int | None:
    if dialect is Dialect.COUNT_TOKENS:
        return 0
    lengths = [_number(body, name, least=_LEAST.get(dialect, 1), most=_MOST_TOKENS) for name in _LENGTHS[dialect]]
    return next((length for length in lengths if length is not None), None)


def _number(body: dict[str, Any], name: str, *, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = body[name] = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused(name, f"The field {name!r} must be a whole number.")
    if not least <= value <= most:
        raise refused(name, f"The field {name!r} must be from {least} to {most}.")
    return value


def refuse_coming(name: str) -> RefusedError:
    """Return the refusal of an adapter that this replica is about to load, to be raised."""
    words = f"The adapter {name!a} is being loaded. Try again in {_COMING_SECONDS} s."
    again = ((b"retry-after", str(_COMING_SECONDS).encode()),)
    return RefusedError(Refusal(503, words, code="adapter_loading", param="model", headers=again))


def _prompts(body: dict[str, Any], dialect: Dialect, body_bytes: int) -> tuple[int, int]:
    """Return how many prompts there are, and their length in tokens: counted where they are tokens, else estimated."""
    prompt = body.get("prompt") if dialect is Dialect.COMPLETIONS else None
    if not isinstance(prompt, list) or not prompt:
        images = _images(body)
        return 1, math.ceil((body_bytes - images[1]) / _BYTES_A_TOKEN) + images[0] * _IMAGE_TOKENS
    if isinstance(prompt[0], int):
        return 1, len(prompt)
    if len(prompt) > _MOST_PROMPTS:
        raise refused(
            "prompt", f"The field 'prompt' has {len(prompt)} prompts. Send at most {_MOST_PROMPTS} in one request."
        )
    if isinstance(prompt[0], list):
        return len(prompt), sum(len(one) for one in prompt if isinstance(one, list))
    return len(prompt), math.ceil(body_bytes / _BYTES_A_TOKEN)


def _images(body: dict[str, Any]) -> tuple[int, int]:
    """Return how many contents come as data, and their bytes: their text is not what the model reads."""
    count, length = 0, 0
    layer: list[Any] = [body.get("messages"), body.get("input")]
    while layer:
        inner = []
        for value in layer:
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            inner += [one for one in values if isinstance(one, dict | list)]
            if isinstance(value, dict):
                data = value.get("url") or value.get("image_url") or value.get("data")
                if isinstance(data, str) and (data.startswith("data:") or value.get("type") == "base64"):
                    count, length = count + 1, length + len(data)
        layer = inner
    return count, length
