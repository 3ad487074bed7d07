"""Plays incidents, several at once where they do not disturb each other. Called by `__main__` and by tests/control_plane."""

import concurrent.futures
import contextlib
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from control_plane import nodes
from control_plane.plane import ControlPlane
from control_plane.processes import PlaneError
from gameday import views
from gameday.incident import Incident, View, When
from gameday.judge import Judged, Line, Verdict, judge, said
from gameday.operators import Operators
from gameday.stage import NAME, Stage, StageError
from gameday.trail import Trail

AT_ONCE: Final = 6
_HEADS: Final = "cpu"
_HEAD_NODES: Final = 3
_MORE_SECONDS: Final = 15.0
"""How long after its time something is waited for: what comes late is told apart from what never comes."""
_QUIET_SECONDS: Final = 4.0
"""How long it is watched that something that must not be said is not said."""
_LOOK_SECONDS: Final = 0.3
_ASK_SECONDS: Final = 2.0
"""Between two calls of a command."""
_ASKED: Final = (View.EXPLAIN, View.DOCTOR, View.COLUMN)


@dataclass(frozen=True, slots=True)
class Played:
    """An incident that was played."""

    incident: Incident
    judged: tuple[Judged, ...]
    seconds: float
    """From the first thing that was done until it was judged."""
    failure: str = ""
    """Why it could not be played."""
    lines: tuple[Line, ...] = ()
    """All that was said."""

    @property
    def good(self) -> bool:
        """Whether all views said what they have to, in time."""
        return not self.failure and all(one.verdict is Verdict.SAID for one in self.judged)

    @property
    def told(self) -> bool:
        """Whether all views said what they have to, however long it took: what a test may rest on."""
        return not self.failure and said(self.judged)


@dataclass
class Day:
    """A cluster on which incidents are played.

    Attributes:
        plane: With KWOK and KubeRay, and nobody else who adds nodes.
        patience: Seconds that are added to the time of each expectation before it counts as missing.
        heads: Simulated nodes without GPUs, for heads and small models; 0 where a real node is there for them.
    """

    plane: ControlPlane
    patience: float = _MORE_SECONDS
    heads: int = _HEAD_NODES
    operators: Operators = field(init=False)
    trail: Trail = field(init=False)

    def __post_init__(self) -> None:
        self._wall = time.time() - time.monotonic()
        self.operators, self.trail = Operators(self.plane), Trail(self.plane.api)

    def __enter__(self) -> Self:
        self._heads = nodes.add_nodes(self.plane, _HEADS, self.heads)
        self.trail.start()
        self.operators.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.trail.stop()
        self.operators.stop()
        nodes.remove_nodes(self.plane, self._heads)

    def play(
        self, incidents: Sequence[Incident], at_once: int = AT_ONCE, tell: Callable[[Played], None] = lambda _: None
    ) -> tuple[Played, ...]:
        """Play them: those that disturb nobody first, several at once, then the others one by one.

        Args:
            incidents: What to play.
            at_once: How many at the same time.
            tell: Is given each when it was played.

        Returns:
            In the order in which the incidents stand.
        """
        played: dict[str, Played] = {}

        def one(incident: Incident) -> None:
            played[incident.name] = self._play(incident)
            tell(played[incident.name])

        queue = _Queue(each for each in incidents if not each.alone)
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            for done in [pool.submit(queue.work, one) for _ in range(at_once)]:
                done.result()
        for incident in incidents:
            if incident.alone:
                self._alone(incident, one)
        return tuple(played[incident.name] for incident in incidents)

    def _alone(self, incident: Incident, one: Callable[[Incident], None]) -> None:
        if incident.flags:
            self.operators.stop()
            self.operators.start(incident.flags)
        one(incident)
        if incident.flags or not self.operators.runs():
            self.operators.stop()
            self.operators.start()

    def _play(self, incident: Incident) -> Played:
        stage, start = Stage(self.plane, self.operators, f"day-{incident.name}"), time.monotonic()
        judged: tuple[Judged, ...] = ()
        lines: tuple[Line, ...] = ()
        failure = ""
        try:
            stage.open()
            incident.before(stage)
            mark = self.operators.log().stat().st_size
            stage.known()
            began = stage.since
            incident.cause(stage)
            judged, lines = self._watched(incident, stage, mark, began)
        except (StageError, PlaneError) as error:
            failure = str(error)
        except Exception:  # noqa: BLE001 - one play that is wrong must not end the others
            failure = traceback.format_exc()
        finally:
            seconds = time.monotonic() - start
            with contextlib.suppress(PlaneError):
                incident.after(stage)
                stage.close()
        return Played(incident, judged, seconds, failure, lines)

    def _watched(
        self, incident: Incident, stage: Stage, mark: int, began: float
    ) -> tuple[tuple[Judged, ...], tuple[Line, ...]]:
        """Look until all is said, or its time is over by far."""
        asked = _Asked(stage, {says.view for says in incident.says})
        watched_until = time.monotonic() + (_QUIET_SECONDS if any(_never(incident)) else 0.0)
        end = time.monotonic() + max(says.within for says in incident.says) + self.patience
        while True:
            lines = (*self._told(stage, mark), *asked.lines)
            judged = tuple(judge(says, lines, began - stage.since) for says in incident.says)
            over = time.monotonic() >= end
            if over or (said(judged) and time.monotonic() >= watched_until):
                return judged, lines
            waiting = any(one.says.view not in _ASKED for one in judged if one.verdict is Verdict.MISSING)
            asked.ask(later=waiting)
            time.sleep(_LOOK_SECONDS)

    def _told(self, stage: Stage, mark: int) -> Iterator[Line]:
        versions, since = self.trail.of(stage.namespace), stage.since
        yield from views.conditions(versions, since, NAME)
        yield from views.events(versions, since, NAME)
        yield from views.log_lines(self.operators.log(), mark, since + self._wall, stage.namespace)
        for moment, text in stage.answers:
            yield Line(View.ANSWER, moment - since, "", "", "", text)


def _never(incident: Incident) -> Iterator[bool]:
    return (says.when is When.NEVER for says in incident.says)


class _Asked:
    """What the commands say that are asked again and again."""

    def __init__(self, stage: Stage, wanted: set[View]) -> None:
        self.lines: list[Line] = []
        self._stage, self._wanted, self._next = stage, wanted, 0.0

    def ask(self, *, later: bool) -> None:
        """Ask, if it is time to.

        Args:
            later: Whether other views are still waited for: then a command costs more than it tells.
        """
        now, stage = time.monotonic(), self._stage
        if now < self._next or (later and now - stage.since < _ASK_SECONDS):
            return
        for view in (View.EXPLAIN, View.DOCTOR):
            if view in self._wanted:
                command = [str(view), *([NAME, "-n", stage.namespace] if view is View.EXPLAIN else []), "-o", "json"]
                document = _parsed(stage.look(command=command))
                self.lines += views.checks(view, now - stage.since, document)
        if View.COLUMN in self._wanted:
            with contextlib.suppress(PlaneError):
                rows = stage.plane.api.table("llamadeployments.llama-operator.io", namespace=stage.namespace)
                self.lines += views.columns(now - stage.since, rows, NAME)
        self._next = time.monotonic() + _ASK_SECONDS


def _parsed(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        # What the command says when it fails is no document.
        return {"checks": [{"name": "error", "state": "Failed", "evidence": text, "unblock": ""}]}
    return found if isinstance(found, dict) else {}


class _Queue:
    """Incidents that wait for their turn: none is played while another one has nodes that it takes."""

    def __init__(self, incidents: Iterable[Incident]) -> None:
        self._waiting = list(incidents)
        self._taken: set[str] = set()
        self._changed = threading.Condition()

    def work(self, play: Callable[[Incident], None]) -> None:
        """Play one after the other until none is left."""
        while (incident := self._next()) is not None:
            try:
                play(incident)
            finally:
                with self._changed:
                    self._taken -= incident.takes
                    self._changed.notify_all()

    def _next(self) -> Incident | None:
        with self._changed:
            while self._waiting:
                free = next((one for one in self._waiting if not one.takes & self._taken), None)
                if free is not None:
                    self._waiting.remove(free)
                    self._taken |= free.takes
                    return free
                self._changed.wait()
            return None
