"""The keys that are valid now, from a folder with one file for each. `door.application` asks, `door.installed` starts it.

Kubernetes mounts a ConfigMap or a Secret as such a folder. It writes all files into a new folder and swaps the link
`..data` to it, so what is read there belongs together. A plain folder works as well.

To take a key away must always work, so doubts go against a key: it is valid only while its file is there and can be read. Only if
the folder as a whole cannot be read, the keys of before stay for `GRACE_SECONDS`, and after that all requests that need a key
are answered with 503.
"""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from llama_serving.contract.keys import MOST_ENTRY_BYTES, ApiKey, KeyEntry, is_key_id, is_key_of
from llama_serving.door.caller import Caller
from llama_serving.door.credentials import NoKey

LOOK_SECONDS: Final = 1.0
"""Time between two looks at the folder."""

GRACE_SECONDS: Final = 300.0
"""How long keys stay valid while their folder cannot be read: as long as a node's disk may hang, not as long as a leak may last."""

_LOGGER = logging.getLogger("ray.serve")
_SWAPPED = "..data"
_TRIES = 3
_NO_SUCH_ENTRY: Final = KeyEntry(tenant="nobody", sha256="0" * 64)


class _HasChanged(Exception):  # noqa: N818 - not an error: the reader begins again
    """The folder was swapped while it was read."""


@dataclass(slots=True)
class KeyFolder:
    """Reads the folder; remembers what it has read, so that a look at an unchanged folder costs two system calls.

    Attributes:
        path: The folder.
    """

    path: Path
    _swap: tuple[str, int] | None = None
    _entries: dict[str, KeyEntry] = field(default_factory=dict)
    _texts: dict[str, tuple[bytes, KeyEntry]] = field(default_factory=dict)
    _complaints: set[tuple[str, str]] = field(default_factory=set)

    def read(self) -> Mapping[str, KeyEntry]:
        """Return the entries of all keys, by id.

        Raises:
            OSError: If the folder cannot be listed.
        """
        for _ in range(_TRIES):
            swap = self._swapped_to()
            if swap is not None and swap == self._swap:
                return self._entries
            try:
                self._entries = self._read_all(swap)
            except _HasChanged:
                continue
            self._swap = swap
            return self._entries
        raise OSError(f"{self.path} changes faster than it can be read")

    def _swapped_to(self) -> tuple[str, int] | None:
        """What `..data` leads to now; None in a plain folder, which has no cheap sign of change."""
        link = self.path / _SWAPPED
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            return None
        return target, link.stat().st_ino

    def _read_all(self, swap: tuple[str, int] | None) -> dict[str, KeyEntry]:
        entries: dict[str, KeyEntry] = {}
        complaints: set[tuple[str, str]] = set()
        with _opened(self.path if swap is None else self.path / _SWAPPED) as folder:
            for name in os.listdir(folder):  # noqa: PTH208 - of a descriptor, which a path cannot be
                if name.startswith("."):
                    continue
                found = self._entry(name, folder)
                if isinstance(found, KeyEntry):
                    entries[name] = found
                else:
                    complaints.add((name, found))
        # Kubernetes removes the old files after a swap: those that were not there any more may be in the new folder.
        if swap != self._swapped_to():
            raise _HasChanged
        for name, problem in sorted(complaints - self._complaints):
            _LOGGER.error("The key %s is refused: %s", name[:64].encode("unicode_escape").decode(), problem)
        self._complaints = complaints
        self._texts = {name: kept for name, kept in self._texts.items() if name in entries}
        return entries

    def _entry(self, name: str, folder: int) -> KeyEntry | str:
        """The entry in the file `name`, or what is wrong with it, without the words of the file."""
        if not is_key_id(name):
            return "the name of its file is not the id of a key (16 characters of a-z and 2-7)"
        try:
            text = _text(name, folder)
        except OSError as error:
            return f"its file cannot be read: {error.strerror}"
        if text is None:
            return f"its file is no plain file of at most {MOST_ENTRY_BYTES} bytes"
        kept = self._texts.get(name)
        if kept is not None and kept[0] == text:
            return kept[1]
        try:
            entry = KeyEntry.model_validate_json(text)
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, one["loc"])) or "the whole" for one in error.errors()}))
            return f"its file is no entry of a key; wrong is {fields}"
        self._texts[name] = (text, entry)
        return entry


class Keys:
    """The table of keys. A thread looks at the folder, so that no request waits for a disk.

    Args:
        folder: Where the keys are.
        clock: Seconds that only go on.
        now: Time with its zone, for the end of keys.
    """

    def __init__(
        self,
        folder: KeyFolder,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._now = now
        self._entries: Mapping[str, KeyEntry] = {}
        self._read_at: float | None = None
        self._fails = False
        self._stopped = threading.Event()
        self.look()

    def start(self) -> None:
        """Look at the folder once in `LOOK_SECONDS`, until `stop`."""
        threading.Thread(target=self._look_on, name="llama-keys", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> None:
        """Read the folder if it has changed. Never raises: a look that fails leaves the table as it is."""
        try:
            self._entries = self._folder.read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must go on
            if not self._fails:
                _LOGGER.error(  # noqa: TRY400 - the words are enough, a trace is not for platform engineers
                    "The keys in %s cannot be read: %s. The keys of before stay valid for %d s, then all are refused",
                    self._folder.path,
                    error,
                    GRACE_SECONDS,
                )
            self._fails = True
            return
        self._read_at = self._clock()
        self._fails = False

    @property
    def are_known(self) -> bool:
        """Whether the table is fresh enough to judge by."""
        return self._read_at is not None and self._clock() - self._read_at <= GRACE_SECONDS

    def caller_with(self, key: ApiKey) -> Caller | NoKey:
        """Return who has `key`, or why it is not valid. A key that nobody knows takes as long as one with a wrong secret."""
        entry = self._entries.get(key.id)
        is_right = is_key_of(key, entry or _NO_SUCH_ENTRY)
        if entry is None:
            return NoKey.UNKNOWN
        if not is_right:
            return NoKey.WRONG
        if entry.expires is not None and entry.expires <= self._now():
            return NoKey.EXPIRED
        return Caller(tenant=entry.tenant, key_id=key.id, models=entry.models)

    def _look_on(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.look()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The folder as a descriptor: what is read through it is of one folder, also while links are swapped."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _text(name: str, folder: int) -> bytes | None:
    """The bytes of a file; None if it is no plain file, or too long."""
    # Without waiting: to open a pipe could take for ever.
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = file.read(MOST_ENTRY_BYTES + 1)
    return text if len(text) <= MOST_ENTRY_BYTES else None
