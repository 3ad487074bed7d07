"""What a holder of the Lease leaves to the next: on the twin, with the evidence of license decisions as its use."""

import asyncio
from datetime import UTC, datetime

import pytest

from llama_operator.evidence.anchor import ANNOTATION_HEAD, LeaseAnchor
from llama_operator.kube import kinds
from llama_operator.kube.leadership.fenced import NotLeaderError
from llama_operator.kube.leadership.handover import Handover
from llama_operator.kube.leadership.lease import Leadership, LeaseElection, LeaseTiming, LostLeaseError
from llama_operator.kube.port import Ref
from llama_operator.kube.twin.cluster import MemoryCluster

LEASE = Ref(kinds.LEASE, "system", "llama-operator")
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Slow:
    """A cluster that answers after others had their turn, and counts requests."""

    def __init__(self, inner):
        self.inner = inner
        self.requests = []

    async def _wait(self, verb):
        self.requests.append(verb)
        for _ in range(20):
            await asyncio.sleep(0)

    async def get(self, ref):
        await self._wait("get")
        return await self.inner.get(ref)

    async def apply(self, obj, *, force=True, manager=""):
        await self._wait("apply")
        return await self.inner.apply(obj, force=force, manager=manager)

    async def patch(self, ref, operations):
        await self._wait("patch")
        found = await self.inner.patch(ref, operations)
        await self._wait("answer")
        return found


class Place:
    """A twin, and processes that want its Lease."""

    def __init__(self):
        self.seconds = 0.0
        self.twin = MemoryCluster(now=lambda: NOW)

    def process(self, identity, cluster=None):
        leadership, handover = Leadership(lambda: self.seconds), Handover(ANNOTATION_HEAD)
        election = LeaseElection(
            cluster or self.twin.client("llama-operator"),
            LEASE,
            identity,
            timing=LeaseTiming(15, 10, 2),
            leadership=leadership,
            clock=lambda: self.seconds,
            now=lambda: NOW,
            chance=lambda: 0.0,
            handover=handover,
        )
        return election, handover, LeaseAnchor(election, leadership)

    async def lease(self):
        return await self.twin.client("test").get(LEASE)

    async def head(self):
        return ((await self.lease())["metadata"].get("annotations") or {}).get(ANNOTATION_HEAD)


@pytest.fixture
def place():
    return Place()


async def test_the_first_finds_nothing_and_the_next_what_was_left(place):
    one, found, anchor = place.process("one")
    await one.acquire()
    assert found.received == ""
    await anchor.hold("a" * 64)
    await one.release()
    two, found, _ = place.process("two")
    await two.acquire()
    assert found.received == "a" * 64


async def test_what_was_left_survives_a_holder_that_is_killed_and_one_that_leaves_nothing(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    await anchor.hold("a" * 64)
    for identity in ("two", "three"):
        waiting, found, _ = place.process(identity)
        await waiting._try()
        place.seconds += 15
        await waiting.acquire()
        assert found.received == "a" * 64
        assert await place.head() == "a" * 64


async def test_every_term_has_an_id_of_its_own(place):
    terms = []
    for _ in range(2):
        election, _, _ = place.process("one")
        await election.acquire()
        terms.append(election.term)
        await election.release()
    assert terms == ["one/1", "one/2"]


async def test_a_process_that_is_started_again_with_the_same_name_finds_what_it_left(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    await anchor.hold("a" * 64)
    again, found, _ = place.process("one")
    await again.acquire()
    assert found.received == "a" * 64


async def test_what_was_found_stays_what_it_was_while_more_is_left(place):
    one, found, anchor = place.process("one")
    await one.acquire()
    await anchor.hold("a" * 64)
    await anchor.hold("b" * 64)
    assert found.received == ""


async def test_annotations_of_others_stay(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    await place.twin.client("other").apply(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE.name, "namespace": LEASE.namespace, "annotations": {"a.example/b": "c"}},
        }
    )
    await anchor.hold("a" * 64)
    annotations = (await place.lease())["metadata"]["annotations"]
    assert annotations == {"a.example/b": "c", ANNOTATION_HEAD: "a" * 64}


async def test_what_others_put_in_its_place_is_put_right_by_the_next_renewal(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    await anchor.hold("a" * 64)
    forged = {"metadata": {"annotations": {ANNOTATION_HEAD: "b" * 64}}}
    await place.twin.client("other").merge_patch(LEASE, forged)
    assert await place.head() == "b" * 64
    await one._try()
    assert await place.head() == "a" * 64


async def test_many_at_once_share_writes_and_the_last_stays(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    before = len(place.twin.writes)
    await asyncio.gather(*(anchor.hold(f"{number:064x}") for number in range(50)))
    assert await place.head() == f"{49:064x}"
    assert len(place.twin.writes) - before <= 2


async def test_what_is_left_while_a_write_is_under_way_disturbs_nobody(place):
    slow = Slow(place.twin.client("llama-operator"))
    one, _, anchor = place.process("one", slow)
    await one.acquire()
    slow.requests.clear()

    async def later(number):
        for _ in range(number):
            await asyncio.sleep(0)
        await anchor.hold(f"{number:064x}")
        return await place.head()

    heads = await asyncio.gather(*(later(number) for number in range(60)))
    assert all(int(head, 16) >= number for number, head in enumerate(heads))
    assert slow.requests.count("patch") < 10
    assert "get" not in slow.requests


async def test_who_else_writes_the_lease_delays_what_is_left_and_stops_it_not(place):
    slow = Slow(place.twin.client("llama-operator"))
    one, _, anchor = place.process("one", slow)
    await one.acquire()
    await place.twin.client("other").merge_patch(LEASE, {"metadata": {"labels": {"a": "b"}}})
    await anchor.hold("a" * 64)
    assert await place.head() == "a" * 64


async def test_who_lost_the_lease_can_leave_nothing(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    two, _, _ = place.process("two")
    await two._try()
    place.seconds += 15
    await two.acquire()
    with pytest.raises(NotLeaderError):
        anchor.ensure_leading()
    with pytest.raises(NotLeaderError):
        await anchor.hold("b" * 64)
    with pytest.raises(LostLeaseError):
        await one.hand_over("c" * 64)
    assert await place.head() is None


def test_notes_stand_beside_the_text_and_change_nothing_else():
    handover = Handover("example.com/text")
    handover.note("example.com/when", "noon")
    live = {"metadata": {}}
    assert [(each.op, each.path, each.value) for each in handover.patch(live, "words")] == [
        ("add", "/metadata/annotations", {"example.com/when": "noon", "example.com/text": "words"})
    ]
    live = {"metadata": {"annotations": {"example.com/text": "words", "theirs": "kept"}}}
    assert [(each.path, each.value) for each in handover.patch(live, "words")] == [
        ("/metadata/annotations/example.com~1when", "noon")
    ]
    live["metadata"]["annotations"]["example.com/when"] = "noon"
    assert handover.patch(live, "words") == ()
