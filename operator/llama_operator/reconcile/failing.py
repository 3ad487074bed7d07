"""How long the passes of a deployment have failed in a row. Called by `reconcile.deployment`.

One request that fails is no news to anybody but the log and the metrics: the next pass follows in half a second. The memory of
one process: a new leader waits as long as this one did.
"""

from collections.abc import Callable
from datetime import timedelta

from llama_operator.kube.port import Ref


class Failing:
    """Since when passes fail.

    Args:
        elapsed: Seconds on a clock that only goes forward.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._since: dict[Ref, float] = {}

    def failed(self, ref: Ref) -> timedelta:
        """Note that a pass over the deployment at `ref` failed; returns how long ago the first one of this row did."""
        now = self._elapsed()
        return timedelta(seconds=now - self._since.setdefault(ref, now))

    def ended(self, ref: Ref) -> None:
        """Note that a pass succeeded, or that the deployment is gone."""
        self._since.pop(ref, None)
