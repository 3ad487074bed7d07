"""AIBrix's APA: proportional with a band in which nothing changes. Made by `simulate.scalers.table`.

`vllm-project/aibrix/pkg/controller/podautoscaler` (`algorithm/apa.go`, defaults of `context/context.go`): the mean of the metric per pod; above the
target by more than 10 %, or below it by more than 10 %, `ceil(pods * value / target)`, at most twice or half the pods; down to the largest
wish of the last 300 s. The metric of its documentation is the use of the KV cache, 0.5.
"""

import math
from collections import deque

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish

_SYNC_SECONDS = 10.0
_WINDOW_SECONDS = 60.0
_DOWN_SECONDS = 300.0
_TOLERANCE = 0.1
_MOST = 2.0


class Apa:
    """One APA on the use of the KV cache."""

    name = "AIBrix APA"
    delays: ServeDelays | None = None

    def __init__(self, target: float = 0.5) -> None:
        self._target = target
        self._seen: deque[tuple[float, float]] = deque()
        self._wishes: deque[tuple[float, int]] = deque()
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
        wished = self._wished(view.target, value / self._target)
        self._wishes.append((view.now, wished))
        while self._wishes[0][0] <= view.now - _DOWN_SECONDS:
            self._wishes.popleft()
        if wished < view.target:
            wished = min(view.target, max(count for _, count in self._wishes))
        return Wish(wished, f"APA: cache {value:.0%}")

    @staticmethod
    def _wished(pods: int, ratio: float) -> int:
        if ratio > 1 + _TOLERANCE:
            return min(math.ceil(pods * ratio), math.ceil(pods * _MOST))
        if ratio < 1 - _TOLERANCE:
            return max(1, math.ceil(pods * ratio), math.floor(pods / _MOST))
        return pods
