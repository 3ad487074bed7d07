"""Writes LoRA adapters for the generated checkpoint: real ones, in the format of PEFT, with random weights.

They prove the path of adapters on any machine, as the checkpoint proves that of weights. By hand:
`python -m llama_serving.generated.adapter DIR [SEED [RANK]]`. Two seeds answer differently.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llama_serving.generated import checkpoint

_STRENGTH = 2.0
"""Of the change against the weights that it is added to: enough that a greedy answer differs within a few tokens."""
_MODULES = ("q_proj", "o_proj", "down_proj")


def write(folder: Path, *, seed: int, rank: int = 8, **config: Any) -> Path:
    """Write an adapter into a new folder.

    Args:
        folder: Where; its parents are made.
        seed: Of its weights.
        rank: Its rank.
        config: Fields of its config that are other than usual.
    """
    folder.mkdir(parents=True)
    said = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": checkpoint.NAME,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_MODULES),
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(checkpoint.safetensors(_tensors(seed, rank)))
    return folder


def _tensors(seed: int, rank: int) -> Iterator[tuple[str, checkpoint.Floats]]:
    source = np.random.PCG64(seed)
    for layer, module, outputs, inputs in checkpoint.projections():
        if module.rpartition(".")[2] not in _MODULES:
            continue
        prefix = f"base_model.model.model.layers.{layer}.{module}"
        down, up = checkpoint.noise(source, rank, inputs), checkpoint.noise(source, outputs, rank)
        yield f"{prefix}.lora_A.weight", down * np.float32(1 / inputs**0.5)
        yield f"{prefix}.lora_B.weight", up * np.float32(_STRENGTH / rank**0.5)


def main(arguments: list[str]) -> int:
    """Write an adapter to the folder named on the command line."""
    if not 1 <= len(arguments) <= 3:  # noqa: PLR2004
        print("usage: python -m llama_serving.generated.adapter DIR [SEED [RANK]]", file=sys.stderr)  # noqa: T201 - a command line
        return 2
    folder, seed, rank = (*arguments, *("1", "8")[len(arguments) - 1 :])
    print(write(Path(folder), seed=int(seed), rank=int(rank)))  # noqa: T201 - a command line
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
