"""Fields of a request that clients may not set, and what is said about each. Pure; `wish` calls it.

Three kinds: what reaches into the engine or the machine, what the deployment sets itself, and what would keep one client's data
in a replica where others could ask for it.
"""

from collections.abc import Collection
from typing import Any, Final

from llama_serving.contract.media import is_fetched
from llama_serving.contract.usage import Dialect
from llama_serving.desk.reading import RefusedError
from llama_serving.door.refusals import Refusal

MOST_STOPS: Final = 16
TEMPLATE_ARGUMENTS: Final = frozenset({"enable_thinking", "date_string", "tools_in_user_message", "custom_tools"})
"""Arguments that a chat template may get from a client."""

_INSIDE: Final = "It reaches into the engine, so clients cannot set it. Leave it out."
_OURS: Final = "The deployment sets it. Leave it out."
_STATELESS: Final = "This endpoint keeps no answers. Leave it out, and send the whole conversation with each request."
_MEDIA: Final = "It changes how images are read, so clients cannot set it. Leave it out."

_REFUSED: Final[dict[str, str]] = {
    "kv_transfer_params": _INSIDE,
    "ec_transfer_params": _INSIDE,
    "vllm_xargs": _INSIDE,
    "prompt_embeds": _INSIDE,
    "logits_processors": _INSIDE,
    "guided_decoding_backend": _INSIDE,
    "request_id": "The deployment sets it; each answer has it as the header x-request-id. Leave it out.",
    "session_id": _OURS,
    "data_parallel_rank": _OURS,
    "prompt_logprobs": "It costs far more than an answer. Leave it out; logprobs of the answer are allowed.",
    "chat_template": "The template belongs to the model. Leave it out, or send a finished prompt to /v1/completions.",
    "mm_processor_kwargs": _MEDIA,
    "media_io_kwargs": _MEDIA,
    "mm_payload": _MEDIA,
    "return_mm_kwargs": _MEDIA,
}
"""Refused with any value but null."""

_REFUSED_UNLESS: Final[dict[str, tuple[Any, str]]] = {
    "priority": (0, "The priority comes from the tenant. Leave it out."),
    "best_of": (1, "Leave it out, and use n for several answers."),
    "use_beam_search": (False, "One request would take the place of many. Leave it out."),
}
"""Refused with any value but null and the one that changes nothing."""

_REFUSED_IN_RESPONSES: Final[dict[str, tuple[Any, str]]] = {
    "previous_response_id": (None, _STATELESS),
    "previous_input_messages": (None, _STATELESS),
    "background": (False, _STATELESS),
    "store": (False, _STATELESS),
    "conversation": (None, _STATELESS),
}

_EMBEDDED: Final = frozenset({"image_embeds", "audio_embeds", "video_embeds", "prompt_embeds", "image_pil"})
_ADDRESSES: Final = ("image_url", "audio_url", "video_url", "file_url", "url")
_DATA: Final = "data:"


def refuse_fields(body: dict[str, Any], dialect: Dialect) -> None:
    """Check that no field is set that clients may not set.

    Raises:
        RefusedError: If one is; the words name it.
    """
    for name in body.keys() & _REFUSED.keys():
        if body[name] is not None:
            raise refused(name, f"The field {name!r} is not allowed. {_REFUSED[name]}")
    conditional = _REFUSED_UNLESS | _REFUSED_IN_RESPONSES if dialect is Dialect.RESPONSES else _REFUSED_UNLESS
    for name in body.keys() & conditional.keys():
        harmless, words = conditional[name]
        if body[name] is not None and (type(body[name]) is not type(harmless) or body[name] != harmless):
            raise refused(name, f"The field {name!r} is not allowed. {words}")
    if body.get("echo") and body.get("logprobs") is not None:
        raise refused(
            "echo", f"The field 'echo' is not allowed together with 'logprobs'. {_REFUSED['prompt_logprobs']}"
        )
    _refuse_template_arguments(body.get("chat_template_kwargs"))
    _refuse_stops(body)
    _refuse_tools(body.get("tools"))


def refuse_media(body: dict[str, Any], domains: Collection[str] = ()) -> None:
    """Check that no content has to be fetched from other hosts than `domains`, and none is data of the engine's own kind.

    Raises:
        RefusedError: If some has; the words name its place.
    """
    for field in ("messages", "input", "system"):
        items = body.get(field)
        if not isinstance(items, list):
            continue
        for number, item in enumerate(items):
            place = f"{field}[{number}]"
            _refuse_part(item, place, domains)
            content = item.get("content") if isinstance(item, dict) else None
            _refuse_parts(content, f"{place}.content", domains)
            # The result of a tool, in the form of responses.
            _refuse_parts(item.get("output") if isinstance(item, dict) else None, f"{place}.output", domains)


def refused(name: str, message: str) -> RefusedError:
    """Return the refusal of a field, to be raised."""
    return RefusedError(Refusal(400, message, code="invalid_value", param=name))


def _refuse_parts(content: Any, place: str, domains: Collection[str]) -> None:
    if not isinstance(content, list):
        return
    for number, part in enumerate(content):
        here = f"{place}[{number}]"
        _refuse_part(part, here, domains)
        # The result of a tool, in the form of messages.
        inner = part.get("content") if isinstance(part, dict) else None
        if isinstance(inner, list):
            for deeper, one in enumerate(inner):
                _refuse_part(one, f"{here}.content[{deeper}]", domains)


def _refuse_part(part: Any, place: str, domains: Collection[str]) -> None:
    """Judge by the fields and not by the type: the engine takes a part for an image because of its fields."""
    if not isinstance(part, dict):
        return
    for name in _EMBEDDED & ({*part} | ({part["type"]} if isinstance(part.get("type"), str) else set())):
        raise refused(f"{place}.{name}", f"The content {name!r} at {place} is not allowed. {_INSIDE}")
    if part.get("uuid") is not None:
        words = "It would name an image that somebody else has sent. Send the image itself."
        raise refused(f"{place}.uuid", f"The field 'uuid' at {place} is not allowed. {words}")
    _refuse_addresses(part, place, domains)
    source = part.get("source")
    if isinstance(source, dict):
        _refuse_addresses(source, f"{place}.source", domains)


def _refuse_addresses(holder: dict[str, Any], place: str, domains: Collection[str]) -> None:
    for name in _ADDRESSES:
        value = holder.get(name)
        address = value.get("url") if isinstance(value, dict) else value
        if address is None or (
            isinstance(address, str) and (address.startswith(_DATA) or is_fetched(address, domains))
        ):
            continue
        where = f"only from {', '.join(sorted(domains))}" if domains else "nothing from addresses"
        words = f"This endpoint fetches {where}. Send the content itself, as 'data:image/png;base64,...'."
        raise refused(f"{place}.{name}", f"The address in {name!r} at {place} is not allowed. {words}")


def _refuse_template_arguments(arguments: Any) -> None:
    if arguments is None:
        return
    if not isinstance(arguments, dict):
        raise refused("chat_template_kwargs", "The field 'chat_template_kwargs' must be an object.")
    others = sorted(arguments.keys() - TEMPLATE_ARGUMENTS)
    if others:
        allowed = ", ".join(sorted(TEMPLATE_ARGUMENTS))
        raise refused(
            "chat_template_kwargs",
            f"The field 'chat_template_kwargs' may hold {allowed}. Leave the other arguments out.",
        )


def _refuse_stops(body: dict[str, Any]) -> None:
    for name in ("stop", "stop_sequences", "stop_token_ids"):
        stops = body.get(name)
        if isinstance(stops, list) and len(stops) > MOST_STOPS:
            raise refused(name, f"The field {name!r} has {len(stops)} entries. Send at most {MOST_STOPS}.")


def _refuse_tools(tools: Any) -> None:
    if not isinstance(tools, list):
        return
    for number, tool in enumerate(tools):
        if isinstance(tool, dict) and tool.get("type") == "mcp":
            words = (
                "This endpoint calls no servers. Describe the tool as a function, and call it where the client runs."
            )
            raise refused(f"tools[{number}]", f"The tool of type 'mcp' at tools[{number}] is not allowed. {words}")
