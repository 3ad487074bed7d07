"""The claim: where a copy is, when it is complete, and how it comes to be and goes. Called by `weights.copying` and `weights.erasing`.

```
/weights/<id>/              a copy: files, manifest.json, .complete (written last)
/weights/.<id>.partial/     a copy in the making: only verified files ...
/weights/.<id>.partial/.work/   ... and, here, what is not verified yet
/weights/.<id>.lock         empty; held by the process that works on the copy
```

Nothing else of the root is looked at: file systems have folders of their own there (`lost+found`), and other copies too.
Every file gets its name by a rename after its digest was compared, so two processes cannot tear a file even where the file
system ignores locks.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llama_serving.contents import copies
from llama_serving.contract.weights import MANIFEST, MARKER, CopiedFile, CopyOutcome, Manifest
from llama_serving.weights.errors import CopyError, of_disk

LEDGER: Final = "verified.jsonl"
_FOLDER_MODE: Final = 0o775
_FILE_MODE: Final = 0o664
_SLACK_BYTES: Final = 16 * 1024**2
"""Room for the manifest and for what a file system keeps for itself."""
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Claim:
    """The places of one copy in a claim."""

    root: Path
    id: str

    @property
    def copy(self) -> Path:
        """The copy."""
        return self.root / self.id

    @property
    def partial(self) -> Path:
        """A copy in the making."""
        return self.root / f".{self.id}.partial"

    @property
    def work(self) -> Path:
        """What is not verified yet."""
        return self.partial / ".work"

    @property
    def incoming(self) -> Path:
        """Files that are being written."""
        return self.work / "incoming"

    @property
    def ledger(self) -> Path:
        """One line of JSON for each verified file of `partial`: a `CopiedFile`."""
        return self.partial / ".ledger" / LEDGER

    @property
    def lock(self) -> Path:
        """The lock."""
        return self.root / f".{self.id}.lock"


@contextlib.contextmanager
def locked(claim: Claim, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold the copy, and give the lock's file descriptor. Blocks while another process has it.

    Args:
        claim: The copy.
        waiting: Called once before a wait.

    Raises:
        CopyError: If the claim cannot be written.
    """
    file = _taken(claim, waiting)
    try:
        yield file
    finally:
        os.close(file)


def _taken(claim: Claim, waiting: Callable[[], None]) -> int:
    while True:
        file = _opened(claim)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(file)
                raise
        # Whoever erases a copy removes its lock: a lock on a removed file keeps nobody out.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file), claim.lock.stat()):
                return file
        os.close(file)


def _opened(claim: Claim) -> int:
    try:
        return os.open(claim.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise CopyError(CopyOutcome.NOT_WRITABLE, f"there is no claim at {claim.root}") from error
        known = of_disk(error, claim.root)
        if known is None or known.outcome is not CopyOutcome.NOT_WRITABLE:
            raise
        raise CopyError(CopyOutcome.NOT_WRITABLE, _not_writable(claim, error)) from error


def _not_writable(claim: Claim, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "the claim is mounted read-only, or its volume is"
    root = claim.root.stat()
    return (
        f"the root of the claim belongs to user {root.st_uid} and group {root.st_gid} with mode {root.st_mode & 0o7777:o}, and this "
        f"pod is user {os.geteuid()} with groups {sorted({os.getegid(), *os.getgroups()})}. Its driver did not set the "
        "group (fsGroupPolicy None, as with many NFS and CephFS volumes): have the volume's root given to that group"
    )


def complete(claim: Claim) -> tuple[Manifest, str] | None:
    """The manifest of a complete copy and its digest, by marker and sizes; None if there is none. No file is read through."""
    try:
        manifest, digest = copies.manifest_of(claim.copy)
    except copies.NoCopyError:
        return None
    return (manifest, digest) if manifest.id == claim.id else None


def reopen(claim: Claim) -> bool:
    """Make `partial` ready to go on with; returns whether a folder without its marker, or a damaged copy, became it.

    Its files are hashed again then, and fetched again only where they are damaged.
    """
    is_damaged = claim.copy.is_symlink() or claim.copy.exists()
    if is_damaged:
        # First: nobody may take it for complete from here on.
        _removed(claim.copy / MARKER)
        _removed(claim.partial)
        claim.copy.rename(claim.partial)
        _removed(claim.partial / MANIFEST)
        _removed(claim.ledger.parent)
    _removed(claim.work)
    for folder in (claim.partial, claim.incoming, claim.ledger.parent):
        make_folder(folder)
    return is_damaged


def verified(claim: Claim) -> dict[str, CopiedFile]:
    """Files of `partial` that were verified before, by path. A line that a crash tore is left out."""
    held: dict[str, CopiedFile] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in claim.ledger.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                file = CopiedFile.model_validate_json(line)
                held[file.path] = file
    return {path: file for path, file in held.items() if _size(claim.partial / path) == file.size}


def accept(claim: Claim, file: CopiedFile, at: Path) -> None:
    """Give a verified file its name in `partial`, and note it."""
    target = claim.partial / file.path
    make_folder(target.parent)
    synced(at)
    _allow(at, _FILE_MODE)
    at.replace(target)
    note(claim, file)


def note(claim: Claim, file: CopiedFile) -> None:
    """Note a verified file of `partial`."""
    with claim.ledger.open("ab") as ledger:
        # A line before it may have been torn by a crash.
        ledger.write(b"\n" + file.model_dump_json().encode() + b"\n")
        ledger.flush()
        os.fsync(ledger.fileno())


def publish(claim: Claim, manifest: Manifest) -> str:
    """Make a copy of `partial`, whose files are all verified; returns the digest of its manifest."""
    content = manifest.model_dump_json(indent=1).encode() + b"\n"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _drop_others(claim, {file.path for file in manifest.files})
    _written(claim.partial / MANIFEST, content)
    synced(claim.partial)
    claim.partial.rename(claim.copy)
    synced(claim.root)
    # Last: a rename of a folder is not atomic on every file system.
    _written(claim.copy / MARKER, json.dumps({"manifest": digest}).encode())
    synced(claim.copy)
    return digest


def erase(claim: Claim) -> tuple[int, int]:
    """Remove the copy, whole or in the making, and its lock; returns files and bytes that went.

    Raises:
        CopyError: If something of it cannot be removed.
    """
    _removed(claim.copy / MARKER)
    files = size = 0
    for folder in (claim.copy, claim.partial):
        for path in folder.rglob("*") if not folder.is_symlink() else ():
            if path.is_file() and not path.is_symlink():
                files, size = files + 1, size + path.stat().st_size
        try:
            _removed(folder)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EBUSY}:
                words = f"a pod still has files of it open: {error.strerror}"
                raise CopyError(CopyOutcome.FAILED, words, str(error.filename or "")[:256]) from error
            raise
    synced(claim.root)
    _removed(claim.lock)
    return files, size


def check_room(claim: Claim, wanted: int, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> None:
    """Refuse to begin what cannot end.

    Args:
        claim: The claim.
        wanted: Bytes that are to be written.
        statvfs: Tells the room of a file system.

    Raises:
        CopyError: If the claim has less room. A file system that tells no size (some FUSE ones) is taken to have enough.
    """
    room = statvfs(claim.root)
    free, size = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    if size and wanted and free < wanted + _SLACK_BYTES:
        short = wanted + _SLACK_BYTES - free
        raise CopyError(
            CopyOutcome.NO_SPACE,
            f"{gigabytes(wanted)} are still to be copied, and {gigabytes(free)} of {gigabytes(size)} are free in the claim: "
            f"it needs {gigabytes(short)} more. Enlarge the claim, or remove what else is in it",
        )


def gigabytes(size: float) -> str:
    """A size in GB of 10^9 bytes, or in smaller units, for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"


def make_folder(folder: Path) -> None:
    """Make a folder that the volume's group may write."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _allow(folder, _FOLDER_MODE)


def synced(path: Path) -> None:
    """Have the file system write what it holds back; some report a full volume only here."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        # Folders of some network file systems cannot be synced.
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF}:
            raise
    finally:
        os.close(file)


def _drop_others(claim: Claim, wanted: set[str]) -> None:
    """Remove what is not of the copy, from an attempt with other files."""
    _removed(claim.work)
    _removed(claim.ledger.parent)
    for path in sorted(claim.partial.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()
        elif path.relative_to(claim.partial).as_posix() not in wanted:
            path.unlink()


def _written(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _allow(temporary, _FILE_MODE)
    temporary.replace(path)


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


def _allow(path: Path, mode: int) -> None:
    # Added to what is there: the bit of the volume's root that passes its group on stays. Some file systems have no modes.
    with contextlib.suppress(OSError):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | mode)
