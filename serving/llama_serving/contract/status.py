"""The answer of the status endpoint. The pods write it (`board`), the operator reads it (`observe.serving_http`)."""

import re
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from llama_serving.contract.adapters import AdapterReport
from llama_serving.contract.frozen import Frozen


class DeploymentIdentity(Frozen):
    """The deployment to which the replicas belong; the status endpoint and traces show it."""

    namespace: str = Field(min_length=1, max_length=63)
    name: str = Field(min_length=1, max_length=63)
    revision: str = Field(min_length=1, max_length=63)


class Answer(Frozen):
    """Base of what the pods answer. The operator ignores fields of a newer version, because pods may be newer than it."""

    model_config = ConfigDict(extra="ignore")


_Requests = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000_000)]
_Replicas = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
_Tokens = Annotated[int, Field(strict=True, ge=0, le=9_007_199_254_740_991)]
_Sequences = Annotated[float, Field(strict=True, ge=0, le=9_007_199_254_740_991, allow_inf_nan=False)]
"""Numbers that an engine can have: a reader computes with them, and status keeps them exactly."""

MOST_FAULT_CHARACTERS: Final = 512
"""Of the words about HAProxy; they become part of a condition."""


_Rate = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
_Moment = Annotated[float, Field(ge=0, le=253_402_300_799, allow_inf_nan=False)]
"""Seconds since 1970."""
_Duration = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""Seconds; of a start that took longer nobody waits for the end."""
MOST_CHANGES: Final = 10
BOUNDS_CHANGED: Final = "bounds of the deployment"
"""How the policy says that it did not wish a change: others know whose bounds these were."""


class StartReport(Answer):
    """How the start of one replica went; None for what it cannot see."""

    host: str = Field(max_length=253)
    """Name of the pod that it runs in; of several the one with its first rank."""
    began: _Moment
    """When the process of the replica began: its pod ran by then."""
    ready: _Moment
    """When its engine answered."""
    weights_seconds: _Duration | None = None
    """Reading the weights, with the download where the engine makes it; of several ranks the slowest."""
    compile_seconds: _Duration | None = None
    graphs_seconds: _Duration | None = None
    first_token_seconds: _Duration | None = None
    """From the first request that the engine took to the first token of an answer; None before one."""


class ReplicaReport(Answer):
    """What one engine replica says about itself."""

    replica: str
    waiting: _Requests
    running: _Requests
    kv_cache_usage: float = Field(ge=0, le=1, allow_inf_nan=False)
    kv_cache_tokens: _Tokens | None = None
    """Measured by vLLM at start: tokens that the KV cache holds, in whole blocks."""
    max_concurrency: _Sequences | None = None
    """The same as a number of sequences of the longest length; vLLM's own `Maximum concurrency`."""
    engine_version: str | None = Field(default=None, max_length=64)
    """Version of vLLM; None from pods that are older than the field."""
    haproxy_fault: str = Field(default="", max_length=MOST_FAULT_CHARACTERS)
    """What HAProxy of its node does not do although the deployment asks for it; empty if it does all."""
    adapters: tuple[AdapterReport, ...] = ()
    """What it says of its adapters. The status endpoint sums it up and leaves it out here."""
    start: StartReport | None = None
    """How it started; None from pods that are older than the field."""


class ScalingChange(Answer):
    """One change of the number of replicas that Serve made."""

    at: _Moment
    before: _Replicas
    after: _Replicas
    reason: str = Field(max_length=512)
    """Why, in numbers."""


class ScalingState(Answer):
    """What the autoscaling policy found when it decided last; None for what it does not know."""

    at: _Moment
    wanted_replicas: _Replicas
    """Replicas that the policy wishes; Serve may still wait with them."""
    needed_replicas: _Replicas | None = None
    """Replicas that the load needs, without those that are only held."""
    unbounded_replicas: _Replicas | None = None
    """Replicas that the policy would wish if there were no bounds; None from pods that are older than the field."""
    requests_per_second: _Rate | None = None
    """Requests that arrive."""
    seconds_per_request: _Rate | None = None
    """Engine seconds that one costs."""
    cold_start_seconds: _Rate | None = None
    """Measured seconds of a start."""
    reason: str = Field(default="", max_length=512)
    changes: tuple[ScalingChange, ...] = Field(default=(), max_length=MOST_CHANGES)
    """Newest first."""


class ServingStatus(Answer):
    """Answer of the status endpoint (`STATUS_PATH`)."""

    identity: DeploymentIdentity
    model_id: str
    replicas: _Replicas
    """Running replicas."""
    target_replicas: _Replicas
    """Replicas that the autoscaler wants."""
    queue_depth: _Requests
    """Waiting requests: in the engines and in Serve's router."""
    running_requests: _Requests
    kv_cache_tokens: _Tokens | None = None
    """Smallest KV cache among the replicas, in tokens."""
    max_concurrency: _Sequences | None = None
    """Sequences of the longest length that the smallest KV cache holds at once."""
    engine_version: str | None = Field(default=None, max_length=64)
    """Oldest version of vLLM among the replicas; None while none runs, and from pods that are older than the field."""
    haproxy_fault: str = Field(default="", max_length=MOST_FAULT_CHARACTERS)
    """The first of the replicas that has one."""
    reports: tuple[ReplicaReport, ...] = ()
    adapters: tuple[AdapterReport, ...] = Field(default=(), max_length=1024)
    """What the replicas say of their adapters, summed up by name and source."""
    scaling: ScalingState | None = None
    """What the autoscaler decides on; None before its first decision, and from pods that are older than the field."""


def version_key(version: str) -> tuple[int, ...]:
    """The release numbers of a version, to compare it: `0.32.1rc2+cu129` is (0, 32, 1); empty for what is none."""
    release = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", version)
    return tuple(int(number) for number in release[1].split(".")) if release else ()
