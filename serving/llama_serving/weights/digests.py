"""Checksums of files on disk: the kinds that sources tell. Called by `weights.fetching`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_CHUNK: Final = 8 * 1024**2

Kind = Literal["sha256", "git-sha1", "md5"]


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file has to hash to. `git-sha1` is the name that Git gives to the content."""

    kind: Kind
    value: str


def of_file(path: Path, kind: Kind, told: Callable[[int], None]) -> tuple[str, str]:
    """Read a file once.

    Args:
        path: The file.
        kind: Kind of the second checksum.
        told: Called with the bytes of each piece that was read.

    Returns:
        Its SHA-256, and its checksum of that kind.
    """
    own = hashlib.sha256()
    other = _started(kind, path.stat().st_size)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            own.update(piece)
            if other is not None:
                other.update(piece)
            told(len(piece))
    return own.hexdigest(), own.hexdigest() if other is None else other.hexdigest()


def _started(kind: Kind, size: int) -> "hashlib._Hash | None":
    # Against damage, not against an attacker: who could forge a Git name could as well forge the list that has it.
    if kind == "git-sha1":
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return hashlib.md5(usedforsecurity=False) if kind == "md5" else None
