"""Cards on the in-memory cluster: what nobody knows is refused until it is declared, and what serves stays as it is planned."""

from pathlib import Path

import pytest

from llama_operator.cli.shared.documents import documents
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
CARD = Ref(kinds.ACCELERATOR, "", "rtx2080ti-11gb")
SMALL = {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "Auto"}, "context": {"maxModelLength": 2048}}


def planned(status):
    return next(each for each in status.conditions if each.type == "Planned")


@pytest.fixture
async def refused(make_world):
    """A deployment on nodes with a card that nobody knows."""
    world = make_world()
    await world.add_node("gpu-1", product="NVIDIA-GeForce-RTX-2080-Ti", gpus=4)
    await world.apply_acceptance()
    ref = await world.apply_sample("llama-3.1-8b-l4", **SMALL)
    condition = planned(await world.reconcile(ref))
    assert (condition.status, condition.reason) == ("False", "AcceleratorUndecided")
    assert "node gpu-1 offers nvidia.com/gpu of product NVIDIA-GeForce-RTX-2080-Ti" in condition.message
    assert await world.names(kinds.RAY_SERVICE) == []
    return world, ref


async def test_a_declared_card_is_planned_on_and_what_is_made_outlives_its_declaration(refused):
    world, ref = refused
    for obj in documents(SAMPLES / "accelerator.yaml"):
        await world.user.apply(obj)
    status = await world.reconcile(ref)
    assert status.plan.chosen.accelerator == "rtx2080ti-11gb"
    made = await world.names(kinds.RAY_SERVICE)
    assert len(made) == 1
    await world.user.delete(CARD)
    before = await world.snapshot()
    status = await world.reconcile(ref)
    assert status.plan.chosen.accelerator == "rtx2080ti-11gb"
    assert await world.names(kinds.RAY_SERVICE) == made
    after = await world.snapshot()
    changed = {kind for kind, _ in before if before[kind, _] != after.get((kind, _))}
    assert changed <= {"LlamaDeployment"}, "only the status tells that its card is not there any more"


async def test_a_card_that_this_version_cannot_read_declares_nothing(refused):
    world, ref = refused
    (card,) = documents(SAMPLES / "accelerator.yaml")
    await world.user.apply(card | {"spec": card["spec"] | {"vendor": "Newcomer"}})
    assert planned(await world.reconcile(ref)).reason == "AcceleratorUndecided"
