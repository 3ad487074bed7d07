"""Reads lines of the usage log from files, folders and standard input. Called by `cli.usage.command`.

Lines of other logs may stand between them, and a prefix before each, as `kubectl logs --prefix` writes it: a line of the usage
log is known by its type. What cannot be read is counted, never silently lost.
"""

import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import ValidationError

from llama_operator.errors import InvalidManifestError
from llama_serving.contract.usage import USAGE_FILES, USAGE_TYPE, UsageEvent

_LONGEST: Final = 64 * 1024
"""Bytes of a line of the usage log; it has a few hundred."""
_MARK: Final = USAGE_TYPE.encode()
_START: Final = b'{"specversion"'
"""With this a replica begins each line."""
_GZIP: Final = b"\x1f\x8b"
_UTF_16: Final = frozenset((b"\xff\xfe", b"\xfe\xff"))
_ID_BYTES: Final = 16
_MOST_TOLD: Final = 5


@dataclass(slots=True)
class LineCounts:
    """What became of the lines."""

    lines: int = 0
    """All but empty ones."""
    others: int = 0
    """Lines that are none of the usage log."""
    unreadable: int = 0
    """Lines of the usage log that cannot be read: cut off, of a later version, or changed."""
    duplicates: int = 0
    """Lines that were read before: each request counts once."""
    where: list[str] = field(default_factory=list)
    """File and line of the first unreadable ones."""


def events(paths: Sequence[str], counts: LineCounts) -> Iterator[UsageEvent]:
    """Yield each event once, in the order of the files.

    Args:
        paths: Files, folders with files of the usage log, `-` for standard input.
        counts: Filled in on the way.

    Raises:
        InvalidManifestError: If a file cannot be read, or a folder has no file of the usage log.
    """
    seen: set[bytes] = set()
    for path, line, number in _all_lines(paths):
        if not (text := line.strip()):
            continue
        counts.lines += 1
        if _MARK not in text:
            counts.others += 1
            continue
        for part in _parts(text):
            if (event := _event(part)) is None:
                counts.unreadable += 1
                if len(counts.where) < _MOST_TOLD:
                    counts.where.append(f"{path}:{number}")
                continue
            identity = hashlib.blake2b(f"{event.source}\0{event.id}".encode(), digest_size=_ID_BYTES).digest()
            if identity in seen:
                counts.duplicates += 1
                continue
            seen.add(identity)
            yield event


def _parts(line: bytes) -> Sequence[bytes]:
    """The events in a line. There are several where a writer was killed within a line, and `cat` put the next file behind it."""
    before, *parts = line.split(_START)
    if not parts:
        # Somebody on the way has sorted the fields.
        return (before[before.find(b"{") :],)
    return (*([before] if _MARK in before else []), *(_START + part for part in parts))


def _event(text: bytes) -> UsageEvent | None:
    try:
        return UsageEvent.model_validate_json(text)
    except ValidationError:
        return None


def _all_lines(paths: Sequence[str]) -> Iterator[tuple[str, bytes, int]]:
    for path in paths:
        if path == "-":
            yield from _of_file("standard input", sys.stdin.buffer)
            continue
        for file in _files(Path(path)):
            try:
                opened = file.open("rb")
            except OSError as error:
                raise InvalidManifestError.of(str(file), "(file)", f"cannot be read: {error.strerror}") from error
            with opened:
                yield from _of_file(str(file), opened)


def _of_file(name: str, file: BinaryIO) -> Iterator[tuple[str, bytes, int]]:
    """Lines of a file with their numbers; a log that was rotated may be packed."""
    begins = file.peek(2)[:2] if isinstance(file, BufferedReader) else b""
    if begins in _UTF_16:
        raise InvalidManifestError.of(
            name, "(file)", "is UTF-16", "write it in UTF-8; PowerShell does by: ... | Out-File -Encoding utf8 FILE"
        )
    try:
        lines = _lines(gzip.GzipFile(fileobj=file) if begins == _GZIP else file)
        yield from ((name, line, number) for number, line in enumerate(lines, start=1))
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidManifestError.of(name, "(file)", f"cannot be read: {why}") from error


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return (path,)
    # Below it too: each pod has the same names of files, so they are copied into folders.
    found = sorted(file for name in (USAGE_FILES, f"{USAGE_FILES}.gz") for file in path.rglob(name) if file.is_file())
    if not found:
        raise InvalidManifestError.of(str(path), "(folder)", f"has no file {USAGE_FILES}", "name the files themselves")
    return found


def _lines(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Lines; of one that is longer than any of the usage log only the beginning, so that memory stays small."""
    while line := file.readline(_LONGEST):
        rest = line
        while len(rest) == _LONGEST and not rest.endswith(b"\n"):
            rest = file.readline(_LONGEST)
        yield line
