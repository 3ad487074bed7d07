"""Passes TCP connections on to another address: how a node reaches an API server on loopback. Used by `real_node`.

A process of its own, `relay.py LISTEN TARGET PORT`, which ends when its standard input closes. TLS goes through
untouched, so who connects still talks to the real server.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

_CHUNK = 1 << 16


@contextlib.contextmanager
def relay(listen: str, target: tuple[str, int]) -> Iterator[int]:
    """Pass connections to `listen` (an address; the port is chosen) on to `target`; yield the port."""
    command = [sys.executable, __file__, listen, target[0], str(target[1])]
    # A session of its own, so that Ctrl-C does not take it away before the node.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("pipes were asked for")
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _main(listen: str, host: str, port: int) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    server = await asyncio.start_server(connect, listen, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
