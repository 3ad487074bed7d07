"""Fleets of who knows the trace: the clairvoyant, the right number in the second of the rise, and the fixed fleet of the peak.

Yardsticks, not autoscalers: they rest on `simulate.need`. Made by `simulate.scalers.table`.
"""

import math

from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish
from llama_operator.simulate.need import BIN_SECONDS, Need

_CLEARED_IN_SECONDS = 60.0
_USUAL_QUEUE = 2.0
"""Requests that wait in each replica below the cliff."""
_MARGIN = 1.1
"""A start takes up to a tenth longer than on average."""


class Fixed:
    """A fleet that never changes."""

    delays: ServeDelays | None = None

    def __init__(self, replicas: int, name: str = "fixed at peak") -> None:
        self.name = name
        self._replicas = replicas

    def wish(self, view: FleetView) -> Wish:  # noqa: ARG002 - the interface of a scaler
        """Wish what it always wishes."""
        return Wish(self._replicas)


class Clairvoyant:
    """Asks for each replica one cold start before it is needed, and keeps it if it is needed again soon."""

    name = "clairvoyant"
    delays: ServeDelays | None = None

    def __init__(self, need: Need, cold_start: float, minimum: int) -> None:
        self._held = need.held(cold_start, minimum)
        self._ahead = cold_start * _MARGIN

    def wish(self, view: FleetView) -> Wish:
        """Wish the most that is needed from now until a replica that is asked for now would serve."""
        first, last = (int(second / BIN_SECONDS) for second in (view.now, view.now + self._ahead))
        return Wish(max(self._held[first : last + 1], default=view.target))


class InTheSecond:
    """Asks for the right number in the second in which it is needed, and not before: the best without a forecast.

    The right number also works off within a minute what queues up until the new replicas serve. Where that waits in engines it cannot move: then
    it takes at most as many replicas more as are jammed by it.
    """

    name = "right number in the second"
    delays: ServeDelays | None = None

    def __init__(self, need: Need, cold_start: float, minimum: int, work_per_request: float, *, moves: bool) -> None:
        self._held = need.held(cold_start, minimum)
        self._cold_start = cold_start
        self._work, self._moves = work_per_request, moves
        self._more = 0

    def wish(self, view: FleetView) -> Wish:
        """Wish what is needed now, and what works off the queue."""
        held = self._held[min(int(view.now / BIN_SECONDS), len(self._held) - 1)]
        missing = max(0, held - view.ready)
        if missing:
            behind = view.waiting * self._work + missing * self._cold_start
            more = math.ceil(behind / _CLEARED_IN_SECONDS)
            self._more = max(self._more, more if self._moves else min(more, view.ready))
        elif view.waiting <= _USUAL_QUEUE * view.ready:
            self._more = 0
        return Wish(held + self._more)
