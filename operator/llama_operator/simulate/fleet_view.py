"""What an autoscaler may see once a second, and what it answers: all that a scaler and the simulated fleet share.

Made by `simulate.metrics`, read by the modules of `simulate.scalers`. A scaler knows nothing of the simulation but this.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What one ready replica has reported.

    Attributes:
        name: Which replica it is; names are not used again.
        waiting: Requests that wait in its engine, mean over the window of the metrics.
        running: Requests that it computes, mean over the window.
        kv_usage: Share of its KV cache in use, 0 to 1, mean over the window.
        slots: Requests that it can compute at once.
        accepted: Requests that its engine took since it started.
        finished: Requests that ended since it started.
        prompt_tokens: Tokens of prompts that it computed since it started.
        prompt_pairs: Pairs of tokens in the prompts of requests that ended, half the square of the length of each.
        generated_tokens: Tokens of answers that it made since it started.
        reported_at: Second of its last report.
        kv_tokens: Tokens that its KV cache holds.
    """

    name: str
    waiting: float
    running: float
    kv_usage: float
    slots: float
    accepted: float
    finished: float
    prompt_tokens: float
    prompt_pairs: float
    generated_tokens: float
    reported_at: float
    kv_tokens: float


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet, as an autoscaler sees it.

    Attributes:
        now: Seconds since the trace began.
        ready: Replicas that serve.
        target: Replicas that were asked for; `target - ready` are starting if positive.
        router_queue: Requests that no engine has taken, mean over the window of the metrics.
        minimum: Lower bound.
        maximum: Upper bound.
        cold_start_seconds: What a start is estimated to take.
        replicas: One entry for each ready replica that has reported.
    """

    now: float
    ready: int
    target: int
    router_queue: float
    minimum: int
    maximum: int
    cold_start_seconds: float
    replicas: tuple[ReplicaView, ...]

    @property
    def waiting(self) -> float:
        """Requests that wait, in the router and in the engines."""
        return self.router_queue + sum(replica.waiting for replica in self.replicas)

    @property
    def in_flight(self) -> float:
        """Requests that were sent and have not ended."""
        return self.waiting + sum(replica.running for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class ServeDelays:
    """How Ray Serve damps what a policy inside it wishes; seconds.

    Attributes:
        upscale: For so long more must be wished.
        downscale: For so long less must be wished.
        upscaling_factor: By which the missing replicas are multiplied.
        downscaling_factor: By which those that are too many are multiplied.
        asked_at_zero: Whether the policy is asked also while requests wait and nothing serves.
    """

    upscale: float = 0.0
    downscale: float = 0.0
    upscaling_factor: float = 1.0
    downscaling_factor: float = 1.0
    asked_at_zero: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas a scaler wishes, and why."""

    replicas: int
    reason: str = ""


class Scaler(Protocol):
    """One autoscaler. It may keep state; one instance sees one run."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def delays(self) -> ServeDelays | None:
        """Delays of Ray Serve, for a policy that runs in its controller; None for one that sets the number from outside."""
        ...

    def wish(self, view: FleetView) -> Wish:
        """Say how many replicas there should be; called once a second."""
        ...
