"""Which LlamaDeployment is looked at next: keys that wait, run, back off or are due later. Called by `controller` alone.

Pure: time and randomness are arguments, nothing here waits. What it promises (tests/unit/controller holds it to that):
a key is never given out twice at once; a key that was added is given out after the addition, or waits for its back-off;
namespaces take turns, so that one full of deployments does not delay another with one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from llama_operator.kube.port import Ref


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
    """Keys of one namespace that are ready; what a user changed goes before what only may have changed."""

    urgent: dict[Ref, None] = field(default_factory=dict)
    normal: dict[Ref, None] = field(default_factory=dict)

    def pop(self) -> Ref:
        keys = self.urgent or self.normal
        key = next(iter(keys))
        del keys[key]
        return key

    def __bool__(self) -> bool:
        return bool(self.urgent or self.normal)


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
        self._again: dict[Ref, bool] = {}
        """Running keys that were added meanwhile, with whether that was urgent."""
        self._due: dict[Ref, float] = {}
        self._heap: list[tuple[float, int, Ref]] = []
        self._pushed = 0
        self._failures: dict[Ref, int] = {}

    @property
    def ready(self) -> int:
        """Keys that could run now."""
        return sum(len(lane.urgent) + len(lane.normal) for lane in self._lanes.values())

    @property
    def running(self) -> int:
        """Keys that were given out and not yet given back."""
        return len(self._running)

    @property
    def failing(self) -> int:
        """Keys whose last pass failed."""
        return len(self._failures)

    def add(self, key: Ref, *, urgent: bool = False) -> None:
        """Ask for a pass.

        Args:
            key: What to look at.
            urgent: What is asked for has changed: goes before others of its namespace and ends a back-off. Other
                changes wait for it, or the events of its own attempts would keep a failing key busy.
        """
        if key in self._running:
            self._again[key] = urgent or self._again.get(key, False)
            return
        if key in self._failures and key in self._due and not urgent:
            return
        if urgent:
            self._failures.pop(key, None)
        self._due.pop(key, None)
        self._make_ready(key, urgent=urgent)

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
        urgent = self._again.pop(key, None)
        if urgent is not None:
            self._make_ready(key, urgent=urgent)
        elif again_after is not None:
            self._schedule(key, now + again_after)

    def failed(self, key: Ref, now: float) -> float:
        """Give a key back that failed; returns the seconds until it comes again."""
        self._running.discard(key)
        if self._again.pop(key, False):
            self._failures.pop(key, None)
            self._make_ready(key, urgent=True)
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

    def _make_ready(self, key: Ref, *, urgent: bool) -> None:
        lane = self._lanes.get(key.namespace)
        if lane is None:
            lane = self._lanes[key.namespace] = _Lane()
            self._turns.append(key.namespace)
        if urgent:
            lane.normal.pop(key, None)
            lane.urgent[key] = None
        elif key not in lane.urgent:
            lane.normal[key] = None

    def _schedule(self, key: Ref, when: float) -> None:
        self._due[key] = when
        self._pushed += 1
        # The count keeps keys from being compared.
        heappush(self._heap, (when, self._pushed, key))

    def _promote(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            key = heappop(self._heap)[2]
            del self._due[key]
            self._make_ready(key, urgent=False)
