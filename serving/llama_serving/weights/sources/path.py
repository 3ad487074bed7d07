"""Folders of a volume that somebody filled, mounted in the Job's pod. Called by `weights.sources`.

Nobody tells their checksums, so a file is hashed as it is read, and the copy once more as it is on the claim.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from llama_serving.contract.weights import SOURCE_FOLDER, CopyOutcome, PathSource
from llama_serving.weights.digests import Checksum
from llama_serving.weights.errors import CopyError
from llama_serving.weights.sources.base import Entry

_CHUNK: Final = 8 * 1024**2
_MOST_FILES: Final = 10_000


class Folder:
    """A folder with a model."""

    commit: str | None = None
    falls_back = False

    def __init__(self, source: PathSource, mounted: Path = Path(SOURCE_FOLDER)) -> None:
        self._folder, self._mounted = Path(source.path), mounted
        self.name = source.path

    def entries(self) -> list[Entry]:
        """List the files at the top and one folder below, as far as they do not lead out of the volume."""
        if not self._folder.is_dir():
            raise CopyError(CopyOutcome.NOT_FOUND, f"the volume has no folder {self._folder}")
        found: list[Entry] = []
        for path in [*self._folder.glob("*"), *self._folder.glob("*/*")]:
            if (size := self._size(path)) is not None:
                found.append(Entry(path.relative_to(self._folder).as_posix(), size))
            if len(found) > _MOST_FILES:
                raise CopyError(
                    CopyOutcome.FAILED, f"{self._folder} has more than {_MOST_FILES} files: it is no model's folder"
                )
        return found

    def fetch(self, entry: Entry, folder: Path) -> tuple[Path, Checksum]:
        """Copy a file, and hash what was read."""
        target = folder / Path(entry.path).name
        digest = hashlib.sha256()
        # Without blocking: opening a pipe would wait for a writer.
        with (
            os.fdopen(os.open(self._folder / entry.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as source,
            target.open("wb") as copy,
        ):
            while piece := source.read(_CHUNK):
                digest.update(piece)
                copy.write(piece)
        return target, Checksum("sha256", digest.hexdigest())

    def explain(self, error: Exception, file: str | None) -> CopyError:
        """Say what an error of reading means."""
        if isinstance(error, PermissionError):
            words = f"user {os.geteuid()} may not read it: {error.strerror}"
            return CopyError(CopyOutcome.ACCESS_DENIED, words, file)
        if isinstance(error, FileNotFoundError):
            return CopyError(CopyOutcome.NOT_FOUND, f"{self.name}: it went away while it was copied", file)
        return CopyError(CopyOutcome.FAILED, f"{self.name}: {type(error).__name__}: {error}", file)

    def _size(self, path: Path) -> int | None:
        """Bytes of a regular file; None for what is none, or leads out of the volume by a link."""
        try:
            real = path.resolve(strict=True)
            found = real.stat()
        except (OSError, RuntimeError):
            return None
        is_inside = real.is_relative_to(self._mounted.resolve()) or real.is_relative_to(self._folder.resolve())
        return found.st_size if stat.S_ISREG(found.st_mode) and is_inside else None
