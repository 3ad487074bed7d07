"""The clairvoyant: how many replicas have to serve at each moment so that the objective is kept, for who knows the whole trace.

Called by the command and the bench, for the yardstick of all others, and for the largest and the first fleet of each run. No formula gives the
smallest fleet: the search begins below it, with the work that arrives over the share of it that an engine can take, replays the trace, and adds a
replica where first tokens came too late, until the goal is kept. So it is an upper bound of the best that is possible, near to it where few
rounds were needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish
from llama_operator.simulate.outcome import within
from llama_operator.simulate.run import Record, Setup, run
from llama_operator.simulate.traces.trace import Trace

BIN_SECONDS = 30.0
_FIRST_SHARE = 0.9
"""Of its time that an engine may be given work for, at first: the cliff of a fleet of six lies a little above."""
_ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas that have to serve, for each bin of the trace."""

    replicas: tuple[int, ...]
    attainment: float
    """Share of first tokens within the objective that it reached when it was replayed."""

    @property
    def peak(self) -> int:
        """Most that are needed at once."""
        return max(self.replicas, default=0)

    def at(self, second: float) -> int:
        """Replicas that are needed at `second`."""
        place = min(max(0, int(second / BIN_SECONDS)), len(self.replicas) - 1)
        return self.replicas[place] if self.replicas else 0

    def held(self, cold_start: float, minimum: int) -> tuple[int, ...]:
        """Return the cheapest fleet that has the needed replicas: one that is needed again within a cold start is kept.

        For who knows the future that is optimal: to let it go and to start it again costs a cold start of GPU time, to keep it the gap.
        """
        bins = math.floor(cold_start / BIN_SECONDS)
        kept = [max(minimum, count) for count in self.replicas]
        for level in range(minimum + 1, self.peak + 1):
            last: int | None = None
            for place, count in enumerate(self.replicas):
                if count < level:
                    continue
                if last is not None and 1 < place - last <= bins + 1:
                    kept[last + 1 : place] = [max(level, one) for one in kept[last + 1 : place]]
                last = place
        return tuple(kept)


def find_need(setup: Setup, trace: Trace, *, seed: int, goal: float = 0.99) -> Need:
    """Search the need of a trace.

    Args:
        setup: The deployment; its cold start does not matter here.
        trace: Who arrives when.
        seed: Of the router.
        goal: Share of first tokens that have to come within the objective.
    """
    ready = replace(setup, cold_start=ColdStart((0.0,), spread=0.0), drain=math.inf)
    most = setup.bounds[1]
    plan = [min(most, count) for count in _by_work(setup, trace)]
    best: Need | None = None
    for _ in range(_ROUNDS):
        scripted = _Script(tuple(plan))
        record = run(ready, trace.arrivals, scripted, length=trace.length, seed=seed, initial=plan[0] if plan else 0)
        missed, arrived = _misses(record, setup, len(plan))
        attainment = 1 - sum(missed) / max(1, sum(arrived))
        if best is None or attainment > best.attainment:
            best = Need(tuple(plan), attainment)
        if attainment >= goal or not _raise(plan, missed, arrived, goal, most):
            break
    return best or Need((), 1.0)


def _by_work(setup: Setup, trace: Trace) -> list[int]:
    """Replicas for the work that arrives in each bin, smoothed over three."""
    bins = max(1, math.ceil(trace.length / BIN_SECONDS))
    work = [0.0] * bins
    for one in trace.arrivals:
        work[min(bins - 1, int(one.at / BIN_SECONDS))] += setup.speed.work(one.prompt_tokens, one.output_tokens)
    counts = []
    for place in range(bins):
        near = work[max(0, place - 1) : place + 2]
        counts.append(max(setup.bounds[0], math.ceil(sum(near) / len(near) / BIN_SECONDS / _FIRST_SHARE)))
    return counts


def _misses(record: Record, setup: Setup, bins: int) -> tuple[list[int], list[int]]:
    missed, arrived = [0] * bins, [0] * bins
    for request in record.requests:
        place = min(bins - 1, int(request.arrival.at / BIN_SECONDS))
        arrived[place] += 1
        missed[place] += not within(request, setup.first_token, setup.speed)
    return missed, arrived


def _raise(plan: list[int], missed: Sequence[int], arrived: Sequence[int], goal: float, most: int) -> bool:
    """Add a replica to each bin with too many misses, and to the one before a run of them, where the queue grew."""
    late = {place for place, count in enumerate(missed) if count > (1 - goal) * arrived[place]}
    wanted = late | {place - 1 for place in late if place - 1 not in late and place > 0}
    changed = False
    for place in wanted:
        if plan[place] < most:
            plan[place] += 1
            changed = True
    return changed


class _Script:
    """A fleet that follows a plan without delay."""

    name = "script"
    delays: ServeDelays | None = None

    def __init__(self, plan: tuple[int, ...]) -> None:
        self._need = Need(plan, 1.0)

    def wish(self, view: FleetView) -> Wish:
        return Wish(self._need.at(view.now))
