"""Writes the `tiny-random-llama` checkpoint: a real Llama architecture with random weights, and its tokenizer.

It proves the serving path on any machine without a download. Called by `nodes` on every node before an engine starts,
and by hand: `python -m llama_serving.generated.checkpoint DIR`. The same bytes come out everywhere, because tensor-parallel
ranks on different nodes must read one model. It needs numpy but not torch: it also runs in small processes.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from llama_serving.generated import tokenizer

NAME: Final = "tiny-random-llama"
"""Model identifier of the generated checkpoint."""

_LAYERS = 2
_HIDDEN = 256
_INTERMEDIATE = 512
_HEADS = 8
_KV_HEADS = 4
_HEAD_DIM = 32
_SEED = 2026

_QUERY_GAIN = 2.0
"""Above 1, so that attention picks tokens instead of averaging them."""
_RESIDUAL_GAIN = 1.0
_GAINS = {
    "self_attn.q_proj": _QUERY_GAIN,
    "self_attn.k_proj": _QUERY_GAIN,
    "self_attn.o_proj": _RESIDUAL_GAIN,
    "mlp.down_proj": _RESIDUAL_GAIN,
}
"""Of projections; 1 for the others."""
_LOGIT_SPREAD = 6.0
"""Standard deviation of the logits of likely tokens: the best stands clear of rounding errors between shardings."""
_UNLIKELY = -24.0
_RARE = -8.0
_REPEAT = -24.0
"""Logit offset of the token that was just read, about: without it the model stutters."""

Floats: TypeAlias = npt.NDArray[np.float32]


def default_folder() -> Path:
    """Cache folder of this user, the same on every node of a cluster that runs one image.

    It carries a digest of the recipe, so that a new version of this package never serves an old checkpoint.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "llama-operator" / f"{NAME}-{_recipe_digest()}"


def ensure(folder: Path) -> Path:
    """Return `folder` with the checkpoint in it, written if it is not there yet.

    Safe when several processes do it at once: each writes aside, the first rename wins, the others drop their copy.

    Raises:
        OSError: If the folder cannot be written, or exists with something else in it.
    """
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(aside)
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError:
        if not (folder / "config.json").is_file():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _write(folder: Path) -> None:
    documents = {
        "config.json": _config(),
        "generation_config.json": _generation_config(),
        "tokenizer.json": tokenizer.tokenizer(),
        "tokenizer_config.json": tokenizer.tokenizer_config(_config()["max_position_embeddings"]),
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors(_weights()))


def safetensors(tensors: Iterable[tuple[str, Floats]]) -> bytes:
    """Serialize as bfloat16.

    Format: https://huggingface.co/docs/safetensors. Its Python library knows bfloat16 only through torch, which is too
    heavy for the processes that call this.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, values in tensors:
        begin = len(data)
        data += _bfloat16(values)
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


def _config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.BEGIN_OF_TEXT,
        "eos_token_id": [tokenizer.END_OF_TEXT, tokenizer.END_OF_TURN],
        "head_dim": _HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": _HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": _INTERMEDIATE,
        "max_position_embeddings": 2048,
        "mlp_bias": False,
        "num_attention_heads": _HEADS,
        "num_hidden_layers": _LAYERS,
        "num_key_value_heads": _KV_HEADS,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": tokenizer.VOCABULARY_SIZE,
    }


def _generation_config() -> dict[str, Any]:
    return {
        "bos_token_id": tokenizer.BEGIN_OF_TEXT,
        "eos_token_id": [tokenizer.END_OF_TEXT, tokenizer.END_OF_TURN],
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.9,
    }


def _weights() -> Iterator[tuple[str, Floats]]:
    """Yield every tensor in a fixed order.

    All embeddings share one direction. The residual stream keeps it, and the output layer reads it as a constant: so an
    architecture without an output bias prefers printable letters.
    """
    source = np.random.PCG64(_SEED)
    common = np.sign(noise(source, _HIDDEN)).astype(np.float32)
    embeddings = noise(source, tokenizer.VOCABULARY_SIZE, _HIDDEN)
    yield "model.embed_tokens.weight", embeddings + common
    for layer in range(_LAYERS):
        for _, name, outputs, inputs in projections(layer):
            gain = _GAINS.get(name, 1.0)
            yield (
                f"model.layers.{layer}.{name}.weight",
                noise(source, outputs, inputs) * np.float32(gain / inputs**0.5),
            )
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{name}.weight", np.ones(_HIDDEN, np.float32)
    yield "model.norm.weight", np.ones(_HIDDEN, np.float32)
    spread = np.float32(_LOGIT_SPREAD / _HIDDEN**0.5)
    likes = _preferences()[:, None] * (common / _HIDDEN)[None, :]
    against_repeats = embeddings * np.float32(_REPEAT / _HIDDEN)
    yield "lm_head.weight", noise(source, tokenizer.VOCABULARY_SIZE, _HIDDEN) * spread + likes + against_repeats


def projections(*layers: int) -> Iterator[tuple[int, str, int, int]]:
    """Yield layer, name, outputs and inputs of every projection, in the order in which they are drawn.

    Args:
        layers: Layers to tell of; none for all.
    """
    heads, kv_heads = _HEADS * _HEAD_DIM, _KV_HEADS * _HEAD_DIM
    for layer in layers or range(_LAYERS):
        yield layer, "self_attn.q_proj", heads, _HIDDEN
        yield layer, "self_attn.k_proj", kv_heads, _HIDDEN
        yield layer, "self_attn.v_proj", kv_heads, _HIDDEN
        yield layer, "self_attn.o_proj", _HIDDEN, heads
        yield layer, "mlp.gate_proj", _INTERMEDIATE, _HIDDEN
        yield layer, "mlp.up_proj", _INTERMEDIATE, _HIDDEN
        yield layer, "mlp.down_proj", _HIDDEN, _INTERMEDIATE


def _preferences() -> Floats:
    """Offset of every token's logit, about: lower-case letters and the space are likely, other ASCII rare."""
    offsets = np.full(tokenizer.VOCABULARY_SIZE, _UNLIKELY, np.float32)
    offsets[0x21:0x7F] = _RARE
    offsets[ord("a") : ord("z") + 1] = 0
    offsets[ord(" ")] = 0
    # The final norm divides the common direction by the length of the residual stream, about 2 at this depth.
    return (offsets * 2).astype(np.float32)


def noise(source: np.random.PCG64, *shape: int) -> Floats:
    """Uniform noise of variance 1, from raw bits: numpy guarantees their stream, unlike that of its distributions."""
    bits = source.random_raw(int(np.prod(shape))) >> np.uint64(40)
    unit = bits.astype(np.float32) / np.float32(1 << 24)
    return ((unit * 2 - 1) * np.float32(3**0.5)).reshape(shape).astype(np.float32)


def _bfloat16(values: Floats) -> bytes:
    """Round to the nearest bfloat16 (ties to even), little-endian."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype("<u2").tobytes()


def _recipe_digest() -> str:
    sources = (Path(__file__), Path(tokenizer.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:10]


def main(arguments: list[str]) -> int:
    """Write the checkpoint to the folder named on the command line, or to the default one."""
    if len(arguments) > 1:
        print("usage: python -m llama_serving.generated.checkpoint [DIR]", file=sys.stderr)  # noqa: T201 - a command line
        return 2
    print(ensure(Path(arguments[0]) if arguments else default_folder()))  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
