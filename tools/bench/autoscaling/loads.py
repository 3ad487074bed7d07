"""The trace of a workload, and a hash of its arrivals. Called by `bench.autoscaling.basis`, `.setups` and their neighbours.

Hashes are kept, because to draw 14 days takes four minutes: they are found anew when the code that reads and draws traces has changed.
"""

import hashlib
import json
import os
import tarfile
from array import array
from functools import lru_cache
from pathlib import Path

from bench.autoscaling import digests
from bench.autoscaling.cells import ROOT, TRACES, Workload
from llama_operator.simulate.traces.named import find
from llama_operator.simulate.traces.trace import Trace

KEPT = ROOT / ".bench-autoscaling"


@lru_cache(maxsize=1)
def trace_of(workload: Workload, seed: int) -> Trace:
    """Find the trace of a workload; the last one is kept, since each cold start has the same."""
    text = workload.trace
    if workload.file:
        name, _, settings = text.partition(":")
        folder = _unpacked().parent if name.startswith("servegen") else TRACES
        text = f"{folder / name}:{settings}"
    return find(text, seed)


def _unpacked() -> Path:
    """Unpack ServeGen's clients, once."""
    folder = KEPT / "servegen"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        beside = KEPT / f"servegen.{os.getpid()}"
        with tarfile.open(TRACES / "servegen_m-large_client_traces.tar.gz") as packed:
            packed.extractall(beside, filter="data")
        if not folder.is_dir():
            beside.rename(folder)
    return folder


@lru_cache(maxsize=256)
def arrivals_of(workload: Workload, seed: int, kept: Path) -> str:
    """Return a short hash of who arrives when; empty if the trace is not there, and nobody can say."""
    if not workload.there:
        return ""
    path = kept / f"arrivals_{digests.definition(workload)}_{seed}.json"
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["traces"] == digests.traces():
            return str(content["arrivals"])
    trace = trace_of(workload, seed)
    numbers = array("d", [trace.length])
    for one in trace.arrivals:
        numbers.extend((one.at, one.prompt_tokens, one.output_tokens))
    found = hashlib.sha256(numbers.tobytes()).hexdigest()[:12]
    # Processes that play other starts of it read this file.
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps({"traces": digests.traces(), "arrivals": found}), encoding="utf-8")
    beside.replace(path)
    return found
