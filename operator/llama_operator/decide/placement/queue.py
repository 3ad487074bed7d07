"""Queues of Kueue: whether a RayService waits for its quota in one. Part of `Observed`; used by `decide`, `desired` and `status`.

Kueue takes a RayService by a label, which it lets nobody change while pods run. So the queue is chosen when the RayService is made
(`decide.rollout.queued`), and then left as it is: another label on the LlamaDeployment counts for the next one.
"""

from dataclasses import dataclass
from typing import Final

LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
LABEL_PRIORITY: Final = "kueue.x-k8s.io/priority-class"
ANNOTATION_ELASTIC: Final = "kueue.x-k8s.io/elastic-job"
"""Kueue refuses a RayService whose workers come and go by themselves, unless it has this."""
DEFAULT_QUEUE: Final = "default"
"""Kueue takes everything of a namespace that has a LocalQueue of this name."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What Kueue shall know of a RayService."""

    name: str
    priority: str = ""
    """Name of a WorkloadPriorityClass; empty for the priority of the pods."""

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return {LABEL_QUEUE: self.name} | ({LABEL_PRIORITY: self.priority} if self.priority else {})

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations."""
        return {ANNOTATION_ELASTIC: "true"}
