"""Prints what vLLM, torch and NCCL say in incidents for which a GPU would be needed, as JSON. Run by `recordings.libraries`.

A program of its own: it imports both, which no other part of the tools shall wait for.
"""

import ctypes
import json
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import torch
from vllm.config import CacheConfig
from vllm.distributed.device_communicators.pynccl_wrapper import NCCLLibrary
from vllm.v1.core.kv_cache_utils import _check_enough_kv_cache_memory
from vllm.v1.worker.utils import request_memory

_GIB: Final = 1 << 30
_ECC: Final = 214
_NO_KERNEL: Final = 209
_NOT_INITIALIZED: Final = 802
"""Numbers of CUDA's errors: cudaErrorECCUncorrectable, cudaErrorNoKernelImageForDevice, cudaErrorSystemNotReady."""


def _raised(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is recorded
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return f"{name}: {error}"
    raise AssertionError("nothing was raised")


def driver_missing() -> str:
    """Torch asks for a GPU where there is no driver."""
    return _raised(lambda: torch.zeros(1, device="cuda"))


def nccl() -> str:
    """An engine of vLLM begins a communicator where there is no GPU."""
    library = NCCLLibrary()
    return _raised(lambda: library.ncclCommInitRank(1, library.ncclGetUniqueId(), 0))


def gpu_memory_taken() -> str:
    """An engine of vLLM asks for memory of a GPU that another process holds."""
    snapshot = SimpleNamespace(total_memory=80 * _GIB, free_memory=11 * _GIB, device_="cuda:0")
    return _raised(lambda: request_memory(snapshot, CacheConfig(gpu_memory_utilization=0.9)))


def kv_cache_none() -> str:
    """An engine of vLLM has no memory left for the KV cache once the weights are loaded."""
    return _raised(lambda: _check_enough_kv_cache_memory(0, lambda: _GIB, 131072, lambda _: 0))


def port_taken() -> str:
    """Torch listens on a port that somebody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        return _raised(lambda: torch.distributed.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False))


def gpu_broken() -> str:
    """CUDA's words for memory of a GPU that is broken."""
    return _of_cuda(_ECC)


def gpu_too_old() -> str:
    """CUDA's words for a GPU for which the image has no code."""
    return _of_cuda(_NO_KERNEL)


def fabric_not_ready() -> str:
    """CUDA's words for a node whose fabric manager does not run."""
    return _of_cuda(_NOT_INITIALIZED)


def _of_cuda(number: int) -> str:
    (path,) = Path(torch.__file__).parents[1].glob("nvidia/**/libcudart.so*")
    told = ctypes.CDLL(str(path)).cudaGetErrorString
    told.restype = ctypes.c_char_p
    return f"torch.AcceleratorError: CUDA error: {told(number).decode()}"


def gpu_memory() -> str:
    """Torch's words for a GPU that is full, around sizes of ours."""
    sizes = ("2.32 GiB", "0", "79.11 GiB", "1.06 GiB", "77.21 GiB", "143.97 MiB")
    words = (
        *("CUDA out of memory. Tried to allocate ", ". GPU ", " has a total capacity of ", " of which ", " is free. "),
        *("Of the allocated memory ", " is allocated by PyTorch, ", "and ", " is reserved by PyTorch but unallocated."),
    )
    _stand_in("libc10_cuda.so", words)
    size = iter(sizes)
    text = "".join(word if word.endswith(".") or word.startswith(" is") else f"{word}{next(size)}" for word in words)
    return f"torch.OutOfMemoryError: {text}"


def driver_too_old() -> str:
    """Torch's words for a driver that is older than its CUDA."""
    words = "The NVIDIA driver on your system is too old (found version "
    _stand_in("libc10_cuda.so", (words,))
    return f"RuntimeError: {words}12020)."


def _stand_in(library: str, words: Iterable[str]) -> None:
    """See that the library says the words."""
    binary = (Path(torch.__file__).parent / "lib" / library).read_bytes()
    for one in words:
        if one.encode() not in binary:
            raise AssertionError(f"{library} does not say {one!r}")


SAID: Final[Mapping[str, Callable[[], str]]] = {
    "driver-missing": driver_missing,
    "nccl": nccl,
    "gpu-memory-taken": gpu_memory_taken,
    "kv-cache-none": kv_cache_none,
    "port-taken": port_taken,
    "gpu-broken": gpu_broken,
    "gpu-too-old": gpu_too_old,
    "fabric-not-ready": fabric_not_ready,
    "gpu-memory": gpu_memory,
    "driver-too-old": driver_too_old,
}


if __name__ == "__main__":
    print(json.dumps({name: say() for name, say in SAID.items()}))
