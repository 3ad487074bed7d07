"""Where the lines of evidence go: a file of their own, or standard output. Wired in by `process`.

Effects. A line is written whole or not at all, as far as the system lets us.
"""

import json
import os
from pathlib import Path
from typing import BinaryIO, Final

from llama_operator.evidence.chain import FORMAT, GENESIS, LONGEST_LINE

_MODE: Final = 0o640
"""Readable for a log shipper of the same group, writable for the operator alone."""


class EvidenceFile:
    """A file that lines are appended to. Opened for every line: it may be renamed away at any time (log rotation)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: bytes) -> None:
        """Append `line` and wait until the disk has it.

        Raises:
            OSError: If that is not possible; the file is as it was before.
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
        """Hash of the last line that is a record; `GENESIS` if there is no file, or no record at its end.

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
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("evidence") == FORMAT and isinstance(record.get("hash"), str):
                return str(record["hash"])
        return GENESIS

    def repair(self) -> bool:
        """End a last line that was cut off by a crash, so that the next one stands alone; returns whether there was one.

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
