"""Turns the recorded output of a terminal (ANSI, on standard input) into an SVG. Called by `make picture`."""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 110
LIVE = "⠿"


def main() -> int:
    """Read the recording, keep what a reader would see, write the picture."""
    target, title = Path(sys.argv[1]), sys.argv[2]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in sys.stdin.read().replace("\r\n", "\n").split("\n"):
        text = Text.from_ansi(line.split("\r")[-1])
        # The live line is erased in the end; here nothing is.
        if not text.plain.lstrip().startswith(LIVE):
            console.print(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(console.export_svg(title=title), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
