"""Knative's pod autoscaler. Made by `simulate.scalers.table`.

`knative.dev/serving/pkg/autoscaler/scaling/autoscaler.go`, with the defaults of `config-autoscaler`: every 2 s the mean concurrency of a stable
window of 60 s over 70 % of the target; if that of a panic window of 6 s asks for twice the ready pods or more, it panics for 60 s and only goes up; down
to at most half.
"""

import math
from collections import deque

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish

_TICK_SECONDS = 2.0
_STABLE_SECONDS = 60.0
_PANIC_SECONDS = 6.0
_PANIC_THRESHOLD = 2.0
_MOST_UP, _MOST_DOWN = 1000.0, 2.0
_UTILIZATION = 0.7


class Kpa:
    """One Knative autoscaler on concurrency."""

    name = "KPA"
    delays: ServeDelays | None = None

    def __init__(self, target: float = 50.0) -> None:
        self._per_pod = target * _UTILIZATION
        self._seen: deque[tuple[float, float]] = deque()
        self._next = 0.0
        self._panic_since: float | None = None
        self._most_in_panic = 0

    def wish(self, view: FleetView) -> Wish:
        """Scale, if it is time to."""
        self._seen.append((view.now, view.in_flight))
        while self._seen[0][0] <= view.now - _STABLE_SECONDS:
            self._seen.popleft()
        if view.now < self._next:
            return Wish(view.target)
        self._next = view.now + _TICK_SECONDS
        ready = max(1, view.ready)
        stable = self._wished(self._mean(_STABLE_SECONDS, view.now), ready)
        panic = self._wished(self._mean(_PANIC_SECONDS, view.now), ready)
        if panic / ready >= _PANIC_THRESHOLD:
            self._panic_since = view.now
        elif self._panic_since is not None and view.now - self._panic_since > _STABLE_SECONDS:
            self._panic_since, self._most_in_panic = None, 0
        if self._panic_since is None:
            return Wish(stable, "KPA: stable window")
        self._most_in_panic = max(self._most_in_panic, panic, stable, view.target)
        return Wish(self._most_in_panic, "KPA: panic")

    def _wished(self, concurrency: float, ready: int) -> int:
        wished = math.ceil(concurrency / self._per_pod)
        return int(min(max(wished, math.floor(ready / _MOST_DOWN)), math.ceil(ready * _MOST_UP)))

    def _mean(self, seconds: float, now: float) -> float:
        values = [value for at, value in self._seen if at > now - seconds]
        return sum(values) / len(values)
