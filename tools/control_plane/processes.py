"""Runs programs as children that end with their parent, each with a log of its own. Used by `plane` and what joins it."""

import contextlib
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.05
_TAIL_LINES: Final = 8
_LAUNCHER: Final = Path(__file__).with_name("bound.py")


_PORTS: Final = range(12000, 30000)


class PlaneError(Exception):
    """A part of the control plane did not do what it should; the message names its log."""


@dataclass
class Processes:
    """Children of this process.

    Attributes:
        logs: Folder of their logs.
    """

    logs: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def log(self, name: str) -> Path:
        """Where a child writes."""
        return self.logs / f"{name}.log"

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> int:
        """Start a child; returns its process id. It is killed when this process dies, however it dies.

        Raises:
            PlaneError: A child of this name runs already.
        """
        if self.runs(name):
            raise PlaneError(f"{name} runs already: stop it first")
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*launcher, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.logs,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the parent, which stops its children in their order
            )
        return self._running[name].pid

    def runs(self, name: str) -> bool:
        """Whether the child was started and has not ended."""
        return name in self._running and self._running[name].poll() is None

    def names(self) -> tuple[str, ...]:
        """Children that were started and not stopped, the newest first."""
        return tuple(reversed(self._running))

    def pid(self, name: str) -> int:
        """Process id of a child that was started."""
        return self._running[name].pid

    def stop(self, name: str, grace_seconds: float = 3.0, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask a child to end, and kill it when it does not within `grace_seconds`."""
        child = self._running.pop(name, None)
        if child is None:
            return
        child.send_signal(how)
        try:
            child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop_together(self, names: Sequence[str], grace_seconds: float = 3.0) -> None:
        """Stop several children at once: the slowest decides how long it takes."""
        for name in names:
            if name in self._running:
                self._running[name].terminate()
        end = time.monotonic() + grace_seconds
        for name in names:
            self.stop(name, max(0.0, end - time.monotonic()))

    def await_(self, name: str, probe: Callable[[], bool], seconds: float = 180.0) -> None:
        """Wait until `probe` says that the child is ready.

        Raises:
            PlaneError: It ended, or took longer than `seconds`.
        """
        end = time.monotonic() + seconds
        while not probe():
            if not self.runs(name):
                raise PlaneError(self._report(name, f"{name} ended with status {self._running[name].returncode}"))
            if time.monotonic() > end:
                raise PlaneError(self._report(name, f"{name} was not ready after {seconds:.0f} s"))
            time.sleep(_POLL_SECONDS)

    def _report(self, name: str, trouble: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n  ".join([f"{trouble}; its log is {self.log(name)} and ends with:", *lines])


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody uses, all different.

    Below those that a system gives to connections: one of these may be taken before a child listens on it. By chance, because
    others look for ports at the same time.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def free_port() -> int:
    """A port of the loopback that nobody used a moment ago."""
    return free_ports(1)[0]


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether a GET is answered with 200 within two seconds; proxies of the environment are not asked."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as response:
            return bool(response.status == 200)  # noqa: PLR2004 - HTTP's word for yes
    except (OSError, urllib.error.URLError):
        return False
