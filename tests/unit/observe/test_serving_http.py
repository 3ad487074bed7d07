"""The status endpoint over a real socket: an answer is read whole, whatever pieces it comes in, and none is too large."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from llama_operator.observe.serving_http import HttpServingReader

IDENTITY = {"namespace": "team-a", "name": "chat", "revision": "chat-1"}


def body(replicas):
    report = {"replica": "r" * 200, "waiting": 1, "running": 1}
    numbers = {"replicas": replicas, "target_replicas": replicas, "queue_depth": 1, "running_requests": 1}
    return json.dumps({"identity": IDENTITY, "model_id": "m", **numbers, "unknown": [report] * replicas}).encode()


@contextlib.asynccontextmanager
async def pod(content, *, piece, promised=None):
    """A pod that sends its answer in small segments, each on its way before the next is written."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        length = len(content) if promised is None else promised
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length)
        for start in range(0, len(content), piece):
            writer.write(content[start : start + piece])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as session:
        host, port = server.sockets[0].getsockname()
        yield HttpServingReader(session), f"{host}:{port}"


async def read(content, **how):
    async with pod(content, **how) as (reader, address):
        return await reader.read(namespace="team-a", service="chat", address=address)


@pytest.mark.parametrize("piece", [97, 1460, 1 << 16])
@pytest.mark.parametrize("replicas", [1, 40, 1000])
async def test_an_answer_in_pieces_is_read_whole(replicas, piece):
    found = await read(body(replicas), piece=max(piece, len(body(replicas)) // 500))
    assert found is not None
    assert found.replicas == replicas


@pytest.mark.parametrize(
    ("content", "promised"),
    [
        pytest.param(body(1)[:-5], None, id="cut JSON"),
        pytest.param(body(1), 10_000, id="ends before its length"),
        pytest.param(b" " * (1 << 20) + body(1), None, id="too large"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"\xff\xfe", None, id="no text"),
    ],
)
async def test_what_is_no_answer_is_none(content, promised):
    assert await read(content, piece=4096, promised=promised) is None


@pytest.mark.parametrize("host", ["a" * 64, f"pods.{'x' * 64}.example.com", "..", "a b", "2001:db8::1", "h:99999"])
async def test_an_address_that_is_none_is_no_answer(host):
    async with aiohttp.ClientSession() as session:
        reader = HttpServingReader(session)
        assert await reader.read(namespace="team-a", service="chat", address=f"{host}:8000") is None
