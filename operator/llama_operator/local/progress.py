"""What a local run reports to the person who waits for it; the command line shows these events as they come."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class Stage(StrEnum):
    """How far one RayService (or the whole run) is, in the usual order."""

    CLEANING_UP = "CleaningUp"
    """Ending what an earlier run that was killed has left."""
    STARTING_RAY = "StartingRay"
    """`ray start` runs; nothing answers yet."""
    SUBMITTING_CONFIG = "SubmittingConfig"
    """The dashboard takes the Serve config."""
    LOADING_ENGINE = "LoadingEngine"
    """Serve starts the application's replicas; for vLLM this is the long part."""
    SERVING = "Serving"
    """Requests are answered at `Progress.url`."""
    STOPPING = "Stopping"
    """Processes are being ended."""
    STOPPED = "Stopped"
    """Nothing is left of it."""
    FAILED = "Failed"
    """It cannot go on like this; `text` says why. A change of the manifest, or a retry, may leave this stage."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a local run.

    Attributes:
        stage: How far it is.
        service: `namespace/name` of the RayService; empty for the run as a whole.
        text: What is happening, for people, on one or (failures) several lines.
        since: When this stage began; it stays while only the text changes.
        url: Address of the OpenAI-compatible endpoint; None unless serving.
        log: File or folder with the details; None where there is none yet.
    """

    stage: Stage
    service: str
    text: str
    since: datetime
    url: str | None = None
    log: Path | None = None


ProgressCallback = Callable[[Progress], None]
"""Called in the event loop, and only when something changed; it must not block."""


class Reporter:
    """Turns observations of one subject into events: drops repetitions, keeps the time when a stage began."""

    def __init__(self, service: str, callback: ProgressCallback, clock: Callable[[], datetime]) -> None:
        self._service = service
        self._callback = callback
        self._clock = clock
        self._last: Progress | None = None

    @property
    def stage(self) -> Stage | None:
        """Stage of the newest event, None before the first."""
        return None if self._last is None else self._last.stage

    def report(self, stage: Stage, text: str, *, url: str | None = None, log: Path | None = None) -> None:
        """Emit an event, unless it says nothing new."""
        last = self._last
        since = last.since if last is not None and last.stage is stage else self._clock()
        event = Progress(stage=stage, service=self._service, text=text, since=since, url=url, log=log)
        if event != last:
            self._last = event
            self._callback(event)
