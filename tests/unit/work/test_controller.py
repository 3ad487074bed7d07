"""The controller runs passes; what it promises is seen from inside of them."""

import asyncio
import contextlib
from contextlib import asynccontextmanager, contextmanager

import pytest

from llama_operator.errors import NamespaceEndingError, WriteRefusedError
from llama_operator.kube import kinds
from llama_operator.kube.port import KubeError, Ref
from llama_operator.telemetry.passes import MeasuredPass, Outcome
from llama_operator.work.controller import Controller
from llama_operator.work.queue import BackOff, Slots

A, B, C = (Ref(kinds.LLAMA_DEPLOYMENT, "team", name) for name in "abc")


class Recording:
    def __init__(self):
        self.outcomes = []

    @contextmanager
    def measure(self, ref):
        found = MeasuredPass()
        try:
            yield found
        finally:
            self.outcomes.append((ref, found.outcome))


@asynccontextmanager
async def running(reconcile, **options):
    controller = Controller(reconcile, **({"slots": Slots(4)} | options))
    task = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        await controller.stop(0)
        await task


class Passes:
    """A reconcile that waits in every pass until it is let go."""

    def __init__(self):
        self.started = []
        self.gates = {}
        self.changed = asyncio.Event()

    async def __call__(self, ref):
        self.started.append(ref)
        gate = self.gates[ref] = asyncio.Event()
        self.changed.set()
        await gate.wait()

    async def wait_for(self, count):
        while len(self.started) < count:
            self.changed.clear()
            await self.changed.wait()


async def test_what_was_asked_for_before_the_start_is_done_after_it():
    passes = Passes()
    controller = Controller(passes, slots=Slots(1))
    controller.enqueue(A)
    task = asyncio.create_task(controller.run())
    await passes.wait_for(1)
    await controller.stop(0)
    await task
    assert passes.started == [A]


async def test_no_more_passes_run_than_there_are_workers():
    passes = Passes()
    async with running(passes, slots=Slots(2)) as controller:
        for key in (A, B, C):
            controller.enqueue(key)
        await passes.wait_for(2)
        assert (controller.running, controller.depth) == (2, 1)
        passes.gates[A].set()
        await passes.wait_for(3)
    assert sorted(passes.started, key=str) == [A, B, C]


async def test_one_deployment_is_never_reconciled_twice_at_once():
    passes = Passes()
    async with running(passes) as controller:
        controller.enqueue(A)
        await passes.wait_for(1)
        controller.enqueue(A)
        controller.enqueue(B)
        await passes.wait_for(2)
        assert passes.started == [A, B]
        passes.gates[A].set()
        await passes.wait_for(3)
    assert passes.started == [A, B, A]


async def test_a_failed_pass_is_tried_again_and_the_others_go_on():
    done = asyncio.Event()
    tries = []

    async def reconcile(ref):
        tries.append(ref)
        if ref == A and tries.count(A) == 1:
            raise KubeError("the API server is tired")
        if ref == A:
            done.set()

    recording = Recording()
    async with running(reconcile, back_off=BackOff(first=0.001), meter=recording) as controller:
        for key in (A, B):
            controller.enqueue(key)
        await done.wait()
    assert tries.count(A) == 2
    assert (A, Outcome.ERROR) in recording.outcomes
    assert (B, Outcome.SUCCESS) in recording.outcomes


async def test_a_defect_in_one_pass_does_not_end_the_controller():
    done = asyncio.Event()

    async def reconcile(ref):
        if ref == A:
            raise ZeroDivisionError
        done.set()

    async with running(reconcile) as controller:
        for key in (A, B):
            controller.enqueue(key)
        await done.wait()
        assert controller.failing == 1


async def test_a_pass_that_asks_to_be_called_again_is():
    done = asyncio.Event()
    seen = []

    async def reconcile(ref):
        seen.append(ref)
        if len(seen) == 2:
            done.set()
            return None
        return 0.001

    async with running(reconcile) as controller:
        controller.enqueue(A)
        await done.wait()
    assert seen == [A, A]


async def test_what_is_due_while_all_workers_are_busy_waits_without_being_asked_for_again_and_again():
    gate, looks, now = asyncio.Event(), 0, 0.0
    seen = []

    def clock():
        nonlocal looks
        looks += 1
        return now

    async def reconcile(ref):
        seen.append(ref)
        if ref == B:
            await gate.wait()
        return 1.0 if seen == [A] else None

    async with running(reconcile, slots=Slots(1), clock=clock) as controller:
        controller.enqueue(A)
        controller.enqueue(B)
        while B not in seen:  # noqa: ASYNC110 - passes of the loop are what this counts
            await asyncio.sleep(0)
        now, before = 5.0, looks
        controller.enqueue(C)
        for _ in range(100):
            await asyncio.sleep(0)
        assert looks - before < 5
        gate.set()
        while len(seen) < 4:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert sorted(seen, key=str) == [A, A, B, C]


async def test_a_graceful_stop_lets_running_passes_finish_and_starts_no_more():
    passes, recording = Passes(), Recording()
    controller = Controller(passes, slots=Slots(1), meter=recording)
    task = asyncio.create_task(controller.run())
    for key in (A, B):
        controller.enqueue(key)
    await passes.wait_for(1)
    stopping = asyncio.create_task(controller.stop(30))
    await asyncio.sleep(0)
    passes.gates[A].set()
    await stopping
    await task
    assert recording.outcomes == [(A, Outcome.SUCCESS)]


async def test_a_stop_without_grace_cancels_running_passes():
    passes, recording = Passes(), Recording()
    async with running(passes, meter=recording) as controller:
        controller.enqueue(A)
        await passes.wait_for(1)
    assert recording.outcomes == [(A, Outcome.CANCELLED)]


async def test_the_age_of_the_oldest_pass_is_known():
    passes = Passes()
    now = 100.0
    async with running(passes, clock=lambda: now) as controller:
        assert controller.oldest_pass_seconds() == 0
        controller.enqueue(A)
        await passes.wait_for(1)
        now = 107.5
        assert controller.oldest_pass_seconds() == 7.5


async def test_nothing_that_becomes_due_between_two_looks_at_the_clock_is_lost():
    now, seen = 0.0, []

    def clock():
        nonlocal now
        # Time goes on between any two looks, so that some keys become due right between them.
        now += 0.0007
        return now

    async def reconcile(ref):
        seen.append(ref)
        return 0.0035 if len(seen) < 60 else None

    async with running(reconcile, slots=Slots(1), clock=clock) as controller:
        controller.enqueue(A)
        # A key that is lost is never seen again: the wait ends late then, and the count says how far it came.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(120):
                while len(seen) < 60:  # noqa: ASYNC110 - the clock is what this counts
                    await asyncio.sleep(0.001)
    assert seen == [A] * 60


@pytest.mark.parametrize(("error", "level"), [(NamespaceEndingError, "DEBUG"), (WriteRefusedError, "WARNING")])
async def test_a_namespace_that_is_being_deleted_is_nobodys_task(caplog, error, level):
    caplog.set_level("DEBUG", logger="llama_operator.work.controller")
    failed = asyncio.Event()

    async def fails(ref):
        failed.set()
        raise error("refused")

    async with running(fails) as controller:
        controller.enqueue(A)
        await failed.wait()
    assert [record.levelname for record in caplog.records if "refused" in record.message] == [level]
