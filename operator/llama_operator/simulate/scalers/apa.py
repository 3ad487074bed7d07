"""AIBrix's APA: proportional with a band in which nothing changes. Made by `simulate.scalers.table`.

`vllm-project/aibrix/pkg/controller/podautoscaler` (APA): the mean of the metric per pod over a window; above the target by more than 10 %, or below it by
more than 20 %, `ceil(pods * value / target)`, at most twice or half the pods. The metric of its documentation is the use of the KV cache, 0.5.
"""

import math
from collections import deque

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish

_SYNC_SECONDS = 10.0
_WINDOW_SECONDS = 60.0
_UP_TOLERANCE, _DOWN_TOLERANCE = 0.1, 0.2
_MOST = 2.0


class Apa:
    """One APA on the use of the KV cache."""

    name = "AIBrix APA"
    delays: ServeDelays | None = None

    def __init__(self, target: float = 0.5) -> None:
        self._target = target
        self._seen: deque[tuple[float, float]] = deque()
        self._next = 0.0

    def wish(self, view: FleetView) -> Wish:
        """Scale, if it is time to."""
        if view.ready == 0:
            return Wish(max(view.target, 1 if view.waiting > 0 else 0))
        use = sum(replica.kv_usage for replica in view.replicas) / max(1, len(view.replicas))
        self._seen.append((view.now, use))
        while self._seen[0][0] <= view.now - _WINDOW_SECONDS:
            self._seen.popleft()
        if view.now < self._next:
            return Wish(view.target)
        self._next = view.now + _SYNC_SECONDS
        value = sum(one for _, one in self._seen) / len(self._seen)
        wished, pods = math.ceil(view.ready * value / self._target), view.ready
        if value > self._target * (1 + _UP_TOLERANCE):
            return Wish(max(view.target, min(wished, math.ceil(pods * _MOST))), f"APA: cache {value:.0%}")
        if value < self._target * (1 - _DOWN_TOLERANCE):
            return Wish(max(1, wished, math.floor(pods / _MOST)), f"APA: cache {value:.0%}")
        return Wish(view.target)
