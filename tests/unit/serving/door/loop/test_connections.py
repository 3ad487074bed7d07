"""What uvicorn keeps of connections that have ended, on a real socket."""

import asyncio
import contextlib
import gc
import inspect
import socket
import struct
import weakref

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llama_serving.door.loop.connections import let_go_of_reset_connections

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
AN_HOUR = 3600


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


KEPT = {}
"""Connections by their class, as long as anybody holds them."""


class Plain(HttpToolsProtocol):
    """As uvicorn has it."""

    # Another test may have had the door put into this process.
    connection_lost = inspect.unwrap(HttpToolsProtocol.connection_lost)

    def connection_made(self, transport):
        KEPT[type(self)].add(self)
        super().connection_made(transport)


class Mended(Plain):
    """As the door has it."""


let_go_of_reset_connections(Mended)


def asks(port, *, resets):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"ok"):
            answer += client.recv(1000)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def eventually(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(protocol):
    config = uvicorn.Config(
        app, port=0, http=protocol, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=AN_HOUR
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1], server.server_state
    finally:
        await server.shutdown()


@pytest.mark.parametrize(
    ("protocol", "resets", "left"), [(Plain, False, 0), (Plain, True, 5), (Mended, False, 0), (Mended, True, 0)]
)
async def test_nothing_is_kept_of_a_connection_that_has_ended(protocol, resets, left):
    KEPT[protocol] = weakref.WeakSet()
    async with serving(protocol) as (port, state):
        for _ in range(5):
            await asyncio.to_thread(asks, port, resets=resets)
        await eventually(lambda: not state.connections)
        gc.collect()
        assert len(KEPT[protocol]) == left
        for one in KEPT[protocol]:
            one._unset_keepalive_if_required()


def test_it_is_put_in_once_and_not_into_what_is_not_known():
    before = Mended.connection_lost
    let_go_of_reset_connections(Mended)
    assert Mended.connection_lost is before

    class Other:
        def connection_lost(self, exc):
            """Another way."""

    before = Other.connection_lost
    let_go_of_reset_connections(Other)
    assert Other.connection_lost is before
