"""Starts stages as processes when there is room for them, shows what they say, and collects what came of them.

Used by `__main__`. A stage is started when the memory that it states can be had beside what the running ones may still take,
or when nothing else runs: then nothing would be won by waiting.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from stages import usage
from stages.report import Counts, Result, counts, failures
from stages.table import ROOT, Stage
from stages.usage import GIB, Family

_POLL_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 2.0
_GRACE_SECONDS: Final = 90.0
"""For the end after Ctrl-C: tests stop Ray, planes and nodes first."""


@dataclass(slots=True)
class Running:
    """A stage that was started."""

    stage: Stage
    process: subprocess.Popen[str]
    family: Family
    began: float
    reader: threading.Thread | None = None

    @property
    def still_to_take(self) -> int:
        """Bytes that it states and does not use yet."""
        return max(0, int(self.stage.memory_gib * GIB) - self.family.now)


@dataclass(slots=True)
class Runner:
    """Runs stages until all have ended.

    Attributes:
        folder: Where logs and reports go.
        most_at_once: Stages that may run at the same time, those that are quick aside.
        show: Prints a text and ends the line; called from several threads.
        available: Says how many bytes of memory can be had.
        interruptions: Says how often the user asked for the end. A handler of a signal counts, and raises nothing:
            an exception between the start of a stage and the line that notes it would leave that stage running.
    """

    folder: Path
    most_at_once: int
    show: Callable[[str], None]
    available: Callable[[], int] = usage.available
    interruptions: Callable[[], int] = int
    _running: list[Running] = field(default_factory=list)
    _results: dict[str, Result] = field(default_factory=dict)
    _alone: bool = False

    def run(self, stages: Sequence[Stage]) -> list[Result]:
        """Run the quick stages side by side, then the others if all was well; returns results in the order of `stages`.

        Raises:
            InterruptedError: The user asked for the end; all stages have ended then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._alone = len(stages) == 1
        try:
            self._run_all([stage for stage in stages if stage.quick], len(stages))
            if all(result.good for result in self._results.values()):
                self._run_all([stage for stage in stages if not stage.quick], self.most_at_once)
        except BaseException:
            self._stop()
            raise
        return [self._results.get(stage.name) or Result(stage.name, None, None, 0, 0) for stage in stages]

    def _run_all(self, stages: Sequence[Stage], most: int) -> None:
        waiting, looked, told = list(stages), 0.0, set[str]()
        while waiting or self._running:
            if self.interruptions():
                raise InterruptedError
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self._look()
            for stage in list(waiting):
                if len(self._running) < most and self._fits(stage, told):
                    waiting.remove(stage)
                    self._start(stage)
            for running in [each for each in self._running if each.process.poll() is not None]:
                self._running.remove(running)
                self._finish(running)
            time.sleep(_POLL_SECONDS)

    def _look(self) -> None:
        processes = usage.snapshot()
        for running in self._running:
            running.family.look(processes)

    def _fits(self, stage: Stage, told: set[str]) -> bool:
        free = self.available() - sum(running.still_to_take for running in self._running)
        if free >= stage.memory_gib * GIB:
            return True
        if stage.name not in told:
            told.add(stage.name)
            self.show(f"==> {stage.name} needs {stage.memory_gib:g} GiB of memory, {free / GIB:.1f} are free")
        return not self._running

    def _start(self, stage: Stage) -> None:
        report = self._report(stage)
        report.unlink(missing_ok=True)
        command = [*stage.command, *([f"--junitxml={report}"] if stage.tests else [])]
        self.show(f"==> {stage.name} starts")
        # A group of its own, so that Ctrl-C comes to it from here only, once and in order.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=None if self._alone else subprocess.PIPE,
            stderr=None if self._alone else subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        running = Running(stage, process, Family(process.pid), time.monotonic())
        if process.stdout is not None:
            running.reader = threading.Thread(target=self._read, args=(stage, process.stdout), daemon=True)
            running.reader.start()
        self._running.append(running)

    def _read(self, stage: Stage, output: IO[str]) -> None:
        """Show progress as it comes, and what follows the first heading (failures) in one piece at the end."""
        held: list[str] = []
        with output, (self.folder / f"{stage.name}.log").open("w", encoding="utf-8") as log:
            for line in output:
                log.write(line)
                log.flush()
                if held or line.startswith("====="):
                    held.append(line.rstrip("\n"))
                elif line.strip():
                    self.show(f"{stage.name:<13} | {line.rstrip()}")
        if held:
            self.show("\n".join([f"==> {stage.name} says:", *held]))

    def _finish(self, running: Running) -> None:
        stage, status = running.stage, running.process.returncode
        seconds = time.monotonic() - running.began
        if running.reader is not None:
            # What a stage leaves behind may keep its output open.
            running.reader.join(_POLL_SECONDS * 10)
        found = counts(self._report(stage), good=status == 0) if stage.tests else None
        wrong = failures(self._report(stage)) if stage.tests and status != 0 else ()
        self._results[stage.name] = Result(stage.name, status, found, seconds, running.family.peak, wrong)
        self.show(
            f"==> {stage.name} {'has passed' if status == 0 else 'HAS FAILED'} after {seconds:.0f} s{_words(found)}"
        )

    def _stop(self) -> None:
        for running in self._running:
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGINT)
        end = time.monotonic() + _GRACE_SECONDS
        # A user who asks twice does not want to wait.
        while any(running.process.poll() is None for running in self._running):
            if time.monotonic() > end or self.interruptions() > 1:
                break
            time.sleep(_POLL_SECONDS)
        for running in self._running:
            running.family.kill()
            running.process.wait()

    def _report(self, stage: Stage) -> Path:
        return self.folder / f"{stage.name}.xml"


def _words(found: Counts | None) -> str:
    return "" if found is None else f": {found.passed} passed, {found.failed} failed, {found.skipped} skipped"
