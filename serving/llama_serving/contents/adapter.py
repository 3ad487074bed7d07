"""Reads a LoRA adapter's folder before an engine does: can it be loaded, into this model, into the room that there is?

Called by `engine.adapters`. What vLLM would refuse is told here in words for people, and what it would take wrongly is refused:
pickled weights, tensors of another shape, which would fail in the middle of a step, and tensors whose names lead to no layer of the model,
which it leaves out without a word. The format is that of PEFT: `adapter_config.json` and `adapter_model.safetensors`.
"""

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from llama_serving.contents.headers import DamagedError, header_of
from llama_serving.contents.json_text import loaded
from llama_serving.contents.weights import shown
from llama_serving.contract.adapters import MOST_TEXT, AdapterFault
from llama_serving.contract.hub import ADAPTER_FILE

CONFIG: Final = ADAPTER_FILE
WEIGHTS: Final = "adapter_model.safetensors"
_MOST_CONFIG_BYTES: Final = 1024**2
_PICKLES: Final = ("adapter_model.bin", "adapter_model.pt")
_CHUNK: Final = 1024**2
_NOT_LOADED: Final = (
    ("use_dora", "DoRA (use_dora)"),
    ("lora_bias", "biases in LoRA layers (lora_bias)"),
    ("alora_invocation_tokens", "activated LoRA (alora_invocation_tokens)"),
    ("layer_replication", "replicated layers (layer_replication)"),
    ("use_bdlora", "block-diagonal LoRA (use_bdlora)"),
    ("use_qalora", "QA-LoRA (use_qalora)"),
    ("trainable_token_indices", "embeddings of single tokens (trainable_token_indices)"),
)
"""Fields of the config that the engine refuses (`PEFTHelper` in vLLM's lora/peft_helper.py), and what they mean."""
_PLAIN_STARTS: Final = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga", "true", "false"})
"""Ways to begin a training that leave the weights of the base as they are."""
_PREFIX: Final = r"(?:base_model\.model\.)*"
"""How PEFT begins a name, once for each wrapping. What else begins one (`_orig_mod.` of a compiled model, `module.` of one that was trained
in parallel) is part of the name to the engine, which then finds no such layer."""
_TENSORS: Final = (
    re.compile(
        _PREFIX
        + r"model\.(?P<place>layers\.\d{1,6}\.(?:self_attn\.[qkvo]|mlp\.(?:gate|up|down))_proj)\.lora_(?P<side>[AB])\.weight"
    ),
    re.compile(_PREFIX + r"model\.(?P<place>embed_tokens)\.lora_embedding_(?P<side>[AB])"),
    re.compile(_PREFIX + r"(?P<place>lm_head)\.lora_(?P<side>[AB])\.weight"),
)
"""Names that lead to a layer of the model, as the engine reads them (`parse_fine_tuned_lora_name` in vLLM's lora/utils.py)."""
_UNTRAINED: Final = re.compile(_PREFIX + r"(?:model\.embed_tokens|lm_head)\.base_layer\.weight")
"""The base model's own, which PEFT saves beside LoRA for it. The engine leaves it out."""
_OWN_EMBEDDINGS: Final = re.compile(r"(?:^|\.)(?:embed_tokens|lm_head)\.")


class AdapterRefusedError(Exception):
    """The adapter cannot be loaded.

    Attributes:
        fault: Why, in one word.
    """

    def __init__(self, fault: AdapterFault, message: str) -> None:
        super().__init__(message if len(message) <= MOST_TEXT else f"{message[: MOST_TEXT - 3]}...")
        self.fault = fault

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        """It may come from another process."""
        return type(self), (self.fault, str(self))


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Sizes of the model that adapters are for.

    Attributes:
        layers: Its layers.
        inputs: Width of the input of each projection, by its name.
        outputs: Width of its output.
        hidden: Width of an embedding; None where it is not known.
        vocabulary: Rows of the embedding; None where they are not known.
    """

    layers: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    hidden: int | None = None
    vocabulary: int | None = None


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What the files of an adapter say.

    Attributes:
        rank: Largest rank of its layers.
        base: Model that it was trained on, in the words of who trained it.
        modules: Layers that it changes.
        digest: SHA-256 of its weights, in hex.
    """

    rank: int
    base: str
    modules: tuple[str, ...]
    digest: str


def base_shape(config: Any) -> BaseShape:
    """Return the sizes of a Llama.

    Args:
        config: Its configuration, as `transformers` reads it.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    width = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    return BaseShape(
        config.num_hidden_layers,
        inputs={
            **dict.fromkeys(("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"), hidden),
            "o_proj": heads * width,
            "down_proj": inner,
        },
        outputs={
            "q_proj": heads * width,
            **dict.fromkeys(("k_proj", "v_proj"), kv_heads * width),
            **dict.fromkeys(("o_proj", "down_proj"), hidden),
            **dict.fromkeys(("gate_proj", "up_proj"), inner),
        },
        hidden=hidden,
        vocabulary=getattr(config, "vocab_size", None),
    )


def place_of(folder: str | None, path: str) -> Path:
    """Return the folder of an adapter.

    Args:
        folder: Folder of all adapters; None where there is none.
        path: Folder of this one, below it.

    Raises:
        AdapterRefusedError: If there is none, or it leads out of the folder of all.
    """
    if folder is None:
        raise AdapterRefusedError(
            AdapterFault.NOT_FOUND,
            "no volume with adapters is mounted; name its claim in spec.adapterSlots.volumeClaim",
        )
    root = Path(folder).resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root) or found == root or ".." in path.split("/"):
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, f"{path} leads out of the volume; name a folder in it")
    if not found.is_dir():
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, f"the volume has no folder {path}; correct spec.adapters")
    return found


def look_at(folder: Path, *, max_rank: int, base: BaseShape | None) -> AdapterFacts:
    """Read the config and the header of the weights. Blocks.

    Args:
        folder: The adapter's folder.
        max_rank: Largest rank that there is room for.
        base: Sizes of the model; None where they are not known: then tensors are not compared.

    Raises:
        AdapterRefusedError: If it cannot be loaded; the message says why and what to do.
    """
    config = _config(folder)
    _refuse_kinds(config)
    told, trained = _ranks(config), _paired(_faulty(_header(folder), base))
    rank = max(told | trained)
    if rank > max_rank:
        raise AdapterRefusedError(
            AdapterFault.RANK_TOO_LARGE,
            f"it has rank {rank}, and there is room for rank {max_rank}; raise spec.adapterSlots.maxLoraRank, which starts new "
            "engines, or train it with a smaller rank",
        )
    _refuse_scale(config, told, trained)
    return AdapterFacts(rank, _text(config.get("base_model_name_or_path")), _modules(config), _digest(folder / WEIGHTS))


def _config(folder: Path) -> Mapping[str, Any]:
    text = _read(folder / CONFIG, _MOST_CONFIG_BYTES)
    if text is None:
        raise AdapterRefusedError(
            AdapterFault.NOT_FOUND, f"its folder has no {CONFIG}: it is no adapter in the format of PEFT"
        )
    try:
        config = loaded(text)
    except (ValueError, RecursionError):
        config = None
    if len(text) > _MOST_CONFIG_BYTES or not isinstance(config, dict):
        raise AdapterRefusedError(AdapterFault.REFUSED, f"its {CONFIG} is no JSON object that can be read")
    return config


def _refuse_kinds(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise AdapterRefusedError(AdapterFault.REFUSED, f"it is of type {_text(kind)}, and the engine loads LORA only")
    for field, meaning in _NOT_LOADED:
        if config.get(field):
            raise AdapterRefusedError(
                AdapterFault.REFUSED, f"it uses {meaning}, which the engine does not load; train it without"
            )
    if saved := config.get("modules_to_save"):
        raise AdapterRefusedError(
            AdapterFault.REFUSED,
            f"it replaces whole layers (modules_to_save {_text(saved)}), which the engine does not load; train it without, or merge it "
            "into its base model",
        )
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        raise AdapterRefusedError(
            AdapterFault.REFUSED,
            f"init_lora_weights {_text(start)} has changed the weights of its base; convert it with PEFT's "
            "path_initial_model_for_weight_conversion",
        )
    if config.get("bias", "none") != "none":
        raise AdapterRefusedError(
            AdapterFault.REFUSED, "it trains biases (bias), which the engine does not load; train it without"
        )


def _refuse_scale(config: Mapping[str, Any], told: set[int], trained: set[int]) -> None:
    """Refuse what would be added in another strength than it was trained with: the engine divides `lora_alpha` by the rank of the config."""
    patterns = config.get("alpha_pattern") or {}
    alphas = [config.get("lora_alpha"), *(patterns.values() if isinstance(patterns, dict) else [None])]
    if not all(type(alpha) in {int, float} and math.isfinite(alpha) for alpha in alphas):
        raise AdapterRefusedError(AdapterFault.REFUSED, f"lora_alpha or alpha_pattern in its {CONFIG} is no number")
    if other := sorted(trained - told):
        raise AdapterRefusedError(
            AdapterFault.REFUSED,
            f"its tensors have rank {other[0]}, and its {CONFIG} says {' or '.join(map(str, sorted(told)))} (r, rank_pattern): the engine would "
            "add it in another strength than it was trained with; take the config that was saved with them",
        )


def _ranks(config: Mapping[str, Any]) -> set[int]:
    patterns = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else [None])]
    known = [rank for rank in ranks if isinstance(rank, int) and not isinstance(rank, bool) and rank > 0]
    if len(known) != len(ranks):
        raise AdapterRefusedError(AdapterFault.REFUSED, f"r or rank_pattern in its {CONFIG} is no whole number above 0")
    return set(known)


def _header(folder: Path) -> Mapping[str, Any]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickles = [name for name in _PICKLES if (folder / name).exists()]
        why = f": {shown(pickles)} is pickled, and reading it can run code of its maker" if pickles else ""
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, f"its folder has no {WEIGHTS}{why}; save it as safetensors")
    try:
        return header_of(path)
    except DamagedError as error:
        raise AdapterRefusedError(AdapterFault.REFUSED, str(error)) from None
    except OSError as error:
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, f"{WEIGHTS} cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the two matrices of a layer."""

    place: str
    side: str
    rank: int


def _faulty(header: Mapping[str, Any], base: BaseShape | None) -> Iterator[_Part]:
    """Yield the tensors; refuse those that the model has no place for."""
    for name, tensor in header.items():
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        found = next((match for each in _TENSORS if (match := each.fullmatch(name))), None)
        if found is None:
            _refuse_strange(name, shape, base)
            continue
        if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(size, int) for size in shape)):  # noqa: PLR2004
            raise AdapterRefusedError(AdapterFault.REFUSED, f"its tensor {shown([name])} is no matrix")
        place, side = found["place"], found["side"]
        rank, width = (shape[0], shape[1]) if side == "A" else (shape[1], shape[0])
        yield _Part(place, side, rank)
        wanted = None if base is None else _width(base, place, side)
        if wanted is not None and width != wanted:
            raise AdapterRefusedError(
                AdapterFault.DOES_NOT_FIT,
                f"it was trained on another model: {shown([name])} is {width} wide, and that of this model is {wanted}",
            )


def _width(base: BaseShape, place: str, side: str) -> int | None:
    """How wide a tensor is to be on the side of the model; None where that is not known."""
    if place in {"embed_tokens", "lm_head"}:
        # The embedding goes from tokens to the hidden width, the output layer back.
        return base.vocabulary if (place == "embed_tokens") is (side == "A") else base.hidden
    layer, module = place.split(".")[1], place.rpartition(".")[2]
    if int(layer) >= base.layers:
        raise AdapterRefusedError(
            AdapterFault.DOES_NOT_FIT,
            f"the model has {base.layers} layers, and no place for its tensor {shown([place])}",
        )
    return (base.inputs if side == "A" else base.outputs)[module]


def _refuse_strange(name: str, shape: Any, base: BaseShape | None) -> None:
    """Refuse a tensor that is no part of LoRA, unless it is what the model has already."""
    if _UNTRAINED.fullmatch(name) is not None:
        rows = shape[0] if isinstance(shape, list) and shape else None
        if base is None or base.vocabulary is None or rows == base.vocabulary:
            return
        raise AdapterRefusedError(
            AdapterFault.DOES_NOT_FIT,
            f"it was trained with {rows} tokens, and the model has {base.vocabulary}; merge it into its base model with the new tokens, and "
            "serve that as a model of its own",
        )
    if _OWN_EMBEDDINGS.search(name) is not None:
        raise AdapterRefusedError(
            AdapterFault.REFUSED,
            f"it brings its own embeddings ({shown([name])}), as trainers save them for new tokens, and the engine loads none; train it without "
            "new tokens, or merge it into its base model",
        )
    raise AdapterRefusedError(
        AdapterFault.DOES_NOT_FIT,
        f"the model has no place for its tensor {shown([name])}; save the adapter by save_pretrained of PEFT, of a model that is not wrapped",
    )


def _paired(parts: Iterable[_Part]) -> set[int]:
    """The ranks; refuse an adapter without a change, or with half of one."""
    ranks: dict[str, dict[str, int]] = {}
    for part in parts:
        ranks.setdefault(part.place, {})[part.side] = part.rank
    if not ranks:
        words = (
            f"its {WEIGHTS} has no LoRA tensor, so it changes nothing; save it again from the model that was trained"
        )
        raise AdapterRefusedError(AdapterFault.REFUSED, words)
    for place, sides in sorted(ranks.items()):
        if len(sides) == 1:
            words = (
                f"of {shown([place])} it has only lora_{min(sides)}, and a layer needs both; save it again as a whole"
            )
            raise AdapterRefusedError(AdapterFault.REFUSED, words)
        if sides["A"] != sides["B"]:
            words = f"lora_A and lora_B of {shown([place])} have ranks {sides['A']} and {sides['B']}, which is no product; save it again"
            raise AdapterRefusedError(AdapterFault.REFUSED, words)
    return {rank for sides in ranks.values() for rank in sides.values()}


def _modules(config: Mapping[str, Any]) -> tuple[str, ...]:
    modules = config.get("target_modules")
    if isinstance(modules, str):
        return (_text(modules),)
    return tuple(sorted({_text(module) for module in modules})) if isinstance(modules, list) else ()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path, most: int) -> bytes | None:
    """Read a plain file, one byte more than `most` at most; None if there is none that can be read."""
    try:
        # Not blocking: opening a pipe would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(most + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except OSError:
        return None


def _text(value: Any) -> str:
    """A value of a file on one line, cut."""
    return shown([str(value)])
