"""TLS in front of a server that speaks none, as the server of a wheel: handshakes are real, and what comes through is counted."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator

from control_plane.identities import Pair


class Relay:
    """Takes connections with one certificate, which may be changed, and hands their bytes on.

    Attributes:
        received: All that clients sent, decrypted.
    """

    def __init__(self, port: int, pair: Pair) -> None:
        self._port = port
        self._connections: set[asyncio.Task] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.received = bytearray()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show(pair)

    def show(self, pair: Pair) -> None:
        """Answer new connections with this certificate, and end those that are open."""
        self._context.load_cert_chain(pair.certificate, pair.key)
        for writer in tuple(self._writers):
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen; gives the port."""
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in (ending := tuple(self._connections)):
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._counted(writer):
            behind, onwards = await asyncio.open_connection("127.0.0.1", self._port)
            with contextlib.closing(onwards), contextlib.closing(writer), contextlib.suppress(OSError):
                await asyncio.wait(
                    [
                        asyncio.create_task(self._copied(reader, onwards, self.received)),
                        asyncio.create_task(self._copied(behind, writer, bytearray())),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )

    @contextlib.contextmanager
    def _counted(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        task = asyncio.current_task()
        self._connections.add(task)
        self._writers.add(writer)
        try:
            yield
        finally:
            self._connections.discard(task)
            self._writers.discard(writer)

    async def _copied(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, seen: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                seen += data
                to.write(data)
                await to.drain()
