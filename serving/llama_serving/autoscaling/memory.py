"""What one decision leaves to the next: numbers and short lists only, so that it survives as JSON where the controller does not.

Every part of it is made by the module that uses it. A memory that cannot be read is an empty one, and an empty memory never cuts a
fleet: see `policy`.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

_VERSION = 5

Row = tuple[str, float, float, float, float, float, float, float]
"""Of one replica: its name; requests accepted and finished, tokens of prompts, their pairs, tokens of answers; when these moved last; share of the cache
in use."""

Bin = tuple[int, int, int, int]
"""Of needs: number of the bin; the most replicas that were needed in it, that the load alone needed, and that it needed while requests were late."""

_Numbered = TypeVar("_Numbered", tuple[int, float, float], Bin)


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered. Times are seconds on the clock of the decisions.

    Attributes:
        at: When the last decision was made; 0 for none.
        counters: Of each replica that has reported.
        bins: Arrivals: number of the bin, requests, seconds that were seen of it. Oldest first.
        levels: Arrivals of the last hour, as `bins`, in longer ones.
        queues: Waiting requests of the last seconds: when, in routers, and in all.
        lengths: Decayed sums: requests begun and finished, prompt tokens, pairs, generated tokens.
        work: Engine seconds a second that were delivered, decayed, for each ready replica; negative for unknown.
        correction: By what the engine seconds of a request are multiplied.
        crowded_since: Since when more requests wait than may; 0 if they do not.
        ready: Replicas that served.
        ready_since: Since when so many served.
        starts: Replicas that start: when they were asked for, and how many.
        cold_start: Measured seconds of a start; 0 for none.
        needs: Need by time. Oldest first.
        began: When this memory began.
        surge: Replicas that were asked for because requests wait.
        surge_at: When.
        held: Requests in routers, as far as that is believed.
        flickers_until: Until when only what stays in routers is believed.
        inside: Requests that wait in engines.
        running: Requests that engines compute.
        late_at: When a request that came was last too late.
        blind_since: Since when no replica is believed; 0 if one is.
        blind_at: When that was so last, for longer than a report or two.
        level: Requests a second, at the last decision that could be trusted.
        woke: When a replica began to serve that gets what routers held.
        slots: Requests that one replica computes at once; 0 if none has said it yet.
        kv_tokens: Tokens that the KV cache of one holds; 0 if none has said it yet.
        foretold: Forecasts: the bin of `levels` that they spoke of, requests a second at their time, and those that they foretold.
        doubted_since: Since when not all can be believed; 0 if all can.
        stuck: Requests in routers that nobody hands on.
        idle_since: Since when all engines are idle beside a queue; 0 if they are not.
        judged: What came of them: the share, the error and the number of `foretold.Foretold`.
    """

    at: float = 0.0
    counters: tuple[Row, ...] = ()
    bins: tuple[tuple[int, float, float], ...] = ()
    levels: tuple[tuple[int, float, float], ...] = ()
    queues: tuple[tuple[float, float, float], ...] = ()
    lengths: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    work: float = -1.0
    correction: float = 1.0
    crowded_since: float = 0.0
    ready: int = 0
    ready_since: float = 0.0
    starts: tuple[tuple[float, int], ...] = ()
    cold_start: float = 0.0
    needs: tuple[Bin, ...] = ()
    began: float = 0.0
    surge: int = 0
    surge_at: float = 0.0
    held: float = 0.0
    flickers_until: float = 0.0
    inside: float = 0.0
    running: float = 0.0
    late_at: float = 0.0
    blind_since: float = 0.0
    blind_at: float = 0.0
    level: float = -1.0
    woke: float = 0.0
    slots: float = 0.0
    kv_tokens: float = 0.0
    foretold: tuple[tuple[int, float, float], ...] = ()
    doubted_since: float = 0.0
    stuck: float = 0.0
    idle_since: float = 0.0
    judged: tuple[float, float, float] = (1.0, 0.0, 0.0)

    @property
    def empty(self) -> bool:
        """Whether nothing was decided before."""
        return self.at == 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, said: object) -> "Memory":
        """Read what `to_json` wrote, or what a JSON library made of it; an empty memory if it is anything else."""
        fresh = cls()
        if not isinstance(said, Mapping) or said.get("version") != _VERSION:
            return fresh
        try:
            values = {one.name: _like(getattr(fresh, one.name), said[one.name]) for one in fields(cls)}
            values["counters"] = tuple((str(name), *map(float, rest)) for name, *rest in said["counters"])
            values["bins"] = _oldest_first((int(number), float(a), float(b)) for number, a, b in said["bins"])
            values["levels"] = _oldest_first((int(number), float(a), float(b)) for number, a, b in said["levels"])
            values["foretold"] = tuple((int(number), float(a), float(b)) for number, a, b in said["foretold"])
            share, error, forecasts = map(float, said["judged"])
            values["judged"] = (share, error, forecasts)
            values["needs"] = _oldest_first(
                (int(number), int(need), int(load), int(late)) for number, need, load, late in said["needs"]
            )
            values["starts"] = tuple((float(when), int(number)) for when, number in said["starts"])
            values["queues"] = tuple((float(a), float(b), float(c)) for a, b, c in said["queues"])
            first, second, third, fourth, fifth = map(float, said["lengths"])
            values["lengths"] = (first, second, third, fourth, fifth)
        except (KeyError, TypeError, ValueError, OverflowError):
            return fresh
        return cls(**values)


def _oldest_first(said: Iterable[_Numbered]) -> tuple[_Numbered, ...]:
    """Return what was said of bins; ValueError if they do not follow each other: what lies between two would be without a bound."""
    found = tuple(said)
    if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(found)):
        raise ValueError(found)
    return found


def _like(model: object, said: Any) -> Any:
    """Return `said` as what `model` is."""
    if isinstance(model, bool):
        return bool(said)
    if isinstance(model, int):
        return int(said)
    return float(said) if isinstance(model, float) else said
