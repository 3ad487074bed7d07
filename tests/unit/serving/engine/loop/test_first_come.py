"""Tokens of a step wait for the requests that are on their way, and for no others."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from llama_serving.door.loop.ways import MINE, Ways
from llama_serving.engine.loop import first_come as module
from llama_serving.engine.loop.first_come import first_come


@pytest.fixture
def ways():
    return Ways()


@pytest.fixture
def client(ways, monkeypatch):
    """vLLM's, whose engine has made a step."""
    monkeypatch.setattr(module, "MOST_SECONDS", 60)
    taken = []

    async def add_request(name, *, fails=False):
        taken.append(name)
        if fails:
            raise ValueError("refused")
        return f"queue of {name}"

    async def get_output_async():
        return "tokens"

    made = SimpleNamespace(
        taken=taken, add_request=add_request, engine_core=SimpleNamespace(get_output_async=get_output_async)
    )
    first_come(made, ways)
    return made


async def soon(task, turns=10):
    """Whether a task ends by itself, after some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return task.done()


async def test_without_a_request_that_comes_in_tokens_go_out_at_once(client):
    assert await soon(asyncio.create_task(client.engine_core.get_output_async()))


@pytest.mark.parametrize("fails", [False, True])
async def test_tokens_wait_until_the_engine_has_the_request_or_has_refused_it(client, ways, fails):
    MINE.set(ways.begin())
    tokens = asyncio.create_task(client.engine_core.get_output_async())
    assert not await soon(tokens)

    with contextlib.suppress(ValueError):
        assert await client.add_request("one", fails=fails) == "queue of one"

    assert await soon(tokens)
    assert client.taken == ["one"]
    assert tokens.result() == "tokens"


async def test_a_request_that_goes_to_no_engine_ends_its_way(client, ways):
    way = ways.begin()
    tokens = asyncio.create_task(client.engine_core.get_output_async())
    assert not await soon(tokens)
    way.end()
    way.end()
    assert await soon(tokens)


async def test_tokens_wait_for_all_that_were_there_and_for_none_that_come_later(client, ways):
    before = [ways.begin(), ways.begin()]
    tokens = asyncio.create_task(client.engine_core.get_output_async())
    assert not await soon(tokens)
    later = ways.begin()
    before[0].end()
    assert not await soon(tokens)
    before[1].end()
    assert await soon(tokens)

    following = asyncio.create_task(client.engine_core.get_output_async())
    assert not await soon(following)
    later.end()
    assert await soon(following)


async def test_who_needs_long_is_waited_for_once(client, ways, monkeypatch):
    monkeypatch.setattr(module, "MOST_SECONDS", 0.001)
    slow = ways.begin()
    assert await client.engine_core.get_output_async() == "tokens"
    monkeypatch.setattr(module, "MOST_SECONDS", 60)
    assert await soon(asyncio.create_task(client.engine_core.get_output_async()))
    slow.end()


async def test_a_request_of_nobody_is_taken_too(client):
    assert await client.add_request("a warm-up") == "queue of a warm-up"


@pytest.mark.parametrize(
    "other", [SimpleNamespace(), SimpleNamespace(add_request=print, engine_core=SimpleNamespace())]
)
def test_another_vllm_stays_as_it_is(other, ways, caplog):
    before = dict(vars(other))
    first_come(other, ways)
    assert vars(other) == before
    assert "another way" in caplog.text
