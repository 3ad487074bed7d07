"""A pass that hangs ends: whatever does not answer, its worker is free again, and the next pass goes on from there.

What hangs here hangs for ever, so that the deadline is reached.
"""

import asyncio
import dataclasses
from contextlib import contextmanager
from functools import partial

import pytest

from llama_operator.errors import PassTooLongError
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import Ref
from llama_operator.process.passes import run_pass
from llama_operator.reconcile import deadline
from llama_operator.reconcile.deadline import within
from llama_operator.telemetry.passes import MeasuredPass, Outcome
from llama_operator.work.controller import Controller
from llama_operator.work.queue import Slots

SHORT = 0.05
ENOUGH = 3600.0
"""Seconds that a pass needs in no case before it hangs; no test waits for them."""


class Recording:
    """Keeps how passes ended."""

    def __init__(self):
        self.outcomes = []
        self.ended = asyncio.Event()

    @contextmanager
    def measure(self, ref):
        found = MeasuredPass()
        try:
            yield found
        finally:
            self.outcomes.append((ref, found.outcome))
            self.ended.set()


class Hanging(Delegating):
    """A cluster of which one verb, for one kind, never answers. Each time the loop's clock goes on by `ENOUGH`."""

    def __init__(self, inner, verb, kind):
        super().__init__(inner)
        self.kind = kind
        self.asked = 0
        setattr(self, verb, self.hang)
        self.through = getattr(inner, verb)

    async def hang(self, what, *arguments, **options):
        kind = what
        if isinstance(what, dict):
            kind = kinds.find(what["apiVersion"], what["kind"])
        elif isinstance(what, Ref):
            kind = what.kind
        if kind != self.kind:
            return await self.through(what, *arguments, **options)
        self.asked += 1
        loop = asyncio.get_running_loop()
        loop.time = lambda now=loop.time: now() + ENOUGH
        return await asyncio.Event().wait()


HANGS = [
    ("list", kinds.NODE),
    ("list", kinds.LLAMA_MODEL),
    ("list", kinds.RAY_SERVICE),
    ("get", kinds.LLAMA_DEPLOYMENT),
    ("apply", kinds.RAY_SERVICE),
    ("apply", kinds.NETWORK_POLICY),
    ("apply_status", kinds.LLAMA_DEPLOYMENT),
]


@pytest.fixture(autouse=True)
def insist(monkeypatch):
    monkeypatch.setattr(deadline, "_INSIST_SECONDS", SHORT)


@pytest.mark.parametrize(("verb", "kind"), HANGS, ids=lambda each: getattr(each, "kind", each))
async def test_whatever_hangs_ends_the_pass_and_frees_the_worker(world, verb, kind):
    ref = await world.apply_sample("tiny-cpu")
    hanging = Hanging(world.ports.cluster, verb, kind)
    ports = dataclasses.replace(world.ports, cluster=hanging, pass_seconds=ENOUGH)
    meter = Recording()
    controller = Controller(partial(run_pass, ports), slots=Slots(1), meter=meter)
    running = asyncio.create_task(controller.run())
    controller.enqueue(ref)
    await meter.ended.wait()
    assert hanging.asked
    assert meter.outcomes[0] == (ref, Outcome.TOO_LONG)
    await controller.stop(0)
    await running

    # Nothing is left behind that the next pass would stumble over.
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE)


async def test_a_record_whose_pass_hangs_ends_as_well(world):
    await world.apply_acceptance()
    ref = kinds.address((await world.ports.cluster.list(kinds.LICENSE_ACCEPTANCE)).items[0])
    hanging = Hanging(world.ports.cluster, "list", kinds.LLAMA_MODEL)
    with pytest.raises(PassTooLongError, match="longer than 3600 s and was ended"):
        await run_pass(dataclasses.replace(world.ports, cluster=hanging, pass_seconds=ENOUGH), ref)


async def test_what_does_not_end_at_once_is_told_again():
    told = []

    async def stubborn():
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append("cancelled")
        raise ValueError

    with pytest.raises(PassTooLongError):
        await within(SHORT, stubborn())
    assert len(told) == 3


async def test_in_time_the_result_and_the_error_are_its_own():
    async def fine():
        return 7

    async def broken():
        raise LookupError

    assert await within(60, fine()) == 7
    with pytest.raises(LookupError):
        await within(60, broken())


async def test_a_pass_that_is_stopped_from_outside_is_over_when_the_stop_returns():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    task = asyncio.create_task(within(60, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cleaned up"]
