"""Which LlamaDeployment is looked at next: keys that wait, run, back off or are due later. Only `work.controller` calls it.

Pure: time and randomness are arguments, nothing here waits. It promises (tests/unit/work holds it to that):
a key never runs twice at once; a key that was added is given out after the addition, or waits for its back-off;
namespaces take turns, so that a crowded namespace does not delay a small one.

What is new goes first. Everything else is background: it gets one place at a time while something new waits or runs.
docs/designs/0006-operator-process.md has the figures for that rule, and for those that it replaced.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final

from llama_operator.kube.port import Ref

_URGENT_FAILURES: Final = 4
"""Failures in a row after which a key counts as background: a key that fails for good must not hold back the others."""
_BACKGROUND_TURN: Final = 10
"""While new keys wait, one start of so many is a background one: a thousand new ones must not stop a change to what serves."""
_RECHECK_TURN: Final = 4
"""One background start of so many is a recheck, however many changes wait."""


class Priority(IntEnum):
    """Why a pass is asked for; the higher goes first.

    Otherwise a burst of changes to what serves would hold up the start of what does not serve yet.
    """

    RECHECK = 0
    """Something that the deployment depends on may have changed. Background."""
    CHANGED = 1
    """The user changed the spec. Background."""
    NEW = 2
    """No pass has looked at it yet."""


@dataclass(frozen=True, slots=True)
class Slots:
    """How many passes run at once.

    More passes than keep the API server busy do not end sooner, they only wait for each other, and a new deployment
    would wait with them. So background passes run one at a time while something new waits or runs.

    Attributes:
        total: Upper limit of passes at once.
        kept: How many of these background passes never take; one place is theirs in any case.
        patience: Seconds after which a pass no longer counts as running for that rule. A pass that waits for a pod that
            does not answer costs the API server nothing, and must not hold up the others.
    """

    total: int
    kept: int = 0
    patience: float = 2.0


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
        self._new_in_a_row = 0
        self._changes_in_a_row = 0
        self._running: dict[Ref, tuple[Priority, float]] = {}
        """Priority, and the time of the start."""
        self._again: dict[Ref, Priority] = {}
        """Running keys that were added since their start, with the highest priority."""
        self._due: dict[Ref, tuple[float, Priority]] = {}
        self._heap: list[tuple[float, int, Ref]] = []
        self._pushed = 0
        self._failures: dict[Ref, int] = {}

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
            priority: A priority above RECHECK also ends a back-off. A recheck waits for it: the events of a failing key's
                own attempts must not keep it busy.
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
        """Give out the next key, or None when no key is ready at time `now` or there is no place for it."""
        self._promote(now)
        if len(self._running) >= self._slots.total or (priority := self._next_priority(now)) is None:
            return None
        key = self._lines[priority].pop()
        self._running[key] = (priority, now)
        return key

    def _next_priority(self, now: float) -> Priority | None:
        new_waits = bool(self._lines[Priority.NEW])
        its_turn = not new_waits or self._new_in_a_row >= _BACKGROUND_TURN - 1
        if its_turn and self._background_may_start(now):
            self._new_in_a_row = 0
            return self._next_background()
        self._new_in_a_row += new_waits
        return Priority.NEW if new_waits else None

    def _background_may_start(self, now: float) -> bool:
        background = sum(priority is not Priority.NEW for priority, _ in self._running.values())
        if not self._background_waits() or background >= max(1, self._slots.total - self._slots.kept):
            return False
        counted = {priority for priority, since in self._running.values() if now < since + self._slots.patience}
        return Priority.NEW not in counted or counted == {Priority.NEW}

    def _background_waits(self) -> bool:
        return bool(self._lines[Priority.CHANGED] or self._lines[Priority.RECHECK])

    def _next_background(self) -> Priority:
        turn_of_a_recheck = self._lines[Priority.RECHECK] and self._changes_in_a_row >= _RECHECK_TURN - 1
        if self._lines[Priority.CHANGED] and not turn_of_a_recheck:
            self._changes_in_a_row += 1
            return Priority.CHANGED
        self._changes_in_a_row = 0
        return Priority.RECHECK

    def succeeded(self, key: Ref, now: float, *, again_after: float | None = None) -> None:
        """Give a key back; it comes again at once if it was added since its start, else `again_after` seconds from `now`."""
        del self._running[key]
        self._failures.pop(key, None)
        again = self._again.pop(key, None)
        if again is not None:
            self._make_ready(key, again)
        elif again_after is not None:
            self._schedule(key, now + again_after, Priority.RECHECK)

    def failed(self, key: Ref, now: float) -> float:
        """Give a key back that failed; returns the seconds until it comes again, at first with the same priority."""
        priority, _ = self._running.pop(key)
        again = self._again.pop(key, Priority.RECHECK)
        if again > Priority.RECHECK:
            self._failures.pop(key, None)
            self._make_ready(key, max(again, priority))
            return 0.0
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = self._back_off.seconds(failures, self._chance())
        self._schedule(key, now + wait, priority if failures < _URGENT_FAILURES else min(priority, Priority.CHANGED))
        return wait

    def next_due(self, now: float) -> float | None:
        """Time after `now`, which was given to `take` last, at which a key may start without anything else happening.

        None when there is none.
        """
        times = [self._first_due()]
        if self._background_waits():
            times += [since + self._slots.patience for _, since in self._running.values()]
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
