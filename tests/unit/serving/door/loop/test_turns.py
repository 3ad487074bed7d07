"""Parts of streams go out one right after the other, and nobody waits for a part that is not made yet."""

import asyncio

import pytest

from llama_serving.door.loop.turns import Turns


@pytest.fixture
def turns():
    return Turns()


async def test_parts_of_one_turn_go_out_after_all_of_them_are_made(turns):
    happened = []

    async def stream(name):
        happened.append(f"{name} is made")
        await turns.end()
        happened.append(f"{name} is sent")

    await asyncio.gather(*(stream(name) for name in "abc"))
    assert happened == [f"{name} is made" for name in "abc"] + [f"{name} is sent" for name in "abc"]


async def test_a_part_does_not_wait_for_what_is_not_ready(turns):
    never = asyncio.get_running_loop().create_future()
    other = asyncio.ensure_future(never)
    sent = asyncio.create_task(turns.end())
    for _ in range(4):
        await asyncio.sleep(0)
    assert sent.done()
    other.cancel()


async def test_parts_of_one_stream_keep_their_order(turns):
    sent = []

    async def stream(name):
        for part in range(3):
            await turns.end()
            sent.append((name, part))

    await asyncio.gather(stream("a"), stream("b"))
    for name in "ab":
        assert [part for stream_of, part in sent if stream_of == name] == [0, 1, 2]


async def test_a_client_that_leaves_takes_nobody_along(turns):
    stays, leaves, comes = (asyncio.create_task(turns.end()) for _ in range(3))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.gather(stays, comes)
    assert leaves.cancelled()
    await asyncio.wait_for(turns.end(), timeout=60)


def test_each_run_of_a_loop_begins_anew(turns):
    for _ in range(2):
        asyncio.run(turns.end())
