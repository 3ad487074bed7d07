"""Tells on a terminal what is played, and for how long already: a day of requests takes minutes. Used by `cli.simulate.command`."""

import time
from typing import TYPE_CHECKING, Self

from llama_operator.cli.shared import output

if TYPE_CHECKING:
    from rich.text import Text


class Steps:
    """One line on standard error that goes away at the end; nothing where that is no terminal."""

    def __init__(self) -> None:
        from rich.live import Live

        console = output.console(errors=True)
        self._began, self._current = time.monotonic(), "reading"
        self._live = Live(get_renderable=self._line, console=console, refresh_per_second=4, transient=True)
        self._shown = console.is_terminal

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._shown:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the terminal as it was."""
        if self._shown:
            self._live.stop()

    def show(self, text: str) -> None:
        """Say what is done now."""
        self._current = text

    def _line(self) -> "Text":
        from rich.text import Text

        return Text(f"{time.monotonic() - self._began:4.0f} s  {self._current}", style="dim")
