"""What is known about pods, and about nodes that take none: the input of a diagnosis. Gathered by `observe`, by hand in tests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod of a deployment."""

    name: str
    revision: str
    role: str
    """`head`, `worker`, or what else KubeRay calls it."""
    phase: str
    node: str = ""
    """Node that it is bound to; empty for none."""
    ready: bool = False
    unschedulable: str = ""
    """The scheduler's own message; empty when the pod has a node."""
    waiting: str = ""
    """Reason why a container waits, as Kubernetes words it: `ImagePullBackOff`."""
    waiting_message: str = ""
    last_exit: str = ""
    """Why a container ended the last time: `OOMKilled`, `Error`; empty if it never did."""


@dataclass(frozen=True, slots=True)
class AwayNode:
    """A node that exists and takes no pods of ours."""

    name: str
    accelerator: str
    """Name in the catalog; `CPU` for a node without a known GPU."""
    accelerators: int
    """Allocatable accelerators."""
    why: str
    """`is not ready`, `is cordoned`, `has the taint maintenance=true:NoSchedule`."""
