"""Engines that cannot start, or die: what Serve reports, in the engine's own words, as they were recorded (`make record`)."""

from dataclasses import dataclass
from typing import Final

from gameday.incident import Incident, condition, event, explain, never, single
from gameday.stage import Stage
from recordings.kept import said

_GENERIC: Final = "change what the message names"
"""A hint that says nothing which the message does not."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What an engine said, and what has to be told with it."""

    name: str
    title: str
    recorded: str
    """Name of the recording."""
    words: str
    """Part of the message that has to arrive."""
    hint: str
    """Word that a fitting hint has."""
    own: bool = False
    sampled: bool = False


def _first_start(failure: _Failure) -> Incident:
    def cause(stage: Stage) -> None:
        stage.serve("DEPLOY_FAILED", said(failure.recorded))
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
        "gpu-memory",
        "CUDA out of memory",
        "gpuMemoryUtilizationPercent",
        sampled=True,
    ),
    _Failure(
        "download-429",
        "The Hub answers a weight download with 429",
        "hub-429",
        "We couldn't connect to",
        "tokenSecret",
    ),
    _Failure(
        "disk-full",
        "The disk of the pod is full while weights are downloaded",
        "disk-full",
        "No space left on device",
        "storage",
    ),
    _Failure(
        "broken-weights",
        "A weight file is cut off",
        "weights-header-cut",
        "Error while deserializing header",
        "download",
    ),
    _Failure(
        "download-401",
        "The Hub does not know the token",
        "hub-401",
        "401 Unauthorized",
        "tokenSecret",
        own=True,
    ),
    _Failure(
        "nccl",
        "Engines do not find each other over the network",
        "nccl",
        "NCCL error",
        "NCCL",
        own=True,
    ),
    _Failure(
        "driver-too-old",
        "The NVIDIA driver of a node is older than the image needs",
        "driver-too-old",
        "NVIDIA driver on your system is too old",
        "driver",
        own=True,
    ),
    _Failure(
        "port-taken",
        "A port that the engine needs is taken",
        "port-taken",
        "address already in use",
        "port",
        own=True,
    ),
    _Failure(
        "missing-module",
        "The image lacks a Python module",
        "module-missing",
        "No module named 'acme_serving'",
        "image",
        own=True,
    ),
)


_DEAD: Final = "A replica's health check failed"
"""All that Serve says of an engine whose process ended."""


def _serves(stage: Stage) -> None:
    stage.deploy()
    stage.served()


def _engine_dies(stage: Stage) -> None:
    stage.serve("UNHEALTHY", said("engine-dies"))
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
            single(_DEAD, condition("Ready", "False", "EngineFailed", has=(_DEAD,))),
            condition("EndpointReady", "False", has=("served until",), lacks=("yet",)),
            condition("UpToDate", "True"),
            never(condition("", "", "RollingOut")),
            event("", has=(_DEAD,)),
            explain("rollout", "Passed"),
            explain("engine", "Failed", has=(_DEAD,)),
            explain("endpoint", lacks=("yet",)),
        ),
    ),
)
