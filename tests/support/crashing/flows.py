"""A flow that is played with a crash after each of its writes: what was played once is not played again. For the transition tests.

Two things are left out. What comes before the step with the crash: a play begins from a copy of the cluster that the undisturbed
play kept there. And what comes after a step at whose end the cluster is what it was without a crash: one play for each such
step goes on to the end and shows that it leads there, the others stop. What an operator remembers itself is not compared: all
of them have begun in the same step. A play that never comes to the same state is played to its end.
"""

import collections
import copy
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.kube.twin.journal import Interceptor, PassThrough
from llama_operator.kube.twin.store import Store
from support.crashing.faults import CrashAfter, CrashError

Play = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def copied(memory: MemoryCluster, now: Callable[[], datetime]) -> MemoryCluster:
    """Another cluster in the same state, with a clock of its own. What is stored is never changed in place, so it is shared."""
    other = copy.copy(memory)
    other._now = now
    other._writes, other._logs = list(memory._writes), dict(memory._logs)
    other._answers = {service: dict(answers) for service, answers in memory._answers.items()}
    other._store = _copied_store(memory._store)
    return other


def _copied_store(store: Store) -> Store:
    other = copy.copy(store)
    other._objects = {kind: dict(objects) for kind, objects in store._objects.items()}
    other._homes, other._ending = dict(store._homes), set(store._ending)
    other._changes, other._waiting = collections.deque(store._changes), set()
    return other


def state_of(memory: MemoryCluster) -> str:
    """All that is there, but what counts writes: the same text for the same state. A uid stands as the object that has it."""
    here = list(memory._store)
    names = {stored.uid: f"{stored.ref.kind.kind}/{stored.ref.namespace}/{stored.ref.name}" for stored in here}
    objects = [
        (
            names[stored.uid],
            stored.created,
            stored.generation,
            stored.deleted,
            stored.content,
            sorted((str(manager), sorted(map(str, paths))) for manager, paths in stored.ownership.items()),
        )
        for stored in here
    ]
    told = [(str(ref), text) for ref, text in memory._logs.items()], [*map(str, memory._answers.items())]
    text = json.dumps([memory.moment(), objects, told], sort_keys=True, default=str)
    return _UID.sub(lambda uid: names.get(uid.group(), "of an object that is gone"), text)


class Landmarks:
    """The states that an undisturbed play came to at the end of its steps, and from which the end is known to be reached."""

    def __init__(self) -> None:
        self._states: list[str] = []
        self._proven: set[int] = set()

    def note(self, state: str) -> None:
        """The next step of the undisturbed play has ended in this state."""
        self._states.append(state)

    def course(self, first_step: int = 0) -> "Course":
        """What watches a play that begins with a step."""
        return Course(self._states, self._proven, first_step)


class Course:
    """Is told of the end of every step of a play, and says whether it may stop there. Made by `Landmarks`."""

    def __init__(self, states: list[str], proven: set[int], step: int) -> None:
        self._states, self._proven, self._step = states, proven, step
        self._same_after: list[int] = []

    def leads_there(self, state: str, *, crashed: bool) -> bool:
        """A step has ended in `state`; whether it is known where the rest leads.

        Args:
            state: What `state_of` says, with whatever else the flow depends on.
            crashed: Whether the crashes of this play have happened.
        """
        step, self._step = self._step, self._step + 1
        if not crashed or self._states[step : step + 1] != [state]:
            return False
        if step in self._proven:
            return True
        self._same_after.append(step)
        return False

    def ended_well(self) -> None:
        """The play came to its end, and that was the right one."""
        # Only of the step with the crash: an operator has just begun there.
        self._proven.update(self._same_after[:1])


class Flow:
    """Steps that are taken one after the other, undisturbed or with an operator that dies. The steps begin at set times.

    Args:
        steps: Each gets the world, and a function that takes a script again and again until no operator dies in it.
        spacing: Time from the begin of a step to that of the next.
        operator: Starts an operator in a world, with an interceptor before its writes.
        end_state: What has to be the same at the end.
    """

    def __init__(
        self,
        steps: Sequence[Callable[[Any, Play], Awaitable[None]]],
        *,
        spacing: timedelta,
        operator: Callable[[Any, Interceptor], None],
        end_state: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._steps, self._spacing, self._operator, self._end_state = steps, spacing, operator, end_state
        self._begun: list[tuple[int, Any]] = []
        self._landmarks = Landmarks()
        self.ended: Any = None
        self.writes = 0

    async def undisturbed(self, world: Any) -> None:
        """Play it without a crash; sets `ended`, and the number of `writes`, those of before included."""
        for number, step in enumerate(self._steps):
            self._begun.append((writes_of(world), world.copy()))
            await self._take(world, number, step, [])
            self._landmarks.note(state_of(world.memory))
        self.ended, self.writes = await self._end_state(world), writes_of(world)

    @property
    def moments(self) -> range:
        """Numbers of writes after which a crash is a case of its own."""
        return range(self._begun[0][0], self.writes + 1)

    async def crashed(self, writes: int, *more: int) -> Any:
        """Play it with a crash after a number of writes, and one after so many more of the next operator. Asserts the end.

        Returns:
            The world at the end, or where the rest was known.
        """
        first = max(step for step, (before, _) in enumerate(self._begun) if before < writes or step == 0)
        before, world = self._begun[first][0], self._begun[first][1].copy()
        # Compared once for each flow: the states after a crash are those of another pass.
        world.compares = False
        lives, course = [writes - before, *more], self._landmarks.course(first)
        for number, step in enumerate(self._steps[first:], first):
            await self._take(world, number, step, lives)
            if course.leads_there(state_of(world.memory), crashed=not lives):
                return world
        ended = await self._end_state(world)
        assert ended == self.ended, f"crash after write {writes} of {self.writes}, then after {more}"
        course.ended_well()
        return world

    async def _take(
        self, world: Any, number: int, step: Callable[[Any, Play], Awaitable[None]], lives: list[int]
    ) -> None:
        """Take one step; each of `lives` is how many writes an operator lives to see, and goes when it has died."""

        def operator() -> None:
            self._operator(world, CrashAfter(lives[0]) if lives else PassThrough())

        async def play(script: Callable[[], Awaitable[Any]]) -> Any:
            while True:
                try:
                    return await script()
                except CrashError:
                    lives.pop(0)
                    operator()

        operator()
        start = world.clock.now - number * self._spacing
        await step(world, play)
        # However often somebody died in it.
        world.clock.now = start
        world.clock.advance((number + 1) * self._spacing.total_seconds())


def writes_of(world: Any) -> int:
    """Writes of operators until now."""
    return sum(1 for write in world.memory.writes if write.manager == "llama-operator")
