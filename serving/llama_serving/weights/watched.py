"""Starts the process that fetches, hears what it says, and kills it when nothing moves. Called by `weights.copying`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from llama_serving.contract.hub import TOKEN_VARIABLE
from llama_serving.contract.weights import MODULE, REQUEST_VARIABLE, CopyOutcome, CopyRequest, HubSource
from llama_serving.weights.claim import Claim, gigabytes
from llama_serving.weights.errors import without_secrets
from llama_serving.weights.events import Event
from llama_serving.weights.settings import CopySettings
from llama_serving.weights.watching import Progress, Stall

FETCH: Final = "fetch"
"""The word that makes a process of this program the one that fetches."""
_XET_BUFFERS: Final = {
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE": 512 * 1024**2,
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_PERFILE_SIZE": 128 * 1024**2,
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT": 1536 * 1024**2,
    "HF_XET_RECONSTRUCTION_MIN_PREFETCH_BUFFER": 256 * 1024**2,
}
"""Bytes. Xet's own bounds follow from the memory of the node, of which a pod has a small part: a limit of 4 GiB would kill it."""
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class Watched:
    """One process that fetches, from its start to its end."""

    def __init__(
        self, request: CopyRequest, place: Claim, token: str, settings: CopySettings, say: Callable[[str], None]
    ) -> None:
        self._request, self._claim, self._token, self._settings, self._say = request, place, token, settings, say
        self._progress = Progress(started=time.monotonic())
        self._read = 0
        self._end: Event | None = None
        self._last_words = ""
        self._falls_back = False

    def run(self, lock: int, more: Mapping[str, str] | None = None) -> Event:
        """Start the process, watch it, and return how it ended. Blocks.

        Args:
            lock: File descriptor that it holds as well: the lock goes when both are gone.
            more: Environment variables beside those of this process.
        """
        with self._process(lock, self._environment() | dict(more or {})) as process:
            assert process.stdout is not None  # noqa: S101 - both are pipes
            assert process.stderr is not None  # noqa: S101
            readers = [
                threading.Thread(target=self._hear, args=(process.stdout,), daemon=True),
                threading.Thread(target=self._echo, args=(process.stderr,), daemon=True),
            ]
            for reader in readers:
                reader.start()
            stalled = self._watch(process)
        for reader in readers:
            reader.join(timeout=10)
        return stalled or self._end or self._unsaid(process.returncode)

    @contextmanager
    def _process(self, lock: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        settings = self._settings.model_dump_json()
        command = [sys.executable, "-m", MODULE, FETCH, "--claim", str(self._claim.root), "--settings", settings]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            pass_fds=(lock,),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # A library may have processes of its own, and threads that no signal stops.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _environment(self) -> dict[str, str]:
        home = self._claim.work / "home"
        own = {
            # The root of the pod is read-only, and a library's leftovers go with the work folder.
            "HOME": str(home),
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "PYTHONUNBUFFERED": "1",
            REQUEST_VARIABLE: self._request.to_json(),
            TOKEN_VARIABLE: self._token,
        }
        if isinstance(self._request.source, HubSource):
            own["HF_ENDPOINT"] = self._request.source.endpoint
        bounds = {name: str(size) for name, size in _XET_BUFFERS.items()}
        return bounds | {name: value for name, value in os.environ.items() if name not in _OFFLINE} | own

    def _watch(self, process: subprocess.Popen[bytes]) -> Event | None:
        """Look until the process ended; the event for a stall, if there was one."""
        progress = self._progress
        stall = Stall(self._settings.stall_seconds, since=time.monotonic())
        reported = time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=self._settings.tick_seconds)
                return None
            now = time.monotonic()
            progress.on_way = sum(_sizes_in(self._claim.incoming))
            if stall.is_stalled(now, progress.copied + progress.on_way + self._read, progress.ended):
                return self._stalled()
            if now - reported >= self._settings.report_seconds:
                reported = now
                self._say(progress.line(now))

    def _stalled(self) -> Event:
        open_files = _sizes_in(self._claim.incoming)
        seconds = f"{self._settings.stall_seconds:.0f} s"
        if self._progress.files == 0:
            words = f"the source answered nothing for {seconds}"
        else:
            words = f"nothing came for {seconds}, with {len(open_files)} files on their way and {self._progress.line(time.monotonic())}"
        return Event(kind="Ended", outcome=CopyOutcome.STALLED, message=words, falls_back=self._falls_back)

    def _hear(self, stream: IO[bytes]) -> None:
        for line in stream:
            try:
                event = Event.model_validate_json(line)
            except ValueError:
                self._tell(line.decode(errors="replace"))
                continue
            self._take(event)

    def _take(self, event: Event) -> None:
        progress = self._progress
        match event.kind:
            case "Planned":
                self._falls_back = event.falls_back
                progress.started = progress.started if progress.files else time.monotonic()
                progress.files, progress.bytes = event.files, event.bytes
                self._say(f"the copy has {event.files} files and {gigabytes(event.bytes)}, as far as is known")
            case "Copied":
                progress.ended += 1
                progress.copied += event.bytes
                progress.held += event.bytes if event.held else 0
                was = "was there" if event.held else "is verified"
                self._say(
                    f"{json.dumps(event.path)} {was} ({gigabytes(event.bytes)}); {progress.ended} of {progress.files} files"
                )
            case "Read":
                self._read = event.bytes
            case "Said":
                self._tell(event.message)
            case "Ended":
                words = without_secrets(event.message, self._token)
                self._end = event.model_copy(update={"message": words})

    def _echo(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._tell(line.decode(errors="replace"))

    def _tell(self, text: str) -> None:
        """Write what a library said to the log, and keep the last of it."""
        if words := without_secrets(text, self._token):
            self._last_words = words[-500:]
            self._say(words)

    def _unsaid(self, code: int | None) -> Event:
        why = f"exit code {code}"
        if code == -signal.SIGKILL:
            why = "it was killed, as happens at the memory limit of a pod"
        words = f"the process that fetches ended without a word: {why}. {self._last_words}"
        return Event(kind="Ended", outcome=CopyOutcome.FAILED, message=words.strip(), falls_back=self._falls_back)


def _sizes_in(folder: Path) -> list[int]:
    """Sizes of the files below a folder, as far as they stay while it is read."""
    sizes: list[int] = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                sizes.append(Path(place, name).stat().st_size)
    return sizes
