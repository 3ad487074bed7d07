"""Writes the usage log: lines of JSON, in files of limited size, from a thread of its own. `desk` hands it the lines.

A request never waits for a disk. The queue to the thread has an end; what does not fit is counted and said in the log.
"""

import contextlib
import logging
import queue
import threading
from pathlib import Path
from typing import IO, Final

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
        self._lost = 0
        self._told = 0
        self._number = 0
        self._file: IO[bytes] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="llama-usage-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that could not be written: the queue was full, or the disk."""
        return self._lost

    def write(self, line: bytes) -> bool:
        """Hand over one line, without its end; return whether it was taken. Never waits."""
        if self._is_closed or self._lines.qsize() >= self._capacity:
            self._lost += 1
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
        written = 0
        try:
            for line in lines:
                file = self._open()
                file.write(line + b"\n")
                written += 1
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            self._lost += len(lines) - written
            self._file = None
            _LOGGER.warning("The usage log in %s cannot be written: %s", self._folder, error)
        if self._lost > self._told:
            _LOGGER.error("%d lines of the usage log are lost so far", self._lost)
            self._told = self._lost

    def _open(self) -> IO[bytes]:
        if self._file is not None and self._file.tell() < self._file_bytes:
            return self._file
        if self._file is not None:
            self._file.close()
            self._file = None
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        self._file = self._path(self._number).open("ab")
        if self._number > self._files:
            self._path(self._number - self._files).unlink(missing_ok=True)
        return self._file

    def _path(self, number: int) -> Path:
        return self._folder / USAGE_FILES.replace("*", f"{self._writer}-{number:06d}")
