"""What goes wrong with metrics and controllers: missing, frozen, absurd and flipping values. Called by the bench and the tests.

Each is a function from what the fleet reports to what the autoscaler sees, between two seconds of the run.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from llama_operator.simulate.fleet_view import FleetView, ReplicaView, Scaler, ServeDelays, Wish
from llama_operator.simulate.run import Disturbance

_ABSURD = 1e12
_FLIP_SECONDS, _FLIP_QUEUE = 7.0, 400.0
_NAN, _NEGATIVE = math.nan, -5.0


def _of_replicas(change: Callable[[ReplicaView], ReplicaView]) -> Callable[[FleetView], FleetView]:
    return lambda view: replace(view, replicas=tuple(change(one) for one in view.replicas))


def _everything(value: float) -> Callable[[FleetView], FleetView]:
    """Every gauge reads `value`."""
    return lambda view: replace(
        _of_replicas(lambda one: replace(one, waiting=value, running=value, kv_usage=value))(view), router_queue=value
    )


def _flips(view: FleetView) -> FleetView:
    high = int(view.now / _FLIP_SECONDS) % 2
    shares = max(1, len(view.replicas))
    waiting = _FLIP_QUEUE * high / shares
    return _of_replicas(lambda one: replace(one, waiting=waiting))(view)


STATELESS: dict[str, Callable[[FleetView], FleetView]] = {
    "one replica silent": lambda view: replace(view, replicas=view.replicas[1:]),
    "all replicas silent": lambda view: replace(view, replicas=()),
    "all silent and queue 0": lambda view: replace(view, replicas=(), router_queue=0.0),
    "NaN": _everything(_NAN),
    "negative": _everything(_NEGATIVE),
    "waiting 1e12": _of_replicas(lambda one: replace(one, waiting=_ABSURD)),
    "router queue 1e12": lambda view: replace(view, router_queue=_ABSURD),
    "running and cache 0": _of_replicas(lambda one: replace(one, running=0.0, kv_usage=0.0)),
    "queue 0": lambda view: replace(_of_replicas(lambda one: replace(one, waiting=0.0))(view), router_queue=0.0),
    "cache 1e12": _of_replicas(lambda one: replace(one, kv_usage=_ABSURD)),
    "queue flips": _flips,
}
"""Disturbances that look at one view only, by name."""


def between(change: Callable[[FleetView], FleetView], begin: float, end: float) -> Disturbance:
    """Return a disturbance that acts from the second `begin` to the second `end`."""
    return lambda view: change(view) if begin <= view.now < end else view


def frozen(begin: float, end: float, *, anew: bool = False) -> Disturbance:
    """Return a disturbance that repeats the last report of each replica.

    Args:
        begin: First second.
        end: Second in which reports are true again.
        anew: Whether the old values come with a new time, as of an engine whose counters hang while its replica goes on.
    """
    kept: dict[str, ReplicaView] = {}

    def freeze(view: FleetView) -> FleetView:
        if not begin <= view.now < end:
            kept.clear()
            kept.update((one.name, one) for one in view.replicas)
            return view
        old = (kept.setdefault(one.name, one) for one in view.replicas)
        lag = {one.name: one.reported_at for one in view.replicas} if anew else {}
        return replace(
            view, replicas=tuple(replace(one, reported_at=lag.get(one.name, one.reported_at)) for one in old)
        )

    return freeze


class Forgetful:
    """A scaler whose controller restarts again and again, and forgets all that it remembered."""

    def __init__(self, make: Callable[[], Scaler], every: float) -> None:
        self._make, self._every = make, every
        self._scaler = make()
        self._next = every

    @property
    def name(self) -> str:
        """Name of the scaler."""
        return self._scaler.name

    @property
    def delays(self) -> ServeDelays | None:
        """Delays of the scaler."""
        return self._scaler.delays

    def wish(self, view: FleetView) -> Wish:
        """Ask the scaler, or the next one after a restart."""
        if view.now >= self._next:
            self._next += self._every
            self._scaler = self._make()
        return self._scaler.wish(view)
