"""How pods ended lately. Filled by the handlers, read in each pass.

Pods of Ray are never restarted: when a container ends, KubeRay deletes the pod at once and makes another one. What it died of
is gone with it, and may be all that is known about a model that never comes up. So the process remembers the last end of each
role of a revision, until a pod of that role is ready again.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from llama_operator.decide.pods import PodFacts
from llama_operator.kube.port import Ref

_SECONDS: Final = 900.0
"""How long an end explains what is not there."""
_MOST: Final = 4096
"""Deployments of which ends are remembered."""


class Endings:
    """The last bad end of the pods of each revision and role.

    Args:
        clock: Seconds on a clock that only goes forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: OrderedDict[Ref, dict[tuple[str, str], tuple[float, PodFacts]]] = OrderedDict()

    def see(self, deployment: Ref, pod: PodFacts) -> None:
        """Take over a state of a pod of the deployment."""
        key = pod.revision, pod.role
        ends = self._ends.get(deployment, {})
        if pod.ready:
            ends.pop(key, None)
        elif not pod.leaving and (pod.failed or (pod.ended and pod.last_exit)):
            before = ends[key][1] if key in ends else pod
            # Of two containers that end in the same way now one is seen first, now the other: it is told in the same words.
            last = before if before.same_end(pod) else pod
            self._ends.setdefault(deployment, {})[key] = self._clock(), last
            self._ends.move_to_end(deployment)
            if len(self._ends) > _MOST:
                self._ends.popitem(last=False)

    def of(self, deployment: Ref) -> tuple[PodFacts, ...]:
        """How pods of the deployment ended, of each revision and role the last."""
        now, ends = self._clock(), self._ends.get(deployment, {})
        return tuple(pod for at, pod in ends.values() if now - at <= _SECONDS)
