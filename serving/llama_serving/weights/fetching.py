"""The process that fetches and verifies: started by `weights.copying`, which kills it when a library hangs.

It says what it did on its standard output (`weights.events`). A file gets its name in the copy only after its digest was
compared, so whoever kills this process leaves nothing behind that must be doubted.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from llama_serving.contents import headers
from llama_serving.contents.weights import INDEX, faults, placed
from llama_serving.contract.contents import DeclaredContents
from llama_serving.contract.hub import CHECKPOINT_FILE
from llama_serving.contract.weights import CopiedFile, CopyOutcome, CopyRequest
from llama_serving.licenses.text import text_hash
from llama_serving.weights import choosing, claim, digests
from llama_serving.weights.claim import Claim
from llama_serving.weights.digests import Checksum
from llama_serving.weights.errors import CopyError, of_disk
from llama_serving.weights.events import Event
from llama_serving.weights.settings import CopySettings
from llama_serving.weights.sources import source_of
from llama_serving.weights.sources.base import Entry, Source

_AGAIN: Final = frozenset({CopyOutcome.UNREACHABLE, CopyOutcome.STALLED, CopyOutcome.MISMATCH, CopyOutcome.FAILED})
"""What another try of one file may change."""
_MOST_LICENSE_BYTES: Final = 1024**2


class _Voice:
    """Says events on standard output, from any thread."""

    def __init__(self) -> None:
        self._lock, self._read = threading.Lock(), 0

    def say(self, event: Event) -> None:
        with self._lock:
            sys.stdout.write(event.model_dump_json(exclude_defaults=True) + "\n")
            sys.stdout.flush()

    def read(self, size: int) -> None:
        with self._lock:
            self._read += size
            total = self._read
        self.say(Event(kind="Read", bytes=total))


def run(request: CopyRequest, root: Path, token: str, settings: CopySettings) -> None:
    """Fetch what is missing in `root` of a copy, and say how it ended. Never raises."""
    voice = _Voice()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    source: Source | None = None
    try:
        source = source_of(request, token)
        fetching = Fetching(request, Claim(root, request.id), source, settings, voice)
        files = fetching.all()
        end = Event(kind="Ended", outcome=CopyOutcome.VERIFIED, source=source.name, commit=source.commit, copied=files)
    except CopyError as error:
        end = _ended(error, source)
    except Exception as error:  # noqa: BLE001 - libraries of several sources raise errors without a base
        known = of_disk(error, root) if isinstance(error, OSError) else None
        if known is None and source is not None:
            known = source.explain(error, None)
        end = _ended(known or CopyError(CopyOutcome.FAILED, f"{type(error).__name__}: {error}"), source)
    voice.say(end)


def _ended(error: CopyError, source: Source | None) -> Event:
    falls_back = source is not None and source.falls_back
    return Event(kind="Ended", outcome=error.outcome, message=error.message, file=error.file, falls_back=falls_back)


def _die_with_parent() -> None:
    # Its standard input ends when the process ends that holds the other side.
    sys.stdin.buffer.read()
    os._exit(1)


class Fetching:
    """One run over all files of a copy."""

    def __init__(
        self, request: CopyRequest, place: Claim, source: Source, settings: CopySettings, voice: _Voice
    ) -> None:
        self._request, self._claim, self._source, self._settings, self._voice = request, place, source, settings, voice
        self._held = claim.verified(place)
        self._note = threading.Lock()
        self._stop = threading.Event()

    def all(self) -> tuple[CopiedFile, ...]:
        """Fetch and verify all files: small ones first, because they tell whether the large ones may come.

        Raises:
            CopyError: Why not.
        """
        entries = self._listed()
        small = choosing.beside(entries, self._request.files)
        self._plan(small)
        copied = self._fetched(small)
        self._check_small(copied)
        chosen = {entry.path for entry in small}
        large = [entry for entry in choosing.weights(entries, self._index(copied)) if entry.path not in chosen]
        self._plan([*small, *large])
        self._check_room(large)
        copied |= self._fetched(large)
        self._check_weights(copied)
        return tuple(copied[path] for path in sorted(copied))

    def _plan(self, entries: Sequence[Entry]) -> None:
        total = sum(entry.size for entry in entries)
        falls_back = self._source.falls_back
        self._voice.say(Event(kind="Planned", files=len(entries), bytes=total, falls_back=falls_back))

    def _check_room(self, entries: Iterable[Entry]) -> None:
        missing = [entry for entry in entries if entry.path not in self._held]
        there = (self._claim.partial / entry.path for entry in missing)
        claim.check_room(
            self._claim,
            sum(entry.size for entry, path in zip(missing, there, strict=True) if not path.is_file()),
        )

    def _fetched(self, entries: Sequence[Entry]) -> dict[str, CopiedFile]:
        # Large ones first: the last file is waited for by all others.
        ordered = sorted(entries, key=lambda entry: (-entry.size, entry.path))
        pool = ThreadPoolExecutor(max_workers=self._settings.workers)
        futures: list[Future[CopiedFile]] = [pool.submit(self._one, entry) for entry in ordered]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            if (error := future.exception()) is not None:
                # The others are not waited for: this process ends.
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise error
        pool.shutdown()
        return {file.path: file for file in (future.result() for future in futures)}

    def _one(self, entry: Entry) -> CopiedFile:
        held = self._held.get(entry.path)
        file = held if held is not None and held.size == entry.size else self._rehashed(entry)
        is_held = file is not None
        for pause in (*self._settings.pauses, None):
            if file is not None:
                break
            try:
                file = self._copied(entry)
            except CopyError as error:
                # Xet's client has tried for minutes: the second way is sooner.
                is_tried = self._source.falls_back and error.outcome is not CopyOutcome.MISMATCH
                if pause is None or is_tried or error.outcome not in _AGAIN or self._stop.wait(pause):
                    raise
                self._voice.say(Event(kind="Said", message=f"again: {error.file or entry.path}: {error.message}"))
        assert file is not None  # noqa: S101 - the last try raises or returns
        self._voice.say(Event(kind="Copied", path=entry.path, bytes=entry.size, held=is_held))
        return file

    def _rehashed(self, entry: Entry) -> CopiedFile | None:
        """A file that is there without a note, from before a crash: kept if its source tells a digest, and it has it."""
        path = self._claim.partial / entry.path
        if entry.checksum is None or path.is_symlink() or not path.is_file() or path.stat().st_size != entry.size:
            return None
        sha256, other = digests.of_file(path, entry.checksum.kind, self._voice.read)
        if other != entry.checksum.value:
            path.unlink()
            return None
        file = CopiedFile(path=entry.path, size=entry.size, sha256=sha256)
        with self._note:
            claim.note(self._claim, file)
        return file

    def _copied(self, entry: Entry) -> CopiedFile:
        # A folder of its own: the file systems of some stores have no names with slashes, and leftovers go in one piece.
        folder = self._claim.incoming / f"{threading.get_ident():x}-{time.monotonic_ns():x}"
        try:
            return self._verified(entry, folder)
        except CopyError:
            raise
        except Exception as error:
            known = of_disk(error, self._claim.root, entry.path) if isinstance(error, OSError) else None
            raise known or self._source.explain(error, entry.path) from error
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)

    def _verified(self, entry: Entry, folder: Path) -> CopiedFile:
        claim.make_folder(folder)
        path, wanted = self._source.fetch(entry, folder)
        size = path.stat().st_size
        if size != entry.size:
            raise CopyError(CopyOutcome.MISMATCH, f"it has {size} bytes, and its source lists {entry.size}", entry.path)
        sha256, other = digests.of_file(path, wanted.kind, self._voice.read)
        if other != wanted.value:
            raise CopyError(CopyOutcome.MISMATCH, _not_as_told(wanted, other), entry.path)
        file = CopiedFile(path=entry.path, size=size, sha256=sha256)
        with self._note:
            claim.accept(self._claim, file, path)
        return file

    def _check_small(self, copied: dict[str, CopiedFile]) -> None:
        for path, file in copied.items():
            if path.endswith(".json") and path != INDEX and file.size <= choosing.MOST_JSON_BYTES:
                choosing.check_code(path, (self._claim.partial / path).read_bytes())
        choosing.check_license(self._claim.partial, copied, self._request)
        if CHECKPOINT_FILE in copied:
            choosing.check_shape((self._claim.partial / CHECKPOINT_FILE).read_bytes(), self._request.contents)
        for path, digest in self._request.files.items():
            if digest not in {copied[path].sha256, _hash_of_words(self._claim.partial / path)}:
                words = f"it is another text than the license's: its SHA-256 is {copied[path].sha256}, asked for is {digest}"
                raise CopyError(CopyOutcome.MISMATCH, words, path)

    def _index(self, copied: dict[str, CopiedFile]) -> bytes | None:
        if INDEX not in copied:
            return None
        if copied[INDEX].size > choosing.MOST_JSON_BYTES:
            raise CopyError(CopyOutcome.MISMATCH, f"it has more than {choosing.MOST_JSON_BYTES} bytes", INDEX)
        return (self._claim.partial / INDEX).read_bytes()

    def _check_weights(self, copied: dict[str, CopiedFile]) -> None:
        """Refuse what no engine could load: shards that are missing, files that are cut, pointers of Git LFS."""
        if CHECKPOINT_FILE not in copied:
            return
        sizes = {path: file.size for path, file in copied.items() if "/" not in path}
        index = self._index(copied)
        parsed = None if index is None else choosing.parsed(index)
        nobody = DeclaredContents(declared_by="nobody")
        wrong = [*faults(sizes, parsed, nobody)]
        if not wrong:
            names = sorted(path for path in sizes if path.endswith(".safetensors"))
            wrong = [*headers.faults(self._claim.partial, names, nobody, placed(parsed))]
        if wrong:
            raise CopyError(CopyOutcome.MISMATCH, f"the source is no whole model: {'; '.join(wrong[:3])}")

    def _listed(self) -> list[Entry]:
        for pause in (*self._settings.pauses, None):
            try:
                return self._source.entries()
            except CopyError:
                raise
            except Exception as error:
                known = self._source.explain(error, None)
                if pause is None or known.outcome not in _AGAIN:
                    raise known from error
                self._voice.say(Event(kind="Said", message=f"again: {known.message}"))
                self._stop.wait(pause)
        raise AssertionError  # the last try returns or raises


def _not_as_told(wanted: Checksum, was: str) -> str:
    return f"its {wanted.kind} is {was}, and its source tells {wanted.value}"


def _hash_of_words(path: Path) -> str:
    """What licenses are known by: the same words have the same hash with any quotes and line ends."""
    if path.stat().st_size > _MOST_LICENSE_BYTES:
        return ""
    return text_hash(path.read_text(encoding="utf-8", errors="replace"))
