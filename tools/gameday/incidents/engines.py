"""Engines that cannot start, or die: what Serve reports, in the engine's own words."""

from dataclasses import dataclass
from typing import Final

from gameday.incident import Incident, condition, event, explain, never, single
from gameday.stage import Stage

_GENERIC: Final = "change what the message names"
"""A hint that says nothing which the message does not."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A message of an engine, and what has to be told with it."""

    name: str
    title: str
    message: str
    words: str
    """Part of the message that has to arrive."""
    hint: str
    """Word that a fitting hint has."""
    own: bool = False
    sampled: bool = False


def _first_start(failure: _Failure) -> Incident:
    def cause(stage: Stage) -> None:
        stage.serve("DEPLOY_FAILED", failure.message)
        stage.deploy()
        stage.reported("DEPLOY_FAILED")

    words = (failure.words,)
    return Incident(
        name=failure.name,
        title=failure.title,
        cause=cause,
        reasons=("EngineFailed",),
        says=(
            single(failure.words, condition("Ready", "False", "EngineFailed", has=words)),
            single(failure.words, condition("ModelLoaded", "False", "EngineFailed", has=words)),
            event("EngineFailed", has=words),
            single(failure.words, explain("engine", "Failed", has=(failure.words, failure.hint), lacks=(_GENERIC,))),
            condition("Stalled", "False"),
        ),
        own=failure.own,
        sampled=failure.sampled,
    )


_FAILURES: Final = (
    _Failure(
        "cuda-memory",
        "CUDA runs out of memory at the first start",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of 79.11 GiB",
        "CUDA out of memory",
        "gpuMemoryUtilizationPercent",
        sampled=True,
    ),
    _Failure(
        "download-429",
        "The Hub answers a weight download with 429",
        "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api",
        "429 Client Error",
        "tokenSecret",
    ),
    _Failure(
        "disk-full",
        "The disk of the pod is full while weights are downloaded",
        "OSError: [Errno 28] No space left on device: '/models/model-00003-of-00030.safetensors'",
        "No space left on device",
        "storage",
    ),
    _Failure(
        "broken-weights",
        "A weight file is cut off",
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "MetadataIncompleteBuffer",
        "download",
    ),
    _Failure(
        "download-401",
        "The Hub does not know the token",
        "huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/models",
        "401 Client Error",
        "tokenSecret",
        own=True,
    ),
    _Failure(
        "nccl",
        "Engines do not find each other over the network",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251, remote process exited or there was "
        "a network error, NCCL version 2.27.5",
        "NCCL error",
        "NCCL",
        own=True,
    ),
    _Failure(
        "driver-too-old",
        "The NVIDIA driver of a node is older than the image needs",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver",
        "NVIDIA driver on your system is too old",
        "driver",
        own=True,
    ),
    _Failure(
        "port-taken",
        "A port that the engine needs is taken",
        "OSError: [Errno 98] Address already in use: ('0.0.0.0', 8000)",
        "Address already in use",
        "port",
        own=True,
    ),
    _Failure(
        "missing-module",
        "The image lacks a Python module",
        "ModuleNotFoundError: No module named 'llama_serving'",
        "No module named 'llama_serving'",
        "image",
        own=True,
    ),
)


def _serves(stage: Stage) -> None:
    stage.deploy()
    stage.served()


_DEAD: Final = "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue"


def _engine_dies(stage: Stage) -> None:
    stage.serve("UNHEALTHY", _DEAD)
    stage.reported("UNHEALTHY")


INCIDENTS: Final = (
    *map(_first_start, _FAILURES),
    Incident(
        name="engine-dies",
        title="The engine of a deployment that serves dies",
        before=_serves,
        cause=_engine_dies,
        reasons=("EngineFailed",),
        says=(
            single("EngineDeadError", condition("Ready", "False", "EngineFailed", has=("EngineDeadError",))),
            condition("EndpointReady", "False", has=("served until",), lacks=("yet",)),
            condition("UpToDate", "True"),
            never(condition("", "", "RollingOut")),
            event("", has=("EngineDeadError",)),
            explain("rollout", "Passed"),
            explain("engine", "Failed", has=("EngineDeadError",)),
            explain("endpoint", lacks=("yet",)),
        ),
        sampled=True,
    ),
)
