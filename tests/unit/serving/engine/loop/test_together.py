"""Parts of a stream that are there at once go out in one piece, the head with the first, and none waits for another."""

import asyncio

import pytest

from llama_serving.engine.loop import together
from llama_serving.engine.loop.together import MOST_BYTES, send_parts

HEAD = {"type": "http.response.start", "status": 200, "headers": []}


class Client:
    """Takes messages; `blocks` holds the next one back, `error` ends it."""

    def __init__(self):
        self.heads, self.bodies, self.ends, self.blocks, self.error = [], [], [], None, None

    async def send(self, message):
        if self.blocks is not None:
            await self.blocks.wait()
        if self.error is not None:
            raise self.error
        if message["type"] == "http.response.start":
            assert not self.bodies
            self.heads.append(message)
            return
        self.bodies.append(message["body"])
        self.ends.append(not message["more_body"])


async def turns(number=10):
    """Let the loop go on, without a look at a clock."""
    for _ in range(number):
        await asyncio.sleep(0)


async def stream(client, parts):
    await send_parts(parts, client.send, head=HEAD, charset="utf-8")
    assert client.heads == [HEAD]
    assert client.ends == [False] * (len(client.ends) - 1) + [True]
    return client.bodies


async def test_what_is_there_at_once_is_one_piece():
    async def parts():
        yield "a"
        yield "b"
        await asyncio.sleep(0)
        yield b"c"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        yield "d"
        yield memoryview(b"e")

    assert await stream(Client(), parts()) == [b"ab", b"c", b"de"]


async def test_nothing_is_kept_while_the_next_is_made():
    client, made = Client(), asyncio.Event()

    async def parts():
        yield "a"
        await made.wait()
        yield "b"

    task = asyncio.create_task(stream(client, parts()))
    await asyncio.sleep(0)
    assert client.bodies == [b"a"]
    assert client.heads == [HEAD]
    made.set()
    assert await task == [b"a", b"b"]


async def test_a_stream_that_never_waits_comes_in_pieces():
    async def parts():
        for _ in range(5):
            yield "x" * (MOST_BYTES // 2)

    assert [len(body) for body in await stream(Client(), parts())] == [MOST_BYTES, MOST_BYTES, MOST_BYTES // 2]


async def test_an_empty_stream_ends():
    async def parts():
        return
        yield

    assert await stream(Client(), parts()) == [b""]


async def test_the_head_waits_for_the_first_part():
    client, made = Client(), asyncio.Event()

    async def parts():
        await made.wait()
        yield "a"

    task = asyncio.create_task(stream(client, parts()))
    await asyncio.sleep(0)
    assert client.heads == []
    made.set()
    assert await task == [b"a"]


@pytest.mark.parametrize("slow", [False, True], ids=["quick client", "slow client"])
async def test_the_head_does_not_wait_long(monkeypatch, slow):
    monkeypatch.setattr(together, "HEAD_SECONDS", 0)
    client, made = Client(), asyncio.Event()
    client.blocks = asyncio.Event() if slow else None

    async def parts():
        await made.wait()
        yield "a"

    task = asyncio.create_task(stream(client, parts()))
    await turns()
    assert client.heads == ([] if slow else [HEAD])
    made.set()
    await turns()
    if slow:
        client.blocks.set()
    assert await task == [b"a"]


async def test_a_client_that_is_gone_when_the_head_goes_alone_is_told_with_the_first_part(monkeypatch):
    monkeypatch.setattr(together, "HEAD_SECONDS", 0)
    client, source = Client(), Source()
    client.error = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await stream(client, source.late_parts())
    assert source.heard == ["CancelledError", "ended"]


async def test_of_an_answer_that_fails_before_its_first_part_nothing_is_sent_so_the_layers_can_say_what_is_wrong():
    client = Client()

    async def parts():
        await asyncio.sleep(0)
        raise ValueError("broken")
        yield

    with pytest.raises(ValueError, match="broken"):
        await stream(client, parts())
    assert (client.heads, client.bodies) == ([], [])


async def test_what_was_made_before_an_error_is_sent():
    client = Client()

    async def parts():
        yield "a"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await stream(client, parts())
    assert client.bodies == [b"a"]


class Source:
    """Parts that note how they end."""

    def __init__(self):
        self.heard, self.made = [], asyncio.Event()

    async def late_parts(self):
        await turns()
        async for part in self.parts():
            yield part

    async def parts(self):
        try:
            yield "a"
            await self.made.wait()
            yield "b"
        except BaseException as error:
            self.heard.append(type(error).__name__)
            # As vLLM does to end a request in its engine.
            await asyncio.sleep(0)
            self.heard.append("ended")
            raise


@pytest.mark.parametrize("blocked", [False, True], ids=["waits for a part", "waits for the client"])
async def test_a_cancelled_stream_ends_its_parts(blocked):
    client, source = Client(), Source()
    client.blocks = asyncio.Event() if blocked else None
    task = asyncio.create_task(stream(client, source.parts()))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.heard == ["CancelledError", "ended"]


async def test_a_client_that_fails_ends_the_parts():
    client, source = Client(), Source()
    client.error = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await stream(client, source.parts())
    assert source.heard == ["CancelledError", "ended"]


async def test_a_part_that_comes_while_the_client_is_slow_comes_after():
    client, source = Client(), Source()
    client.blocks = asyncio.Event()
    task = asyncio.create_task(stream(client, source.parts()))
    await asyncio.sleep(0)
    source.made.set()
    await asyncio.sleep(0)
    client.blocks.set()
    assert await task == [b"a", b"b"]
