"""Writes the lines of evidence: to a file of their own, or to standard output. Wired in by `process`.

Effects. A line is written whole or not at all, as far as the system allows.
"""

import json
import os
from pathlib import Path
from typing import BinaryIO, Final

from llama_operator.evidence.chain import FORMAT, GENESIS, LONGEST_LINE

_MODE: Final = 0o640
"""A log shipper of the same group can read it; only the operator can write it."""


class EvidenceFile:
    """A file to which lines are appended. It is opened for every line, because log rotation may rename it at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: bytes) -> None:
        """Append `line` and wait until the disk has it.

        Raises:
            OSError: If that is not possible; the file then is as it was before.
        """
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            size = os.fstat(handle).st_size
            try:
                _write_all(handle, line)
                os.fdatasync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)

    def head(self) -> str:
        """Return the hash of the last line that is a record; `GENESIS` if there is no file, or no record at its end.

        Raises:
            OSError: If it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 2 * LONGEST_LINE))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return GENESIS
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("evidence") == FORMAT and isinstance(entry.get("hash"), str):
                return str(entry["hash"])
        return GENESIS

    def repair(self) -> bool:
        """End a last line that a crash cut off, so that the next one is a line of its own; return whether there was one.

        Raises:
            OSError: If the file cannot be read or written.
        """
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) == 0:
                    return False
                file.seek(-1, os.SEEK_END)
                whole = file.read(1) == b"\n"
        except FileNotFoundError:
            return False
        if not whole:
            self.write(b"\n")
        return not whole


class EvidenceStream:
    """An open stream, such as standard output; its reader keeps the lines."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write `line` and flush; raises OSError."""
        self._stream.write(line)
        self._stream.flush()


def _write_all(handle: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[os.write(handle, left) :]
