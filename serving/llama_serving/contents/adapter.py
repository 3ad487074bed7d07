"""Reads a LoRA adapter's folder before an engine does: can it be loaded, into this model, into the room that there is?

Called by `engine.adapters`. What vLLM would refuse is told here in words for people, and what it would take wrongly is refused:
pickled weights, and tensors of another shape, which would fail in the middle of a step. The format is that of PEFT:
`adapter_config.json` and `adapter_model.safetensors`.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from llama_serving.contents.headers import DamagedError, header_of
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
)
"""Fields of the config that the engine refuses (`PEFTHelper` in vLLM's lora/peft_helper.py), and what they mean."""
_PLAIN_STARTS: Final = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga", "true", "false"})
"""Ways to begin a training that leave the weights of the base as they are."""
_TENSOR: Final = re.compile(
    r"(?:.*\.)?layers\.(\d{1,6})\.(?:self_attn|mlp)\.([a-z]+_proj)\.lora_([AB])\.(?:default\.)?weight"
)
_EMBEDDINGS: Final = ("embed_tokens", "lm_head")


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
    """

    layers: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


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
    rank = _rank(config)
    header = _header(folder)
    rank = max([rank, *_faulty(header, base)])
    if rank > max_rank:
        raise AdapterRefusedError(
            AdapterFault.RANK_TOO_LARGE,
            f"it has rank {rank}, and there is room for rank {max_rank}; raise spec.adapterSlots.maxLoraRank, which starts new "
            "engines, or train it with a smaller rank",
        )
    return AdapterFacts(rank, _text(config.get("base_model_name_or_path")), _modules(config), _digest(folder / WEIGHTS))


def _config(folder: Path) -> Mapping[str, Any]:
    text = _read(folder / CONFIG, _MOST_CONFIG_BYTES)
    if text is None:
        raise AdapterRefusedError(
            AdapterFault.NOT_FOUND, f"its folder has no {CONFIG}: it is no adapter in the format of PEFT"
        )
    try:
        config = json.loads(text)
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


def _rank(config: Mapping[str, Any]) -> int:
    patterns = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(patterns.values() if isinstance(patterns, dict) else [None])]
    known = [rank for rank in ranks if isinstance(rank, int) and not isinstance(rank, bool) and rank > 0]
    if len(known) != len(ranks):
        raise AdapterRefusedError(AdapterFault.REFUSED, f"r or rank_pattern in its {CONFIG} is no whole number above 0")
    return max(known)


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


def _faulty(header: Mapping[str, Any], base: BaseShape | None) -> Iterator[int]:
    """Yield the ranks of the tensors; refuse those that the model has no place for."""
    for name, tensor in header.items():
        match = _TENSOR.fullmatch(name)
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if match is None:
            if not any(f"{part}." in name for part in _EMBEDDINGS):
                raise AdapterRefusedError(
                    AdapterFault.DOES_NOT_FIT, f"the model has no place for its tensor {shown([name])}"
                )
            continue
        if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(size, int) for size in shape)):  # noqa: PLR2004
            raise AdapterRefusedError(AdapterFault.REFUSED, f"its tensor {shown([name])} is no matrix")
        layer, module, side = int(match[1]), match[2], match[3]
        rank, width = (shape[0], shape[1]) if side == "A" else (shape[1], shape[0])
        yield rank
        if base is None:
            continue
        wanted = (base.inputs if side == "A" else base.outputs).get(module)
        if layer >= base.layers or wanted is None:
            raise AdapterRefusedError(
                AdapterFault.DOES_NOT_FIT,
                f"the model has {base.layers} layers, and no place for its tensor {shown([name])}",
            )
        if width != wanted:
            raise AdapterRefusedError(
                AdapterFault.DOES_NOT_FIT,
                f"it was trained on another model: {shown([name])} is {width} wide, and that of this model is {wanted}",
            )


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
