"""Prints the lines of an evidence file as they come, so that a container of their own shows them and nothing else.

Run as a program by the chart: `python -m llama_operator.evidence.follow FILE`. It holds the file to a size: it renames one that is
too large, which the operator allows at any time. A line that was printed before the last start may be printed again, none is left out.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

_LOOK_SECONDS: Final = 0.2
_LARGEST: Final = 8 << 20
"""Bytes after which the file is renamed; some thousand lines."""
_CHUNK: Final = 1 << 20


class Follower:
    """Copies what is new.

    Args:
        path: The file, which need not be there yet.
        out: Where lines go.
        largest: Bytes after which the file is renamed to `FILE.1`, over the one before.
    """

    def __init__(self, path: Path, out: BinaryIO, *, largest: int = _LARGEST) -> None:
        self._path = path
        self._out = out
        self._largest = largest
        self._mark = path.with_name(f"{path.name}.printed")
        self._old = path.with_name(f"{path.name}.1")
        self._inode, self._offset = self._read_mark()

    def look(self) -> None:
        """Copy every whole line that was not copied yet.

        Raises:
            OSError: If a file cannot be read, or a line cannot be printed.
        """
        with contextlib.suppress(FileNotFoundError), self._old.open("rb") as old:
            # What was written to it just before it was renamed.
            if os.fstat(old.fileno()).st_ino == self._inode:
                self._copy(old)
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._inode:
                self._inode, self._offset = inode, 0
            self._copy(file)
            if self._offset >= self._largest:
                self._path.replace(self._old)

    def _copy(self, file: BinaryIO) -> None:
        file.seek(self._offset)
        while chunk := file.read(_CHUNK):
            # A line without its end is being written, or a crash cut it off: then the operator ends it.
            whole = chunk[: chunk.rfind(b"\n") + 1]
            if not whole:
                return
            self._out.write(whole)
            self._out.flush()
            self._offset += len(whole)
            self._mark.write_text(f"{self._inode} {self._offset}", encoding="ascii")
            file.seek(self._offset)

    def _read_mark(self) -> tuple[int, int]:
        with contextlib.suppress(OSError, ValueError):
            inode, offset = self._mark.read_text(encoding="ascii").split()
            return int(inode), int(offset)
        return 0, 0


def follow(follower: Follower, stopping: Callable[[], bool], sleep: Callable[[float], None]) -> None:
    """Look again and again until it is to stop, and then once more: the operator has ended before."""
    while not stopping():
        follower.look()
        sleep(_LOOK_SECONDS)
    follower.look()


def main(arguments: list[str]) -> int:
    """Follow the file that the arguments name until SIGTERM; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m llama_operator.evidence.follow FILE\n")
        return 2
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: asked.append(caught))
    follow(Follower(Path(arguments[0]), sys.stdout.buffer), lambda: bool(asked), time.sleep)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
