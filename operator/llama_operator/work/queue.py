"""Which LlamaDeployment is looked at next: keys that wait, run, back off or are due later. Called by `controller` alone.

Pure: time and randomness are arguments, nothing here waits. What it promises (tests/unit/controller holds it to that):
a key is never given out twice at once; a key that was added is given out after the addition, or waits for its back-off;
namespaces take turns, so that one full of deployments does not delay another with one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final

from llama_operator.kube.port import Ref

_URGENT_FAILURES: Final = 4
"""Failures in a row after which a key is no longer treated as new: what fails for good must not hold back the rest for good."""
_RECHECK_TURN: Final = 4
"""Every so many keys of the rest one is a recheck, however many changes wait."""


class Priority(IntEnum):
    """Why a pass is asked for; the higher goes first.

    A burst of changes to what serves would else hold up the start of what does not serve yet.
    """

    RECHECK = 0
    """Something that it rests on may have changed."""
    CHANGED = 1
    """What is asked for has changed."""
    NEW = 2
    """It has never been looked at."""


@dataclass(frozen=True, slots=True)
class Slots:
    """How many keys run at once.

    More passes than keep the API server busy do not end sooner, they only wait for each other. A new deployment that comes
    meanwhile would wait with them; so while new ones come, the rest leaves half of the time to them: one pass at a time,
    and after each a rest as long as the pass.

    Attributes:
        total: Most at once.
        kept: Of these, how many are kept for what is new; at least one is left to the rest.
        calm: Seconds after something new, for which the rest holds back.
        pause: Seconds between two starts of the rest while something new waits or runs: a thousand new ones must not
            stop a change to what serves.
        longest: Most seconds for which a pass of the rest keeps the others waiting, and then most seconds of its rest: one
            that waits for a pod that does not answer costs the API server nothing.
    """

    total: int
    kept: int = 0
    calm: float = 5.0
    pause: float = 0.25
    longest: float = 2.0


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a key waits after failures in a row.

    Attributes:
        first: Seconds after the first failure.
        factor: Growth with each further one.
        longest: Seconds that it never exceeds.
        jitter: Share of the wait that is random, so that keys that failed together do not come back together.
    """

    first: float = 0.5
    factor: float = 2.0
    longest: float = 60.0
    jitter: float = 0.2

    def seconds(self, failures: int, chance: float) -> float:
        """Seconds to wait after the `failures`-th failure in a row; `chance` is random in [0, 1)."""
        # Past this many doublings the longest wait is reached; the power itself would overflow one day.
        wait = min(self.longest, self.first * self.factor ** min(failures - 1, 32))
        return wait * (1 - self.jitter * chance)


@dataclass(slots=True)
class _Line:
    """Keys that are ready, each once: namespaces take turns, within one the first comes first."""

    lanes: dict[str, dict[Ref, None]] = field(default_factory=dict)
    turns: deque[str] = field(default_factory=deque)
    """Namespaces that have ready keys, each once, in the order of their turns."""

    def push(self, key: Ref) -> None:
        lane = self.lanes.get(key.namespace)
        if lane is None:
            lane = self.lanes[key.namespace] = {}
            self.turns.append(key.namespace)
        lane[key] = None

    def pop(self) -> Ref:
        namespace = self.turns.popleft()
        lane = self.lanes[namespace]
        key = next(iter(lane))
        del lane[key]
        if lane:
            self.turns.append(namespace)
        else:
            del self.lanes[namespace]
        return key

    def discard(self, key: Ref) -> None:
        if key in self:
            del self.lanes[key.namespace][key]
            if not self.lanes[key.namespace]:
                del self.lanes[key.namespace]
                self.turns.remove(key.namespace)

    def __contains__(self, key: Ref) -> bool:
        return key in self.lanes.get(key.namespace, ())

    def __len__(self) -> int:
        return sum(map(len, self.lanes.values()))


class WorkQueue:
    """Keys, each in at most one place: ready, running, or due later.

    Args:
        back_off: How long failed keys wait.
        chance: Random numbers in [0, 1).
        slots: How many run at once.
    """

    def __init__(self, back_off: BackOff, chance: Callable[[], float], slots: Slots) -> None:
        self._back_off = back_off
        self._chance = chance
        self._slots = slots
        self._lines = {priority: _Line() for priority in Priority}
        self._changes_in_a_row = 0
        self._running: dict[Ref, tuple[Priority, float]] = {}
        """Priority, and since when it runs."""
        self._calm_until = float("-inf")
        self._rest_until = float("-inf")
        self._again: dict[Ref, Priority] = {}
        """Running keys that were added meanwhile, with the highest priority of that."""
        self._due: dict[Ref, tuple[float, Priority]] = {}
        self._heap: list[tuple[float, int, Ref]] = []
        self._pushed = 0
        self._failures: dict[Ref, int] = {}
        self._pause_ends: float | None = None
        """While something new waits or runs: when the next of the rest may start."""

    @property
    def ready(self) -> int:
        """Keys that wait for a place; while new ones come, also for their turn."""
        return sum(map(len, self._lines.values()))

    @property
    def running(self) -> int:
        """Keys that were given out and not yet given back."""
        return len(self._running)

    @property
    def failing(self) -> int:
        """Keys whose last pass failed."""
        return len(self._failures)

    def add(self, key: Ref, priority: Priority = Priority.RECHECK) -> None:
        """Ask for a pass.

        Args:
            key: What to look at.
            priority: Whatever is more than a recheck also ends a back-off. A recheck waits for it, or the events of its
                own attempts would keep a failing key busy.
        """
        if key in self._running:
            self._again[key] = max(priority, self._again.get(key, priority))
            return
        if key in self._failures and key in self._due and priority is Priority.RECHECK:
            return
        if priority > Priority.RECHECK:
            self._failures.pop(key, None)
        _, owed = self._due.pop(key, (0.0, priority))
        self._make_ready(key, max(priority, owed))

    def take(self, now: float) -> Ref | None:
        """Give out the next key, or None when nothing is ready at time `now` for which there is a place."""
        self._promote(now)
        if self._lines[Priority.NEW] or self._new_runs():
            self._calm_until = now + self._slots.calm
            if self._pause_ends is None:
                self._pause_ends = now + self._slots.pause
        if len(self._running) >= self._slots.total:
            return None
        if self._rest_may_start(now):
            priority = self._next_of_the_rest()
            if self._pause_ends is not None:
                self._pause_ends = now + self._slots.pause
        elif self._lines[Priority.NEW]:
            priority = Priority.NEW
        else:
            return None
        key = self._lines[priority].pop()
        self._running[key] = (priority, now)
        return key

    def _rest_may_start(self, now: float) -> bool:
        started = self._rest_runs_since()
        if not self._rest_waits() or len(started) >= max(1, self._slots.total - self._slots.kept):
            return False
        if now >= self._calm_until:
            return True
        if any(now < since + self._slots.longest for since in started):
            return False
        return now >= self._rest_until and (self._pause_ends is None or now >= self._pause_ends)

    def _rest_runs_since(self) -> list[float]:
        return [since for priority, since in self._running.values() if priority is not Priority.NEW]

    def _rest_waits(self) -> bool:
        return bool(self._lines[Priority.CHANGED] or self._lines[Priority.RECHECK])

    def _next_of_the_rest(self) -> Priority:
        turn_of_a_recheck = self._lines[Priority.RECHECK] and self._changes_in_a_row >= _RECHECK_TURN - 1
        if self._lines[Priority.CHANGED] and not turn_of_a_recheck:
            self._changes_in_a_row += 1
            return Priority.CHANGED
        self._changes_in_a_row = 0
        return Priority.RECHECK

    def succeeded(self, key: Ref, now: float, *, again_after: float | None = None) -> None:
        """Give a key back; it comes again when it was added meanwhile, or `again_after` seconds from `now`."""
        self._give_back(key, now)
        self._failures.pop(key, None)
        again = self._again.pop(key, None)
        if again is not None:
            self._make_ready(key, again)
        elif again_after is not None:
            self._schedule(key, now + again_after, Priority.RECHECK)

    def failed(self, key: Ref, now: float) -> float:
        """Give a key back that failed; returns the seconds until it comes again, at first as urgent as it was."""
        priority = self._give_back(key, now)
        again = self._again.pop(key, Priority.RECHECK)
        if again > Priority.RECHECK:
            self._failures.pop(key, None)
            self._make_ready(key, max(again, priority))
            return 0.0
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = self._back_off.seconds(failures, self._chance())
        self._schedule(key, now + wait, priority if failures < _URGENT_FAILURES else min(priority, Priority.CHANGED))
        return wait

    def _give_back(self, key: Ref, now: float) -> Priority:
        priority, since = self._running.pop(key)
        if priority is not Priority.NEW:
            self._rest_until = now + min(now - since, self._slots.longest)
        if not self._lines[Priority.NEW] and not self._new_runs():
            self._pause_ends = None
        return priority

    def _new_runs(self) -> bool:
        return any(priority is Priority.NEW for priority, _ in self._running.values())

    def next_due(self, now: float) -> float | None:
        """Time after `now`, which was given to `take` last, at which a key may start without anything else happening.

        None when there is none.
        """
        times = [self._first_due()]
        if self._rest_waits():
            times += [self._pause_ends, self._rest_until, self._calm_until]
            times += [since + self._slots.longest for since in self._rest_runs_since()]
        return min((time for time in times if time is not None and time > now), default=None)

    def _first_due(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2], (None,))[0] != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _make_ready(self, key: Ref, priority: Priority) -> None:
        if any(key in self._lines[higher] for higher in Priority if higher > priority):
            return
        for lower in Priority:
            if lower < priority:
                self._lines[lower].discard(key)
        self._lines[priority].push(key)

    def _schedule(self, key: Ref, when: float, priority: Priority) -> None:
        self._due[key] = (when, priority)
        self._pushed += 1
        # The count keeps keys from being compared.
        heappush(self._heap, (when, self._pushed, key))

    def _promote(self, now: float) -> None:
        while (due := self._first_due()) is not None and due <= now:
            key = heappop(self._heap)[2]
            self._make_ready(key, self._due.pop(key)[1])
