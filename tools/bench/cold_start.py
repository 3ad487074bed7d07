"""Measures a cold start on this machine's CPU by stage, in one run (`make bench-cold-start`): copy, load, compile, first token.

A model of half a GB comes from a Hub on this machine into a folder that stands for a claim, by the program that Jobs run; then vLLM
starts as replicas do: the first one from the copy, offline, with no cache of the engine; a second one from the copy, with that cache; a
second one without a claim, which downloads and compiles for itself; and one from the copy without compiling at all. Beside it is
what the plan predicts for such a model on this machine. What is measured are the stages beside each other; a GPU's loading and compiling
have other figures. Nothing passes or fails; docs/weights-copy.md has the figures of a run.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from llama_operator import catalog
from llama_operator.decide.plan.cold_start import stages
from llama_operator.decide.plan.memory import Sharding
from llama_serving.generated import checkpoint
from support.model_hub import COMMIT, Repository, serving
from support.serving.weight_copies import NAME, Copier

_HIDDEN, _LAYERS, _HEADS, _INTERMEDIATE = 1024, 16, 16, 4096
_SHARDS: Final = 4
_STAGES: Final = {
    "download": r"Time spent downloading weights for \S+: ([\d.]+) seconds",
    "load": r"Loading weights took ([\d.]+) seconds",
    "profile and warm up": r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s",
}
"""Lines that vLLM writes; the last one has the compiling in it. A download of less than half a second has no line."""
_START = """
import json, os, sys, time
began = time.monotonic()
from vllm import LLM, SamplingParams
imported = time.monotonic()
engine = LLM(model=sys.argv[1], revision=sys.argv[3] or None, max_model_len=512, max_num_seqs=4, dtype="bfloat16", kv_cache_memory_bytes=64 * 2**20,
             load_format="safetensors", enforce_eager=sys.argv[2] == "eager", seed=0)
ready = time.monotonic()
engine.generate(["A llama is"], SamplingParams(max_tokens=1, temperature=0), use_tqdm=False)
told = {"import": imported - began, "engine": ready - imported, "first token": time.monotonic() - ready}
print("TOLD " + json.dumps(told), flush=True)
os._exit(0)
"""


@dataclass(slots=True)
class Start:
    """One way to start; seconds of each stage, one for each round."""

    name: str
    eager: bool = False
    downloads: bool = False
    stages: dict[str, list[float]] = field(default_factory=dict)


def write_model(folder: Path) -> dict[str, bytes]:
    """A random Llama of half a GB in shards, with the tokenizer of the generated one; returns its files."""
    made = checkpoint.ensure(folder)
    files = {path.name: path.read_bytes() for path in made.iterdir() if path.suffix == ".json"}
    config = json.loads(files["config.json"]) | {
        "hidden_size": _HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "intermediate_size": _INTERMEDIATE,
        "head_dim": _HIDDEN // _HEADS,
    }
    chance = np.random.default_rng(0)
    shapes = _shapes(config["vocab_size"])
    places: dict[str, str] = {}
    for number in range(_SHARDS):
        name = f"model-{number + 1:05d}-of-{_SHARDS:05d}.safetensors"
        files[name] = _safetensors(chance, dict(list(shapes.items())[number::_SHARDS]))
        places |= dict.fromkeys(list(shapes)[number::_SHARDS], name)
    files["config.json"] = json.dumps(config).encode()
    files["model.safetensors.index.json"] = json.dumps({"weight_map": places}).encode()
    return files


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, _HIDDEN),
        "model.norm.weight": (_HIDDEN,),
        "lm_head.weight": (vocabulary, _HIDDEN),
    }
    for layer in range(_LAYERS):
        start = f"model.layers.{layer}"
        shapes |= {f"{start}.self_attn.{part}_proj.weight": (_HIDDEN, _HIDDEN) for part in "qkvo"}
        shapes |= {f"{start}.mlp.{part}_proj.weight": (_INTERMEDIATE, _HIDDEN) for part in ("gate", "up")}
        shapes[f"{start}.mlp.down_proj.weight"] = (_HIDDEN, _INTERMEDIATE)
        shapes |= {f"{start}.{part}_layernorm.weight": (_HIDDEN,) for part in ("input", "post_attention")}
    return shapes


def _safetensors(chance: np.random.Generator, shapes: dict[str, tuple[int, ...]]) -> bytes:
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, shape in shapes.items():
        values = (chance.standard_normal(shape, dtype=np.float32) * 0.02).view(np.uint32) >> 16
        parts.append(values.astype(np.uint16).tobytes())
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def one(start: Start, copy: Path, cache: Path, endpoint: str) -> None:
    """Start an engine in a process of its own, and note what each stage took."""
    online = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache / "hub"), "no_proxy": "*"}
    environment = os.environ | (online if start.downloads else {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    environment |= {
        "VLLM_CACHE_ROOT": str(cache),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_STARTUP_PLAN": "1",
    }
    model, commit = (NAME, COMMIT) if start.downloads else (str(copy), "")
    command = [sys.executable, "-c", _START, model, "eager" if start.eager else "compiled", commit]
    began = time.monotonic()
    # Into a file: processes of the engine hold a pipe open after the one that started them has ended.
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(timeout=900)
        finally:
            took = time.monotonic() - began
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        out.seek(0)
        log = out.read()
    told = re.search(r"^TOLD (.*)$", log, flags=re.MULTILINE)
    if told is None:
        raise RuntimeError(log[-4000:])
    seconds = {"all": took, **json.loads(told[1])}
    for stage, pattern in _STAGES.items():
        if lines := re.findall(pattern, log):
            seconds[stage] = float(lines[-1])
    for stage, took in seconds.items():
        start.stages.setdefault(stage, []).append(took)


def measure(folder: Path, rounds: int) -> tuple[dict[str, float], list[Start]]:
    """Copy and start; seconds of the copy, and of the starts."""
    files = write_model(folder / "made")
    copier = Copier(folder / "claim", folder)
    copier.claim.mkdir()
    repository = Repository(NAME, files)
    with serving(repository) as endpoint:
        request = copier.request(endpoint)
        first = copier.run(request, tick_seconds=0.2)
        again = copier.run(request, tick_seconds=0.2)
        if first.code or again.code:
            raise RuntimeError(first.log + again.log)
        copies = {"bytes": first.verdict.bytes, "copy": first.verdict.seconds, "again": again.verdict.seconds}
        starts = [Start("first, claim"), Start("second, claim"), Start("second, no claim", downloads=True)]
        starts.append(Start("claim, not compiled", eager=True))
        for number in range(rounds):
            for start in starts:
                # The second start of a round finds the cache of the first one.
                own = "-eager" * start.eager + "-downloads" * start.downloads
                one(start, copier.copy, folder / f"cache-{number}{own}", endpoint)
    return copies, starts


def predicted(size: int, *, copied: bool) -> dict[str, int]:
    """Seconds that the plan predicts for a start of this model, by stage.

    Args:
        size: Bytes of the weights.
        copied: Whether they are read from a copy in a claim.
    """
    known = catalog.load()
    tiny = known.model(checkpoint.NAME)
    shape = tiny.architecture.model_copy(update={"num_hidden_layers": _LAYERS})
    model = tiny.model_copy(update={"generated": False, "architecture": shape})
    variant = tiny.variants[0].model_copy(update={"weight_bytes": size, "stored_bytes": None})
    cpu = next(card for card in known.accelerators if card.device == "CPU")
    told = stages(model, variant, cpu, Sharding(1, 1), node_ready=True, image_present=True, copied=copied)
    return {stage.name: stage.seconds for stage in told}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each start is made")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="cold-start-") as folder:
        copies, starts = measure(Path(folder), rounds)
    console = Console(width=180)
    console.print(
        f"copy of {copies['bytes'] / 1e6:.0f} MB: {copies['copy']:.1f} s; a copy that is there: {copies['again']:.1f} s"
    )
    table = Table("stage, seconds: least, median, most of rounds", *(start.name for start in starts), box=box.MARKDOWN)
    for stage in ("import", "download", "load", "profile and warm up", "engine", "first token", "all"):
        table.add_row(stage, *(_told(start.stages.get(stage, [])) for start in starts))
    console.print(table)
    for copied in (True, False):
        of_plan = predicted(int(copies["bytes"]), copied=copied)
        console.print(f"the plan predicts {'with' if copied else 'without'} a claim, in seconds: {of_plan}")


def _told(values: list[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[0]:.1f}, {ordered[len(ordered) // 2]:.1f}, {ordered[-1]:.1f}"


if __name__ == "__main__":
    main()
