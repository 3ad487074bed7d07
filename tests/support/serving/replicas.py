"""HAProxy as Ray Serve runs it, with `llama_serving.routing` in it, in front of stubs that say which replica they are."""

import contextlib
import csv
import functools
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llama_serving.contract.door import DOOR_VARIABLE
from llama_serving.contract.haproxy import LAUNCHER_WORDS
from llama_serving.contract.routing import LAUNCHER_VARIABLE, Routing, environment
from support.serving.ray_cluster import LOOPBACK, free_ports

START_SECONDS = 60.0
CHAT = "/v1/chat/completions"
_FIRST, _FOLDER = 987_600, "/a/folder"
"""Places in a configuration that no other number or path looks like."""


@functools.cache
def _written_by_ray(ports: int) -> str:
    """What Ray's own code writes. Once: to import Ray takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-W", "ignore", "-m", "support.serving.door_fuzz.haproxy_config", folder]
        numbers = [str(_FIRST + number) for number in range(ports)]
        state = {
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/state",
        }
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | state | environment(Routing.PREFIX_AWARE)
        subprocess.run([*program, *numbers], env=variables, check=True, capture_output=True)
        lines = Path(folder, "haproxy.cfg").read_text().replace(folder, _FOLDER).splitlines(keepends=True)
        # They name a file beside it, with the words of an error.
        return "".join(line for line in lines if not line.lstrip().startswith("errorfile "))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """HAProxy closes the connections of its checks at once."""


class Replica:
    """A server that answers with its name; a request with `hold` waits until `release`, and one with `leave` gets no answer."""

    def __init__(self, port: int) -> None:
        self.name, self.port, self.held, self.left = str(port), port, 0, 0
        self.stays = False
        """Whether it answers what has `leave` too."""
        replica = self

        class Handler(BaseHTTPRequestHandler):
            # An answer in one piece: the second of two would wait for the first to be acknowledged.
            wbufsize = 4096

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if b'"hold"' in body:
                    replica.held += 1
                    replica._released.wait(START_SECONDS)
                if b'"leave"' in body and not replica.stays:
                    replica.left += 1
                    self.close_connection = True
                    return
                self._answer()

            def _answer(self) -> None:
                words = replica.name.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_: Any) -> None:
                pass

        self._handler = Handler
        self.start()

    def start(self) -> None:
        """Listen, again after `stop`."""
        self._released = threading.Event()
        self._server = _Server((LOOPBACK, self.port), self._handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def release(self) -> None:
        """Answer what was held."""
        self._released.set()


class Front:
    """HAProxy in front of `replicas`, started by the launcher with the arguments that Ray gives it."""

    def __init__(
        self,
        folder: Path,
        routing: Routing,
        replicas: int,
        keys_folder: Path | None = None,
        *,
        written: str = "",
        spoiled: bool = False,
        return_seconds: int | None = None,
        started: int | None = None,
    ) -> None:
        """Start all.

        Args:
            folder: An empty one.
            routing: By what replicas are chosen.
            replicas: How many.
            keys_folder: Hashes of keys.
            written: What Ray wrote in place of the line `frontend http_frontend`.
            spoiled: Whether HAProxy does not take what was changed.
            return_seconds: How long a replica that was down grows, in place of the product's time.
            started: How many of the replicas HAProxy knows; None for all. The others come with `grow`.
        """
        self._folder = folder
        self.port, metrics, stats, *ports = free_ports(3 + replicas)
        self.replicas = {str(port): Replica(port) for port in ports}
        door = {"access": "Keys", "keys_folder": str(keys_folder)} if keys_folder else {"access": "Open"}
        self._environment = (
            {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "LLAMA_"))}
            | {"PYTHONPATH": os.pathsep.join(sys.path), DOOR_VARIABLE: json.dumps(door)}
            | environment(routing)
        )
        self.config = folder / "haproxy.cfg"
        text = _written_by_ray(3 + replicas)
        for number, port in enumerate((self.port, metrics, stats, *ports)):
            text = text.replace(str(_FIRST + number), str(port))
        if written:
            text = text.replace("frontend http_frontend", written)
        if return_seconds is not None:
            line = "    # Servers in this backend\n"
            assert line in text
            text = text.replace(line, f"    default-server slowstart {return_seconds}s\n{line}")
        self._written = text.replace(_FOLDER, str(folder))
        self._waiting = ports[started:] if started is not None else []
        self._write()
        if spoiled:
            # Nothing that is written there is kept.
            (folder / "llama_choose.lua").symlink_to(os.devnull)
        self.start()

    def _write(self) -> None:
        """Write the configuration as Ray does, with the replicas that it knows."""
        lines = self._written.splitlines(keepends=True)
        self.config.write_text(
            "".join(line for line in lines if not any(f":{port} check" in line for port in self._waiting))
        )

    def _launch(self, *arguments: str) -> "subprocess.Popen[bytes]":
        launcher = [sys.executable, "-m", "llama_serving.routing.launcher", "-db", "-f", str(self.config), *arguments]
        return subprocess.Popen(launcher, env=self._environment | {LAUNCHER_VARIABLE: "/nowhere"}, stderr=self._errors)

    def grow(self) -> None:
        """Let HAProxy know all replicas, as Ray does: it saves the state of its servers, and starts another process."""
        state = self._folder / "state"
        state.write_text(self.said("show servers state"))
        self._waiting = []
        self._write()
        old = self._process
        self._process = self._launch("-sf", str(old.pid), "-x", str(self._folder / "admin.sock"))
        deadline = time.monotonic() + START_SECONDS
        while f"Pid: {self._process.pid}\n" not in self.said("show info"):
            assert time.monotonic() < deadline, self.errors()
            assert self._process.poll() is None, self.errors()
            time.sleep(0.02)
        self._old.append(old)

    def start(self) -> None:
        """Start HAProxy, and wait until it sees the replicas."""
        self._errors = (self._folder / "stderr").open("w+")
        self._old: list[subprocess.Popen[bytes]] = []
        self._process = self._launch()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/-/healthz")[0] == 200:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"HAProxy does not start: {self.errors()}")

    def restart(self) -> None:
        """End HAProxy, and start another with the same configuration; it knows nothing of before."""
        self._process.terminate()
        self._process.wait()
        self._errors.close()
        self._write()
        self.start()
        # It has seen each replica once.
        while self.down():
            time.sleep(0.02)

    def said(self, question: str) -> str:
        """What HAProxy answers on its socket; nothing at the moment in which another process takes it over."""
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(str(self._folder / "admin.sock"))
            connection.sendall(f"{question}\n".encode())
            return connection.makefile().read()
        return ""

    def _rows(self) -> "list[dict[str, str]]":
        rows = csv.DictReader(self.said("show stat -1 4 -1").removeprefix("# ").splitlines())
        return [row for row in rows if row["pxname"] == "http-llama"]

    def down(self) -> int:
        """How many replicas HAProxy takes for down."""
        return sum(row["status"].startswith("DOWN") for row in self._rows())

    def growing(self) -> dict[str, int]:
        """The replicas that have a part of their part, and how many percent."""
        return {row["svname"].rpartition("-")[2]: int(row["throttle"]) for row in self._rows() if row.get("throttle")}

    def errors(self) -> str:
        """What HAProxy and the launcher wrote."""
        return (self._folder / "stderr").read_text()

    def words(self) -> str:
        """What the launcher could not do, as it leaves it for the status."""
        return self.config.with_name(LAUNCHER_WORDS).read_text()

    def stop(self) -> None:
        """End all."""
        for process in (self._process, *self._old):
            process.terminate()
            process.wait()
        self._errors.close()
        for replica in self.replicas.values():
            with contextlib.suppress(OSError):
                replica.stop()

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Send one request on a connection of its own; the status, and the name of the replica."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=START_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def post(self, body: dict[str, Any], headers: dict[str, str] | None = None, path: str = CHAT) -> str:
        """Send one request that a replica answers; the name of the replica."""
        status, name = self.ask("POST", path, json.dumps(body).encode(), headers)
        assert status == 200, (status, name, self.errors())
        assert name in self.replicas
        return name
