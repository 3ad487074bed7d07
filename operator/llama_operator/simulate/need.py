"""The clairvoyant: how many replicas have to serve at each moment so that the objective is kept, for who knows the whole trace.

Called by the command and the bench, for the yardstick of all others, and for the largest and the first fleet of each run. No formula gives the
smallest fleet: the search begins below it, with the work that arrives over the share of it that an engine can take, replays the trace, and adds a
replica where first tokens came too late, until the goal is kept; then it takes some away where the
least is to do, as long as the goal is kept.
So it is an upper bound of the best that is possible.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.fleet_view import FleetView, ServeDelays, Wish
from llama_operator.simulate.outcome import REFERENCE, Player
from llama_operator.simulate.run import Setup
from llama_operator.simulate.traces.trace import Trace

BIN_SECONDS = 30.0
_FIRST_SHARE = 0.9
"""Of its time that an engine may be given work for, at first: the cliff of a fleet of six lies a little above."""
_ROUNDS_UP, _ROUNDS_DOWN = 16, 14


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


def find_need(setup: Setup, trace: Trace, *, seed: int, goal: float = 0.99, player: Player = REFERENCE) -> Need:
    """Search the need of a trace.

    Args:
        setup: The deployment; its cold start does not matter here.
        trace: Who arrives when.
        seed: Of the router.
        goal: Share of first tokens that have to come within the objective.
        player: Who plays.
    """
    search = _Search(setup, trace, seed, goal, player)
    plan = search.by_work()
    for _ in range(_ROUNDS_UP):
        late = search.late(plan)
        raised = [min(setup.bounds[1], count + (place in late)) for place, count in enumerate(plan)]
        if not late or raised == plan:
            break
        plan = raised
    return search.best if late else search.lowered()


class _Search:
    """Replays plans of one trace, and keeps the best: the smallest one that keeps the goal, else the one that comes nearest to it."""

    def __init__(self, setup: Setup, trace: Trace, seed: int, goal: float, player: Player) -> None:
        self._setup = replace(setup, cold_start=ColdStart((0.0,), spread=0.0), drain=math.inf)
        self._trace, self._seed, self._goal, self._player = trace, seed, goal, player
        self._work = _work_by_bin(setup, trace)
        self.best = Need((), 0.0)

    def by_work(self) -> list[int]:
        """Replicas for the work that arrives in each bin, smoothed over three: where the search begins."""
        setup, work, counts = self._setup, self._work, []
        for place in range(len(work)):
            near = work[max(0, place - 1) : place + 2]
            counts.append(max(setup.bounds[0], math.ceil(sum(near) / len(near) / BIN_SECONDS / _FIRST_SHARE)))
        return [min(setup.bounds[1], count) for count in counts]

    def late(self, plan: Sequence[int]) -> set[int]:
        """Replay a plan: the bins that have too few replicas, and those before them, where the queue grew; none if it keeps the goal."""
        setup, trace, player = self._setup, self._trace, self._player
        record = player.run(setup, trace.arrivals, _Script(plan), length=trace.length, seed=self._seed, initial=plan[0])
        missed, arrived = player.late(record, setup, BIN_SECONDS, len(plan))
        attainment = 1 - sum(missed) / max(1, sum(arrived))
        self._keep(Need(tuple(plan), attainment))
        if attainment >= self._goal:
            return set()
        late = {place for place, count in enumerate(missed) if count > (1 - self._goal) * arrived[place]}
        return late | {place - 1 for place in late if place > 0}

    def lowered(self) -> Need:
        """Take replicas away where the least is to do, in ever smaller groups of bins, as long as the goal is kept."""
        least, group = self._setup.bounds[0], max(1, len(self._work) // 4)
        done: set[int] = set()
        for _ in range(_ROUNDS_DOWN):
            plan = list(self.best.replicas)
            able = [place for place, count in enumerate(plan) if count > max(least, 1) and place not in done]
            chosen = sorted(able, key=lambda place: self._work[place] / (plan[place] - 1))[:group]
            if not chosen:
                break
            for place in chosen:
                plan[place] -= 1
            if self.late(plan):
                done |= set(chosen) if len(chosen) == 1 else set()
                group = max(1, len(chosen) // 2)
        return self.best

    def _keep(self, found: Need) -> None:
        kept = found.attainment >= self._goal
        if self.best.attainment < self._goal:
            better = found.attainment > self.best.attainment or not self.best.replicas
        else:
            better = kept and sum(found.replicas) < sum(self.best.replicas)
        if better:
            self.best = found


def _work_by_bin(setup: Setup, trace: Trace) -> list[float]:
    """Engine seconds that arrive in each bin."""
    work = [0.0] * max(1, math.ceil(trace.length / BIN_SECONDS))
    for one in trace.arrivals:
        work[min(len(work) - 1, int(one.at / BIN_SECONDS))] += setup.speed.work(one.prompt_tokens, one.output_tokens)
    return work


class _Script:
    """A fleet that follows a plan without delay."""

    name = "script"
    delays: ServeDelays | None = None

    def __init__(self, plan: Sequence[int]) -> None:
        self._need = Need(tuple(plan), 1.0)

    def wish(self, view: FleetView) -> Wish:
        return Wish(self._need.at(view.now))
