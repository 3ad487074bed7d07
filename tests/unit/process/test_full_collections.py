"""Full collections wait for idle moments. The interpreter's real collector, with a clock that the test moves."""

import asyncio
import gc
from contextlib import asynccontextmanager

import pytest

from llama_operator.process import full_collections


class Place:
    """Where it runs: the time, whether somebody waits, and the full collections so far."""

    def __init__(self):
        self.now, self.busy, self.full, self.asked = 0.0, False, 0, 0

    def note(self, phase, info):
        if phase == "start" and info["generation"] == 2:
            self.full += 1

    def clock(self):
        self.asked += 1
        return self.now

    async def looked(self):
        """Wait until it has decided at least once about what is the case now: it asks for the time in each look."""
        enough = self.asked + 3
        async with asyncio.timeout(120):
            while self.asked < enough:  # noqa: ASYNC110 - the clock is what this counts
                await asyncio.sleep(0.001)


@pytest.fixture
def place(monkeypatch):
    """Without the interpreter's own collections: what others allocate in this process counts for nothing."""
    monkeypatch.setattr(full_collections, "_LOOK_SECONDS", 0.001)
    found = Place()
    gc.disable()
    gc.collect()
    gc.callbacks.append(found.note)
    yield found
    gc.callbacks.remove(found.note)
    gc.enable()


@asynccontextmanager
async def running(place):
    task = asyncio.create_task(full_collections.collect_when_idle(lambda: place.busy, place.clock))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def age():
    """So many collections of the middle generation that a full one is worth its time."""
    for _ in range(gc.get_threshold()[2] if gc.get_threshold()[2] < 100 else 20):
        gc.collect(1)


async def test_a_full_collection_comes_when_nobody_waits(place):
    async with running(place):
        age()
        place.busy, place.now = True, 100.0
        await place.looked()
        assert place.full == 0
        place.busy = False
        await place.looked()
        assert place.full == 1


async def test_without_idle_moments_it_comes_anyway_but_late(place):
    async with running(place):
        age()
        place.busy, place.now = True, 901.0
        await place.looked()
        assert place.full == 1


async def test_without_allocations_there_is_none(place):
    async with running(place):
        place.now = 100.0
        await place.looked()
        assert place.full == 0


async def test_the_thresholds_of_the_interpreter_come_back(place):
    before = gc.get_threshold()
    async with running(place):
        assert gc.get_threshold()[2] > 1000 * before[2]
    assert gc.get_threshold() == before
