"""Compares a config.json with what was declared. Pure; called by `contents.check`.

The file belongs to whoever uploaded the weights, so any value of it may have any type. Numbers that the engine builds the
model from have to fit exactly; what a fine-tuning or a quantization may change (types, lengths, rotary scaling, a few added
tokens) is not compared.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_serving.contract.contents import DeclaredContents

_ADDED_TOKENS: Final = 4096
"""Most rows that a vocabulary may have been extended by."""
_PADDING: Final = 256
"""Rows that a declared vocabulary may have beyond the one in the file: padding that was counted."""
_EXPERTS: Final = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_OTHER_SENSES: Final = ("vision_config", "audio_config")
_OPTIONAL: Final = {"head_dim"}
"""Follows from other sizes where it is absent."""
_LONGEST: Final = 48
"""Characters of a value that a message shows."""

Levels = tuple[tuple[str, Mapping[str, Any]], ...]


def differences(config: Any, declared: DeclaredContents) -> tuple[str, ...]:
    """Say in what `config`, the content of a config.json, is not as declared; empty if it is."""
    if not isinstance(config, dict):
        return ("it is no JSON object",)
    return tuple(_differences(config, declared))


def _differences(config: dict[str, Any], declared: DeclaredContents) -> Iterator[str]:
    if config.get("speculators_config") is not None:
        # vLLM would load the model that stands there instead.
        yield "speculators_config names another model to load, which nobody declared"
    nested = config.get("text_config")
    if nested is not None and not isinstance(nested, dict):
        yield f"text_config is {_shown(nested)}, and has to be an object"
        nested = None
    levels: Levels = (("", config), *((("text_config.", nested),) if nested else ()))
    yield from _classes(config, declared)
    for name, wanted in declared.sizes.items():
        yield from _size(levels, name, wanted, declared)
    yield from _vocabulary(levels, declared)
    yield from _experts(levels, declared)
    if not declared.takes_images:
        for name in _OTHER_SENSES:
            if config.get(name):
                yield f"it has a {name}, declared is a model of text only"


def _classes(config: dict[str, Any], declared: DeclaredContents) -> Iterator[str]:
    kind, names = config.get("model_type"), config.get("architectures")
    if declared.model_types and kind not in declared.model_types:
        yield f"model_type is {_shown(kind)}, declared {' or '.join(declared.model_types)}"
    if not declared.architectures or names is None:
        # Old files lack them; the engine then goes by model_type.
        return
    if not isinstance(names, list) or any(name not in declared.architectures for name in names):
        yield f"architectures is {_shown(names)}, declared {' or '.join(declared.architectures)}"


def _size(levels: Levels, name: str, wanted: tuple[int, ...], declared: DeclaredContents) -> Iterator[str]:
    stated = _stated(levels, name)
    own = set(wanted) & set(declared.sizes.get("num_attention_heads", ()))
    if not stated and name == "num_key_value_heads" and own:
        # Every attention head then has its own.
        return
    if not stated and name not in _OPTIONAL:
        yield f"it has no {name}, declared {_either(wanted)}"
    for label, value in stated:
        if not _is_count(value) or value not in wanted:
            yield f"{label} is {_shown(value)}, declared {name} {_either(wanted)}"


def _vocabulary(levels: Levels, declared: DeclaredContents) -> Iterator[str]:
    wanted = declared.vocab_size
    if wanted is None:
        return
    least = max(wanted - _PADDING, wanted * 15 // 16)
    stated = _stated(levels, "vocab_size")
    if not stated:
        yield f"it has no vocab_size, declared {wanted}"
    for label, value in stated:
        if not _is_count(value) or not least <= value <= wanted + _ADDED_TOKENS:
            yield f"{label} is {_shown(value)}, declared {wanted} (some added tokens are no difference)"


def _experts(levels: Levels, declared: DeclaredContents) -> Iterator[str]:
    for name in _EXPERTS:
        for label, value in _stated(levels, name):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                yield f"{label} is {_shown(value)}, and has to be a whole number"
            elif (0 if _dense(levels) or value == 1 else value) != declared.experts:
                yield f"{label} is {_shown(value)}, declared {declared.experts or 'a model without experts'}"
    if declared.experts and not any(_stated(levels, name) for name in _EXPERTS):
        yield f"it has no num_local_experts, declared {declared.experts}"


def _dense(levels: Levels) -> bool:
    """Whether no layer uses the experts that are counted: Llama Guard 4 is Scout without them."""
    return any(level.get("moe_layers") == [] or level.get("interleave_moe_layer_step") == 0 for _, level in levels)


def _stated(levels: Levels, name: str) -> list[tuple[str, Any]]:
    """Every place that states `name`: an engine may take any of them."""
    return [(f"{prefix}{name}", level[name]) for prefix, level in levels if level.get(name) is not None]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _either(wanted: tuple[int, ...]) -> str:
    return " or ".join(map(str, wanted))


def _shown(value: Any) -> str:
    """Render a value of the file on one line, cut."""
    try:
        text = "missing" if value is None else json.dumps(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
