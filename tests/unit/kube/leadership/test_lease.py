"""Leader election on the twin, with a clock that only the test moves."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.leadership.fenced import FencedCluster, NotLeaderError
from llama_operator.kube.leadership.lease import Leadership, LeaseElection, LeaseTiming, LostLeaseError
from llama_operator.kube.port import KubeError, Ref
from llama_operator.kube.twin.cluster import MemoryCluster

LEASE = Ref(kinds.LEASE, "system", "llama-operator")
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TIMING = LeaseTiming(duration=15, renew=10, retry=2)


class World:
    """A clock, and sleepers that wake when it is moved."""

    def __init__(self):
        self.seconds = 1000.0
        self.twin = MemoryCluster(now=self.now)
        self._sleepers = []

    def clock(self):
        return self.seconds

    def now(self):
        return START + timedelta(seconds=self.seconds)

    async def sleep(self, seconds):
        event = asyncio.Event()
        self._sleepers.append((self.seconds + seconds, event))
        await event.wait()

    async def settle(self):
        for _ in range(50):
            await asyncio.sleep(0)

    async def forward(self, seconds):
        until = self.seconds + seconds
        await self.settle()
        while due := sorted((each for each in self._sleepers if each[0] <= until), key=lambda each: each[0]):
            self.seconds = max(self.seconds, due[0][0])
            self._sleepers.remove(due[0])
            due[0][1].set()
            await self.settle()
        self.seconds = until

    def candidate(self, identity, *, cluster=None):
        leadership = Leadership(self.clock)
        election = LeaseElection(
            cluster or self.twin.client("llama-operator"),
            LEASE,
            identity,
            timing=TIMING,
            leadership=leadership,
            clock=self.clock,
            now=self.now,
            chance=lambda: 0.0,
            sleep=self.sleep,
        )
        return election, leadership

    async def spec(self):
        return (await self.twin.client("test").get(LEASE))["spec"]


class Broken:
    """A cluster that can be cut off."""

    def __init__(self, inner):
        self.inner = inner
        self.cut = False

    def _ask(self):
        if self.cut:
            raise KubeError("no route to host")

    async def get(self, ref):
        self._ask()
        return await self.inner.get(ref)

    async def apply(self, obj, *, force=True, manager=""):
        return await self.inner.apply(obj, force=force, manager=manager)

    async def patch(self, ref, operations):
        self._ask()
        return await self.inner.patch(ref, operations)


@pytest.fixture
def world():
    return World()


async def start(world, identity, **options):
    election, leadership = world.candidate(identity, **options)
    task = asyncio.create_task(election.acquire())
    await world.settle()
    return election, leadership, task


async def test_the_first_gets_the_lease_and_the_second_waits(world):
    _, first, _ = await start(world, "one")
    _, second, waiting = await start(world, "two")
    assert first.seconds_left() == 10
    assert second.seconds_left() <= 0
    assert not waiting.done()
    assert (await world.spec())["holderIdentity"] == "one"
    waiting.cancel()


async def test_of_many_that_start_at_once_one_gets_it(world):
    found = [world.candidate(f"replica-{number}") for number in range(5)]
    tasks = [asyncio.create_task(election.acquire()) for election, _ in found]
    await world.settle()
    assert sum(leadership.seconds_left() > 0 for _, leadership in found) == 1
    for task in tasks:
        task.cancel()


async def test_a_holder_that_renews_keeps_it(world):
    one, leads, _ = await start(world, "one")
    _, second, waiting = await start(world, "two")
    keeping = asyncio.create_task(one.keep())
    await world.forward(120)
    assert leads.seconds_left() > 0
    assert second.seconds_left() <= 0
    assert (await world.spec())["leaseTransitions"] == 1
    keeping.cancel()
    waiting.cancel()


async def test_after_the_death_of_the_holder_another_takes_over_within_duration_and_retry(world):
    await start(world, "one")
    _, second, waiting = await start(world, "two")
    await world.forward(14.9)
    assert not waiting.done()
    await world.forward(2.2)
    assert waiting.done()
    assert second.seconds_left() > 0
    assert await world.spec() | {"renewTime": "", "acquireTime": ""} == {
        "holderIdentity": "two",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 2,
        "renewTime": "",
        "acquireTime": "",
    }


async def test_two_never_hold_it_for_certain_at_the_same_time(world):
    _, first, _ = await start(world, "one")
    _, second, waiting = await start(world, "two")
    for _ in range(300):
        await world.forward(0.1)
        assert not (first.seconds_left() > 0 and second.seconds_left() > 0)
    assert second.seconds_left() > 0 or waiting.done()


@pytest.mark.parametrize("written", [{"leaseTransitions": 2**31 - 1}, {"leaseDurationSeconds": 2**31 - 1}])
async def test_nothing_that_somebody_writes_into_the_lease_keeps_all_others_out(world, written):
    _, _, first = await start(world, "one")
    await first
    somebody = world.twin.client("kubectl-edit")
    await somebody.merge_patch(LEASE, {"spec": written})
    election, _, second = await start(world, "two")
    await world.forward(3600 + TIMING.retry)
    assert second.done()
    spec = await world.spec()
    assert spec["holderIdentity"] == "two"
    assert 0 <= spec["leaseTransitions"] < 2**31, "the API has no larger number"
    assert election.term == f"two/{spec['leaseTransitions']}"


async def test_a_lease_that_is_given_back_is_taken_at_the_next_try(world):
    one, first, _ = await start(world, "one")
    _, second, waiting = await start(world, "two")
    await one.release()
    assert first.seconds_left() <= 0
    await world.forward(2.1)
    assert waiting.done()
    assert second.seconds_left() > 0


async def test_releasing_what_another_holds_changes_nothing(world):
    await start(world, "one")
    two, _ = world.candidate("two")
    await two.release()
    assert (await world.spec())["holderIdentity"] == "one"


async def test_a_holder_that_cannot_renew_stops_before_others_may_start(world):
    cluster = Broken(world.twin.client("llama-operator"))
    one, leads, _ = await start(world, "one", cluster=cluster)
    keeping = asyncio.create_task(one.keep())
    cluster.cut = True
    await world.forward(9.9)
    assert leads.seconds_left() > 0
    await world.forward(0.2)
    assert leads.seconds_left() <= 0
    with pytest.raises(LostLeaseError, match="not renewed"):
        await keeping


async def test_a_short_outage_does_not_cost_the_lease(world):
    cluster = Broken(world.twin.client("llama-operator"))
    one, leads, _ = await start(world, "one", cluster=cluster)
    keeping = asyncio.create_task(one.keep())
    cluster.cut = True
    await world.forward(6)
    cluster.cut = False
    await world.forward(30)
    assert leads.seconds_left() > 0
    keeping.cancel()


async def test_a_holder_that_slept_past_the_end_knows_that_it_lost_it_before_it_asks(world):
    one, leads, _ = await start(world, "one")
    _, _, waiting = await start(world, "two")
    await world.forward(20)
    assert waiting.done()
    assert leads.seconds_left() <= 0
    keeping = asyncio.create_task(one.keep())
    await world.forward(3)
    with pytest.raises(LostLeaseError):
        await keeping
    assert (await world.spec())["holderIdentity"] == "two"


async def test_the_wall_clock_of_another_machine_does_not_matter(world):
    ahead = world.candidate("ahead")[0]
    ahead._now = lambda: world.now() + timedelta(days=3650)
    await ahead.acquire()
    _, _, waiting = await start(world, "two")
    await world.forward(17.1)
    assert waiting.done()


async def test_an_outage_at_the_start_is_waited_for(world):
    cluster = Broken(world.twin.client("llama-operator"))
    cluster.cut = True
    _, leads, waiting = await start(world, "one", cluster=cluster)
    await world.forward(20)
    cluster.cut = False
    await world.forward(3)
    assert waiting.done()
    assert leads.seconds_left() > 0


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "chat", "namespace": "team-a"},
    "spec": {"ports": [{"port": 8000}]},
}


async def test_without_the_lease_nothing_is_written(world):
    fenced = FencedCluster(world.twin.client("llama-operator"), Leadership(world.clock))
    ref = Ref(kinds.SERVICE, "team-a", "chat")
    for write in (
        fenced.apply(SERVICE),
        fenced.apply_status(SERVICE),
        fenced.patch(ref, ()),
        fenced.delete(ref),
    ):
        with pytest.raises(NotLeaderError):
            await write
    assert world.twin.writes == ()
    assert (await fenced.list(kinds.SERVICE)).items == ()


async def test_with_the_lease_writes_go_through_until_it_ends(world):
    leadership = Leadership(world.clock)
    leadership.hold_until(world.clock() + 10)
    fenced = FencedCluster(world.twin.client("llama-operator"), leadership)
    await fenced.apply(SERVICE)
    world.seconds += 10
    with pytest.raises(NotLeaderError):
        await fenced.apply(SERVICE)
    assert len(world.twin.writes) == 1


class NeverAnswers:
    async def apply(self, obj, *, force=True, manager=""):
        await asyncio.Event().wait()


async def test_a_write_that_is_under_way_when_the_lease_ends_is_cancelled(world):
    leadership = Leadership(world.clock)
    leadership.hold_until(world.clock() + 0.01)
    with pytest.raises(NotLeaderError, match="during a write"):
        await FencedCluster(NeverAnswers(), leadership).apply(SERVICE)


async def test_a_standby_says_once_whom_it_waits_for_and_until_when(world, caplog):
    caplog.set_level("INFO", logger="llama_operator.kube.leadership.lease")
    first, _, _ = await start(world, "one")
    keeping = asyncio.create_task(first.keep())
    _, _, waiting = await start(world, "two")
    await world.forward(30)
    told = [record.getMessage() for record in caplog.records if "standby" in record.getMessage()]
    assert told == [
        "standby; one holds Lease system/llama-operator until 2026-03-02T09:46:55Z, or longer if it renews it"
    ]
    keeping.cancel()
    await first.release()
    await world.forward(5)
    assert waiting.done()
    _, _, _ = await start(world, "three")
    assert "standby; two holds" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("holds", [True, False], ids=["holder", "standby"])
async def test_a_store_that_was_put_back_ends_the_process_so_that_it_reads_everything_again(world, holds):
    seen = Broken(world.twin.client("llama-operator"))
    other, _ = world.candidate("other")
    one, leadership = world.candidate("one", cluster=seen)
    if not holds:
        await other.acquire()
    getting = asyncio.create_task(one.acquire())
    await world.settle()
    keeping = asyncio.create_task((one if holds else other).keep())
    await world.forward(20)
    older = MemoryCluster(now=world.now)
    # In the older state `other` holds it.
    before, _ = World.candidate(world, "other", cluster=older.client("llama-operator"))
    await before.acquire()
    seen.inner = older.client("llama-operator")
    await world.forward(20)
    with pytest.raises(LostLeaseError, match="put back"):
        await (keeping if holds else getting)
    assert leadership.seconds_left() <= 0
    keeping.cancel()
