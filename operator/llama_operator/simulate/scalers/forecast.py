"""A forecast of the rate by ARIMA(2,1,0), one cold start ahead, as predictive planners do. Made by `simulate.scalers.table`.

The rate in bins of 30 s over the last hour; its differences follow two of their predecessors (least squares). Dynamo's planner and SageServe (arXiv
2502.14617) put ARIMA forecasts of this kind before a model of capacity; that capacity is known here, as if a load test had told it.
"""

import math
from collections import deque
from itertools import pairwise

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish

_BIN_SECONDS = 30.0
_BINS = 120
_LEAST_BINS = 6


class Forecast:
    """One forecaster."""

    name = "ARIMA forecast"
    delays: ServeDelays | None = None

    def __init__(self, requests_per_second: float) -> None:
        self._capacity = requests_per_second
        self._rates: deque[float] = deque(maxlen=_BINS)
        self._accepted: dict[str, float] = {}
        self._queue = 0.0
        self._arrived = 0.0
        self._next = _BIN_SECONDS

    def wish(self, view: FleetView) -> Wish:
        """Count what arrives; at the end of a bin, forecast."""
        for one in view.replicas:
            self._arrived += max(0.0, one.accepted - self._accepted.get(one.name, 0.0))
        self._accepted = {one.name: one.accepted for one in view.replicas}
        self._arrived += view.router_queue - self._queue
        self._queue = view.router_queue
        if view.now < self._next:
            return Wish(max(view.target, 1 if view.waiting > 0 else 0))
        self._next = view.now + _BIN_SECONDS
        self._rates.append(max(0.0, self._arrived) / _BIN_SECONDS)
        self._arrived = 0.0
        ahead = max(1, math.ceil(view.cold_start_seconds / _BIN_SECONDS))
        rate = max(self._rates[-1], _forecast(tuple(self._rates), ahead))
        return Wish(math.ceil(rate / self._capacity), f"forecast: {rate:.1f} requests a second")


def _forecast(rates: tuple[float, ...], ahead: int) -> float:
    """Rate so many bins from now; the last one while there are too few to fit."""
    if len(rates) < _LEAST_BINS:
        return rates[-1]
    steps = [after - before for before, after in pairwise(rates)]
    first, second = _fitted(steps)
    before, last, level = steps[-2], steps[-1], rates[-1]
    for _ in range(ahead):
        before, last = last, first * last + second * before
        level += last
    return min(max(0.0, level), 2 * max(rates))


def _fitted(steps: list[float]) -> tuple[float, float]:
    """Coefficients of `step = a * previous + b * the one before`, by the normal equations; both 0 if they have no solution."""
    s11 = s22 = s12 = t1 = t2 = 0.0
    for two, one, now in zip(steps, steps[1:], steps[2:], strict=False):
        s11, s22, s12 = s11 + one * one, s22 + two * two, s12 + one * two
        t1, t2 = t1 + one * now, t2 + two * now
    determinant = s11 * s22 - s12 * s12
    if determinant <= 0:
        return 0.0, 0.0
    return (t1 * s22 - t2 * s12) / determinant, (t2 * s11 - t1 * s12) / determinant
