"""What a holder of the Lease leaves to the next: on the twin, with the evidence of license decisions as its use."""

import asyncio
from datetime import UTC, datetime

import pytest

from llama_operator.evidence.anchor import ANNOTATION_HEAD, LeaseAnchor
from llama_operator.kube import kinds
from llama_operator.kube.fenced import NotLeaderError
from llama_operator.kube.handover import Handover
from llama_operator.kube.lease import Leadership, LeaseElection, LeaseTiming, LostLeaseError
from llama_operator.kube.memory import MemoryCluster
from llama_operator.kube.port import Ref

LEASE = Ref(kinds.LEASE, "system", "llama-operator")
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Place:
    """A twin, and processes that want its Lease."""

    def __init__(self):
        self.seconds = 0.0
        self.twin = MemoryCluster(now=lambda: NOW)

    def process(self, identity):
        leadership, handover = Leadership(lambda: self.seconds), Handover(ANNOTATION_HEAD)
        election = LeaseElection(
            self.twin.client("llama-operator"),
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
    assert found.found == ""
    await anchor.hold("a" * 64)
    await one.release()
    two, found, _ = place.process("two")
    await two.acquire()
    assert found.found == "a" * 64


async def test_what_was_left_survives_a_holder_that_is_killed_and_one_that_leaves_nothing(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    await anchor.hold("a" * 64)
    for identity in ("two", "three"):
        waiting, found, _ = place.process(identity)
        await waiting._try()
        place.seconds += 15
        await waiting.acquire()
        assert found.found == "a" * 64
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
    assert found.found == "a" * 64


async def test_what_was_found_stays_what_it_was_while_more_is_left(place):
    one, found, anchor = place.process("one")
    await one.acquire()
    await anchor.hold("a" * 64)
    await anchor.hold("b" * 64)
    assert found.found == ""


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


async def test_many_at_once_share_writes_and_the_last_stays(place):
    one, _, anchor = place.process("one")
    await one.acquire()
    before = len(place.twin.writes)
    await asyncio.gather(*(anchor.hold(f"{number:064x}") for number in range(50)))
    assert await place.head() == f"{49:064x}"
    assert len(place.twin.writes) - before <= 2


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
