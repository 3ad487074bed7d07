"""Live progress of a local run: one line that tells what is happening and how long so far. Used by `cli.run.command`."""

import time
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from llama_operator.local.progress import Progress, Stage

_QUIET = frozenset({Stage.STOPPING, Stage.STOPPED})


class ProgressLines:
    """Shows steps as they come: live in a terminal, one line a step elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._current = "starting"
        self._stage: Stage | None = None
        self._live = Live(get_renderable=self._line, console=console, refresh_per_second=4, transient=True)
        self._open = False

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        self._open = True
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the terminal as it was."""
        self.close()

    def close(self) -> None:
        """Stop showing; what is printed from here on is the caller's."""
        if self._open and self._console.is_terminal:
            self._live.stop()
        self._open = False

    def show(self, progress: Progress) -> None:
        """Take the next step."""
        if not self._open or progress.stage in _QUIET:
            return
        self._current = progress.text
        if progress.stage is not self._stage or not self._console.is_terminal:
            self._console.print(Text(f"  {self._seconds():4.0f} s  {progress.text}", style="dim"), soft_wrap=True)
        self._stage = progress.stage

    def _line(self) -> RenderableType:
        return Text(f"⠿ {self._seconds():4.0f} s  {self._current}", style="cyan")

    def _seconds(self) -> float:
        return time.monotonic() - self._began
