"""What the autoscaling policy is told: what the plan knows of a replica, pinned with the revision, and what a user may turn at any time.

The operator renders both. Replicas report them to Serve's controller with their load, where `llama_serving.autoscaling` decides.
"""

from pydantic import Field

from llama_serving.contract.frozen import Frozen, Live


class EngineCost(Frozen):
    """What a step of one replica takes, and what is expected of it. Times are in seconds.

    A step over T tokens takes ((a T)^p + w^p)^(1/p) + c, and what attention costs on top. All of the first five are None for an engine
    whose speed is not known: its work is then learned from what it holds.
    """

    marginal: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """One more token in a full step (a)."""
    pair: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """One pair of tokens of a prompt, which has half of its length squared."""
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """One token of the KV cache that an answer reads."""
    weights: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Reading the weights once (w)."""
    step: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """What a step costs whatever is in it (c)."""
    overlap: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """How far arithmetic and reading overlap (p)."""
    objective: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Longest time until the first token; None for the policy's own."""
    cold_start: float = Field(gt=0, allow_inf_nan=False)
    """What a start is expected to take."""
    prompt_length: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """Tokens of a usual prompt, until real ones were counted."""
    output_length: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    """Tokens of a usual answer, until real ones were counted."""


class ScalingKnobs(Live):
    """How the policy weighs cost against latency."""

    price: float = Field(gt=0, le=100_000, allow_inf_nan=False)
    """What a late request is worth, as a multiple of the engine seconds that a request costs."""
    reserve: float = Field(default=0, ge=0, le=1024, allow_inf_nan=False)
    """Replicas beyond the need."""
    cold_start: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds of a start as the operator measured them, from the pod on; None before one. The policy takes it until it has seen a start itself."""
