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

from llama_operator.kube.port import Ref


class Priority(IntEnum):
    """Why a pass is asked for; within a namespace the highest goes first.

    A burst of changes to what serves would else hold up the start of what does not serve yet, which takes minutes anyway.
    """

    RECHECK = 0
    """Something that it rests on may have changed."""
    CHANGED = 1
    """What is asked for has changed."""
    NEW = 2
    """It has never been looked at."""


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
class _Lane:
    """Keys of one namespace that are ready, by priority; each once, in the order of their addition."""

    keys: dict[Priority, dict[Ref, None]] = field(
        default_factory=lambda: {priority: {} for priority in reversed(Priority)}
    )

    def push(self, key: Ref, priority: Priority) -> None:
        for other, keys in self.keys.items():
            if key in keys:
                if other >= priority:
                    return
                del keys[key]
        self.keys[priority][key] = None

    def pop(self) -> Ref:
        keys = next(keys for keys in self.keys.values() if keys)
        key = next(iter(keys))
        del keys[key]
        return key

    def __len__(self) -> int:
        return sum(len(keys) for keys in self.keys.values())


class WorkQueue:
    """Keys, each in at most one place: ready, running, or due later.

    Args:
        back_off: How long failed keys wait.
        chance: Random numbers in [0, 1).
    """

    def __init__(self, back_off: BackOff, chance: Callable[[], float]) -> None:
        self._back_off = back_off
        self._chance = chance
        self._lanes: dict[str, _Lane] = {}
        self._turns: deque[str] = deque()
        """Namespaces that have ready keys, each once, in the order of their turns."""
        self._running: set[Ref] = set()
        self._again: dict[Ref, Priority] = {}
        """Running keys that were added meanwhile, with the highest priority of that."""
        self._due: dict[Ref, float] = {}
        self._heap: list[tuple[float, int, Ref]] = []
        self._pushed = 0
        self._failures: dict[Ref, int] = {}

    @property
    def ready(self) -> int:
        """Keys that could run now."""
        return sum(len(lane) for lane in self._lanes.values())

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
        self._due.pop(key, None)
        self._make_ready(key, priority)

    def take(self, now: float) -> Ref | None:
        """Give out the next key, or None when nothing is ready at time `now`."""
        self._promote(now)
        if not self._turns:
            return None
        namespace = self._turns.popleft()
        lane = self._lanes[namespace]
        key = lane.pop()
        if lane:
            self._turns.append(namespace)
        else:
            del self._lanes[namespace]
        self._running.add(key)
        return key

    def succeeded(self, key: Ref, now: float, *, again_after: float | None = None) -> None:
        """Give a key back; it comes again when it was added meanwhile, or `again_after` seconds from `now`."""
        self._running.discard(key)
        self._failures.pop(key, None)
        again = self._again.pop(key, None)
        if again is not None:
            self._make_ready(key, again)
        elif again_after is not None:
            self._schedule(key, now + again_after)

    def failed(self, key: Ref, now: float) -> float:
        """Give a key back that failed; returns the seconds until it comes again."""
        self._running.discard(key)
        again = self._again.pop(key, Priority.RECHECK)
        if again > Priority.RECHECK:
            self._failures.pop(key, None)
            self._make_ready(key, again)
            return 0.0
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = self._back_off.seconds(failures, self._chance())
        self._schedule(key, now + wait)
        return wait

    def next_due(self) -> float | None:
        """Time at which the next waiting key becomes ready; None when none waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _make_ready(self, key: Ref, priority: Priority = Priority.RECHECK) -> None:
        lane = self._lanes.get(key.namespace)
        if lane is None:
            lane = self._lanes[key.namespace] = _Lane()
            self._turns.append(key.namespace)
        lane.push(key, priority)

    def _schedule(self, key: Ref, when: float) -> None:
        self._due[key] = when
        self._pushed += 1
        # The count keeps keys from being compared.
        heappush(self._heap, (when, self._pushed, key))

    def _promote(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            key = heappop(self._heap)[2]
            del self._due[key]
            self._make_ready(key)
