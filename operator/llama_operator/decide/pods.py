"""What is known about pods, and about nodes that take none: the input of a diagnosis. Gathered by `observe`, by hand in tests."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod of a deployment."""

    name: str
    revision: str
    role: str
    """`head`, `worker`, `guard` for a worker that holds the guard, or what else KubeRay calls it."""
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
    """Why a container ended the last time: `OOMKilled`, `Error`; empty if it never did, or ended well."""
    image: str = ""
    """Image of the container that waits or ended; one that it mounts as a volume, if it waits for that."""
    container: str = ""
    """Name of that container."""
    exit_code: int | None = None
    """Exit code of the container that ended."""
    exit_message: str = ""
    """What that container left as its last words, or the kubelet said of its end."""
    ended: bool = False
    """Whether a container is ended now, so that the pod does not do its work."""
    failed: str = ""
    """Why the kubelet or a controller ended the whole pod: `Evicted`, `UnexpectedAdmissionError`; empty if nobody did."""
    failed_message: str = ""
    unready_since: datetime | None = None
    """Since when it is not ready, in UTC; None if it is, or where nobody says."""
    ready_since: datetime | None = None
    """Since when it is ready, in UTC; None if it is not, or where nobody says."""
    starting: bool = False
    """Whether its containers are only being created: the node fetches images and mounts volumes."""
    preparing: str = ""
    """Name of the container that runs before the others may start, as the one that waits for Ray's head; empty for none."""
    preparing_since: datetime | None = None
    """Since when it runs, in UTC; None where nobody says."""
    prepared: bool = True
    """Whether its volumes are mounted and its network is made."""
    leaving: bool = False
    """Being deleted."""
    created: datetime | None = None
    """When it was made, in UTC; None where nobody says."""
    scheduled: datetime | None = None
    """When it got a node, in UTC; None while it has none, or where nobody says."""
    running_since: datetime | None = None
    """Since when the container that Ray runs in runs, in UTC; None while it does not."""

    def same_end(self, other: "PodFacts") -> bool:
        """Whether both ended in the same way, whichever of their containers it was."""
        ends = [
            (pod.last_exit, pod.exit_code, pod.exit_message, pod.failed, pod.failed_message) for pod in (self, other)
        ]
        return ends[0] == ends[1]


CORDONED: Final = "is cordoned"
"""Why a node takes no pods that somebody has taken out of service."""


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
    lost: bool = False
    """Whether its kubelet is silent or says that it is not ready: what is on it does not answer."""
    since: datetime | None = None
    """Since when it is lost, in UTC; None where nobody says."""

    @property
    def cordoned(self) -> bool:
        """Whether it is well, and somebody wants no more pods there: a drain follows, as a rule."""
        return not self.lost and self.why == CORDONED
