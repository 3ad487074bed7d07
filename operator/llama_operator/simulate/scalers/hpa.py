"""Kubernetes' HorizontalPodAutoscaler on a sum of a metric, and KEDA around it. Made by `simulate.scalers.table`.

`kubernetes/pkg/controller/podautoscaler` (v2, defaults): every 15 s `ceil(sum / target)`, nothing within a tolerance of 10 %; up at once, at most
to twice the pods or by four; down to the largest wish of the last 300 s. It never goes to zero. KEDA (`keda/pkg/scaling/executor`) feeds it and
adds zero: to one replica when the metric is above the activation value, to none when it was not for the cooldown of 300 s.
"""

import math
from collections import deque
from collections.abc import Callable

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish

_SYNC_SECONDS = 15.0
_TOLERANCE = 0.1
_STABLE_SECONDS = 300.0
_UP_FACTOR, _UP_PODS = 2, 4
_COOLDOWN_SECONDS = 300.0


def waiting(view: FleetView) -> float:
    """Requests that wait: `vllm:num_requests_waiting`, and the queue before the engines."""
    return view.waiting


def in_flight(view: FleetView) -> float:
    """Requests that wait or run."""
    return view.in_flight


class Hpa:
    """One HorizontalPodAutoscaler with an `AverageValue` target."""

    delays: ServeDelays | None = None

    def __init__(self, name: str, metric: Callable[[FleetView], float], target: float) -> None:
        self.name = name
        self._metric, self._target = metric, target
        self._next = 0.0
        self._wishes: deque[tuple[float, int]] = deque()

    def wish(self, view: FleetView) -> Wish:
        """Sync, if it is time to."""
        if view.now < self._next:
            return Wish(view.target)
        self._next = view.now + _SYNC_SECONDS
        value, current = self._metric(view), max(1, view.target)
        ratio = value / (self._target * current)
        wished = current if abs(ratio - 1) <= _TOLERANCE else math.ceil(value / self._target)
        wished = max(1, wished)
        self._wishes.append((view.now, wished))
        while self._wishes[0][0] < view.now - _STABLE_SECONDS:
            self._wishes.popleft()
        if wished < current:
            wished = min(current, max(count for _, count in self._wishes))
        return Wish(min(wished, max(current * _UP_FACTOR, current + _UP_PODS)), f"{self.name}: {value:.0f}")


class Keda:
    """KEDA with one scaler on waiting requests; the threshold is that of vLLM's production stack."""

    name = "KEDA"
    delays: ServeDelays | None = None

    def __init__(self, threshold: float = 5.0) -> None:
        self._hpa = Hpa(self.name, waiting, threshold)
        self._active_at = 0.0

    def wish(self, view: FleetView) -> Wish:
        """Activate, deactivate, or leave it to the HPA."""
        if view.in_flight > 0:
            self._active_at = view.now
        if view.target == 0:
            return Wish(1 if view.waiting > 0 else 0)
        if view.minimum == 0 and view.now - self._active_at >= _COOLDOWN_SECONDS:
            return Wish(0)
        return self._hpa.wish(view)
