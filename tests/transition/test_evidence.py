"""The reconcile records its license decisions before it does anything on their ground."""

import json
from dataclasses import replace

import pytest

from llama_operator.decide.observed import Settings
from llama_operator.evidence.chain import GENESIS
from llama_operator.evidence.log import EvidenceError, HashChainLog, NoAnchor
from llama_operator.evidence.verify import verify
from llama_operator.kube import kinds

MODEL = "llama-3.3-70b-fp8-h100"


class Book:
    """Lines, and at each of them how much was there in the cluster."""

    def __init__(self, world):
        self.lines, self.full = [], False
        self._world = world
        self.log = HashChainLog(self._write, NoAnchor(), default_image=Settings().image)

    def _write(self, line):
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines.append((line, [stored.ref.kind for stored in self._world.memory._store]))

    def records(self):
        return [json.loads(line) for line, _ in self.lines]

    def decisions(self):
        return [record["decision"] for record in self.records() if record["event"] == "Decided"]


@pytest.fixture
async def book(world):
    found = Book(world)
    await found.log.begin("operator/1", GENESIS, world.clock())
    world.ports = replace(world.ports, evidence=found.log)
    for node in range(2):
        await world.add_node(f"node-{node}")
    return found


async def test_a_decision_is_recorded_before_anything_is_there(world, book):
    await world.apply_acceptance()
    ref = await world.apply_sample(MODEL)
    await world.reconcile(ref)
    assert book.decisions() == ["Allow"]
    assert kinds.RAY_SERVICE not in book.lines[1][1]
    assert await world.names(kinds.RAY_SERVICE)
    assert book.records()[1]["requester"]["manager"] == "kubectl"


async def test_a_refusal_is_recorded_and_what_unblocks_it_too(world, book):
    ref = await world.apply_sample(MODEL)
    await world.reconcile(ref)
    await world.reconcile(ref)
    await world.apply_acceptance()
    await world.reconcile(ref)
    await world.reconcile(ref)
    assert book.decisions() == ["Deny", "Allow"]
    assert verify(line for line, _ in book.lines).intact


async def test_what_cannot_be_recorded_starts_nothing_and_the_status_says_so(world, book):
    await world.apply_acceptance()
    ref = await world.apply_sample(MODEL)
    book.full = True
    with pytest.raises(EvidenceError):
        await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == []
    live = await world.user.get(ref)
    assert "cannot be recorded" in json.dumps(live["status"])
    book.full = False
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE)


async def test_what_serves_goes_on_while_nothing_can_be_recorded(world, book):
    await world.apply_acceptance()
    ref = await world.apply_sample(MODEL)
    await world.reconcile(ref)
    running = await world.names(kinds.RAY_SERVICE)
    book.full = True
    await world.reconcile(ref)  # the verdict is the same: there is nothing to record
    assert await world.names(kinds.RAY_SERVICE) == running


async def test_the_end_of_a_deployment_is_recorded(world, book):
    await world.apply_acceptance()
    ref = await world.apply_sample(MODEL)
    await world.reconcile(ref)
    await world.user.delete(ref)
    await world.reconcile(ref)
    assert book.records()[-1]["event"] == "Removed"


async def test_nothing_of_a_token_gets_into_a_record(world, book):
    await world.apply_acceptance()
    ref = await world.apply_sample(MODEL, weights={"tokenSecret": {"name": "hub-token-s3cr3t", "key": "token"}})
    await world.reconcile(ref)
    assert "s3cr3t" not in json.dumps(book.records())
