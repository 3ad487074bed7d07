"""When a copy hangs, and what its log says meanwhile. Pure; called by `weights.copying`."""

from dataclasses import dataclass, field
from typing import Final

from llama_serving.weights.claim import gigabytes

FLOOR_BYTES: Final = 1024**2
"""Fewer bytes than this in the time of `Stall.seconds`, and no file ended: nothing moves."""


@dataclass(slots=True)
class Stall:
    """Watches whether anything moves. Times are seconds of one clock.

    Attributes:
        seconds: How long nothing may move.
        since: When something last moved.
    """

    seconds: float
    since: float
    _moved: int = field(default=0)
    _ended: int = field(default=0)

    def is_stalled(self, now: float, moved: int, ended: int) -> bool:
        """Tell what was seen, and learn whether the copy hangs.

        Args:
            now: The time.
            moved: Bytes that were written and read so far. They fall when a file begins again.
            ended: Files that ended so far.
        """
        if ended != self._ended or abs(moved - self._moved) >= FLOOR_BYTES:
            self.since, self._moved, self._ended = now, moved, ended
        return now - self.since >= self.seconds


@dataclass(slots=True)
class Progress:
    """What is known of a copy on its way. Bytes and files; `started` is a time of the same clock.

    Attributes:
        started: When the copy began.
        files: Files of the copy.
        bytes: Bytes of the copy.
        ended: Files that are there.
        copied: Bytes of them.
        held: Bytes that were there before.
        on_way: Bytes of files that are being written.
    """

    started: float
    files: int = 0
    bytes: int = 0
    ended: int = 0
    copied: int = 0
    held: int = 0
    on_way: int = 0

    def line(self, now: float) -> str:
        """One line for people who follow the log."""
        if self.files == 0:
            return "the source is asked for its list of files"
        here = min(self.copied + self.on_way, self.bytes)
        rate = max(here - self.held, 0) / max(now - self.started, 1.0)
        text = f"{self.ended} of {self.files} files, {gigabytes(here)} of {gigabytes(self.bytes)}"
        if rate <= 0 or here >= self.bytes:
            return text
        return f"{text}, {gigabytes(rate)} a second, about {_duration((self.bytes - here) / rate)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 - below, minutes say too little
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"  # noqa: PLR2004
