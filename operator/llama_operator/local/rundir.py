"""The folders of one local run, and what makes them disappear: the run's end, or the next run's start.

Called by `runtime`. A run owns a folder in the user's cache (owner, token, logs, lock) and a short-named temporary
folder for Ray (Unix socket paths may have 107 bytes). The kernel drops the file lock when its owner dies, however it
dies, so if the lock can be taken, only we can clean this up.
"""

import contextlib
import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import platformdirs
import psutil
from filelock import FileLock, Timeout

from llama_operator.local import processes
from llama_operator.local.errors import LocalRunError

_OWNER = "owner.json"
_LOCK = "lock"
_LONGEST_TEMP_ROOT = 12
"""Of the 97 bytes that HAProxy allows the path of a socket, our folder, Ray's with the id of its node, and the name take 85."""
_KEPT_LOGS = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """Which process runs it: another one may have the same `pid` since."""

    run_id: str
    pid: int
    create_time: float
    """Seconds since the epoch, as the kernel reports it for `pid`."""
    temp_dir: str


def default_root() -> Path:
    """Folder of all local runs of this user."""
    return platformdirs.user_cache_path("llama-operator") / "local"


class RunDirectory:
    """The folders of one live run; made by `create`, removed by `close`."""

    def __init__(self, root: Path, owner: Owner, lock: FileLock) -> None:
        self.root = root
        self.run_id = owner.run_id
        self.path = _runs(root) / owner.run_id
        self.temp_dir = Path(owner.temp_dir)
        self.token_file = self.path / "token"
        self.logs = self.path / "logs"
        self._lock = lock

    @classmethod
    def create(cls, root: Path) -> Self:
        """Make the folders of a new run, readable by this user only, and take its lock.

        Raises:
            LocalRunError: No writable folder with a path short enough for Ray's sockets, or `root` is not for this user.
        """
        # Under the global lock no sweep can see a folder whose own lock is not taken yet.
        with _held(root):
            run_id = secrets.token_hex(4)
            path = _runs(root) / run_id
            path.mkdir(mode=0o700)
            lock = FileLock(path / _LOCK, blocking=False, thread_local=False)
            lock.acquire()
            owner = Owner(
                run_id=run_id,
                pid=os.getpid(),
                create_time=psutil.Process().create_time(),
                temp_dir=str(_temp_root() / f"lld-{run_id}"),
            )
            (path / _OWNER).write_text(json.dumps(asdict(owner)), encoding="utf-8")
            Path(owner.temp_dir).mkdir(mode=0o700)
        run = cls(root, owner, lock)
        run.logs.mkdir()
        run.token_file.touch(mode=0o600)
        run.token_file.write_text(secrets.token_hex(32), encoding="ascii")
        return run

    @property
    def token(self) -> str:
        """The bearer token of this run's Ray clusters."""
        return self.token_file.read_text(encoding="ascii")

    def new_temp_dir(self) -> Path:
        """Make a folder for one Ray node, with a name as short as can be; the caller removes it."""
        for number in itertools.count():
            with contextlib.suppress(FileExistsError):
                folder = self.temp_dir / str(number)
                folder.mkdir(mode=0o700)
                return folder
        raise AssertionError("numbers do not end")

    @property
    def ports(self) -> Path:
        """Folder of port locks, shared by all runs of this user."""
        return self.root / "ports"

    def keep_logs(self, cluster: str, ray_logs: Path) -> Path:
        """Copy the logs of a cluster to a place that outlives the run; return it. Only the newest five are kept."""
        kept = self.root / "logs"
        target = kept / f"{self.run_id}-{cluster}"
        if ray_logs.is_dir():
            shutil.copytree(ray_logs, target, symlinks=True, dirs_exist_ok=True, ignore=_ignore_specials)
        target.mkdir(parents=True, exist_ok=True)
        for file in self.logs.glob(f"{cluster}*.log"):
            shutil.copy2(file, target)
        for old in sorted(kept.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)[_KEPT_LOGS:]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def close(self) -> None:
        """Remove the folders and drop the lock; every process of the run must have ended. Idempotent."""
        shutil.rmtree(self.temp_dir, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def sweep(root: Path) -> list[str]:
    """End the processes and remove the folders of runs whose owner died; live runs stay untouched.

    Blocks for at most 5 seconds per dead run.

    Returns:
        Ids of the runs that were cleaned up.

    Raises:
        LocalRunError: If `root` is not for this user.
    """
    swept = []
    with _held(root):
        # What is no folder is no run: desktops and backups leave files everywhere.
        for path in sorted(path for path in _runs(root).iterdir() if path.is_dir() and not path.is_symlink()):
            lock = FileLock(path / _LOCK, blocking=False, thread_local=False)
            try:
                lock.acquire()
            except (Timeout, OSError):
                # It lives, or it is another user's (root, in the same home): then neither its processes nor its folders are ours to end.
                continue
            try:
                _clean(path)
            finally:
                lock.release()
            swept.append(path.name)
    return swept


@contextlib.contextmanager
def _held(root: Path) -> Iterator[None]:
    """Keep other runs of this user from making and removing folders; make the folder of all runs first."""
    try:
        _runs(root).mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(root / _LOCK, thread_local=False)
        lock.acquire()
    except OSError as error:
        raise LocalRunError(
            f"local runs keep their folders in {root}, and that cannot be written ({error.strerror}: {error.filename}): give it to this "
            "user, or remove it if a run of another user has left it; or set XDG_CACHE_HOME to a folder of this user"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _clean(path: Path) -> None:
    processes.kill(processes.marker(path.name))
    # An unreadable file means that its owner died before it made the temporary folder.
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        owner = Owner(**json.loads((path / _OWNER).read_text(encoding="utf-8")))
        if Path(owner.temp_dir).name == f"lld-{path.name}":
            shutil.rmtree(owner.temp_dir, ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def _runs(root: Path) -> Path:
    return root / "runs"


def _temp_root() -> Path:
    for candidate in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108  the folder made in it has mode 0700
        if len(os.fsencode(candidate)) <= _LONGEST_TEMP_ROOT and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    raise LocalRunError(
        f"Ray needs a writable folder with a path of at most {_LONGEST_TEMP_ROOT} bytes for its sockets, and neither "
        f"{tempfile.gettempdir()} nor /tmp is one; set TMPDIR to such a folder"
    )


def _ignore_specials(folder: str, names: list[str]) -> set[str]:
    """Sockets and pipes cannot be copied."""
    return {name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()}
