"""Writes the usage log: lines of JSON, in files of limited size, from a thread of its own. `desk` hands it the lines.

A request never waits for a disk. The queue to the thread has an end; what does not fit is counted and said in the log.
"""

import contextlib
import logging
import os
import queue
import threading
from io import FileIO
from pathlib import Path
from typing import Final

from llama_serving.contract.usage import USAGE_FILES

FILE_BYTES: Final = 64 * 1024**2
FILES: Final = 16
_CAPACITY: Final = 20_000
_BATCH: Final = 1000
_PAUSE_SECONDS: Final = 0.05
"""Between two batches: a thread that is woken for each line takes turns with the one that sends tokens."""
_LOGGER = logging.getLogger("ray.serve")


class UsageLog:
    """Files in one folder, written by one replica.

    Args:
        folder: Where; it is made if it is missing.
        writer: Name of the replica, a part of the files' names.
        file_bytes: Size from which a new file is begun.
        files: Files that are kept; the oldest is removed.
        capacity: Lines that may wait for the disk.
    """

    def __init__(
        self, folder: Path, writer: str, *, file_bytes: int = FILE_BYTES, files: int = FILES, capacity: int = _CAPACITY
    ) -> None:
        self._folder = folder
        self._writer = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in writer)
        self._file_bytes = file_bytes
        self._files = files
        # Without an end of its own: handing over costs a tenth of what it does with one, and each request pays it.
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._capacity = capacity
        self._is_closed = False
        self._refused = 0
        self._failed = 0
        """Lines that the disk did not take; only the thread counts them."""
        self._told = 0
        self._number = 1
        self._file: FileIO | None = None
        self._is_torn = False
        """Whether a part of a line ends the file."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="llama-usage-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that could not be written: the queue was full, or the disk."""
        return self._refused + self._failed

    def write(self, line: bytes) -> bool:
        """Hand over one line, without its end; return whether it was taken. Never waits."""
        if self._is_closed or self._lines.qsize() >= self._capacity:
            self._refused += 1
            return False
        self._lines.put(line)
        return True

    def close(self, seconds: float = 5.0) -> None:
        """Write what was handed over, and end. Lines that come later are lost, and counted."""
        self._is_closed = True
        self._closing.set()
        self._lines.put(None)
        self._thread.join(seconds)

    def _write_forever(self) -> None:
        ends = False
        while not ends:
            lines = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while len(lines) < _BATCH:
                    lines.append(self._lines.get_nowait())
            ends = None in lines
            self._write([line for line in lines if line is not None])
            if len(lines) < _BATCH:
                self._closing.wait(_PAUSE_SECONDS)
        if self._file is not None:
            self._file.close()

    def _write(self, lines: list[bytes]) -> None:
        try:
            while lines:
                self._append(lines)
        except OSError as error:
            self._failed += len(lines)
            if self._file is not None:
                self._file.close()
                self._file = None
            _LOGGER.warning("The usage log in %s cannot be written: %s", self._folder, error)
        if self.lost > self._told:
            self._told = self.lost
            _LOGGER.error("%d lines of the usage log are lost so far", self._told)

    def _append(self, lines: list[bytes]) -> None:
        """Write those at the beginning of `lines` for which the file has room, and take out of `lines` what was written.

        Raises:
            OSError: If the disk takes nothing more; the end of a line may be missing then.
        """
        file, size = self._open()
        count, room = 0, self._file_bytes - size
        while count < len(lines) and room > 0:
            room -= len(lines[count]) + 1
            count += 1
        ends = b"\n" if self._is_torn else b""
        some = ends + b"".join(line + b"\n" for line in lines[:count])
        done = 0
        try:
            while done < len(some):
                done += file.write(some[done:])
        finally:
            if done:
                self._is_torn = not some[:done].endswith(b"\n")
                del lines[: some[:done].count(b"\n") - len(ends)]
        # A disk that is full takes new files, and no lines: older ones go only for one that has some.
        if size == 0 and self._number > self._files:
            self._path(self._number - self._files).unlink(missing_ok=True)

    def _open(self) -> tuple[FileIO, int]:
        """The file for the next line, and its size. After an error it is the same one, opened anew."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Without a buffer: what the disk did not take would stay in it, and be written later or never.
            self._file = self._path(self._number).open("ab", buffering=0)
        size = os.fstat(self._file.fileno()).st_size
        if size < self._file_bytes:
            return self._file, size
        self._file.close()
        self._file, self._is_torn = None, False
        self._number += 1
        return self._open()

    def _path(self, number: int) -> Path:
        return self._folder / USAGE_FILES.replace("*", f"{self._writer}-{number:06d}")
