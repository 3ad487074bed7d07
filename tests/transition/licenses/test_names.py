"""Names that the license refuses: what runs has none of them, and is judged without them."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.passes import condition

SAMPLE, TEAM = "llama-3.1-8b-l4", "team-a"
TUNED = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LlamaModel",
    "metadata": {"name": "acme-tuned"},
    "spec": {
        "source": {"volumeClaim": {"name": "models"}},
        "digest": "0" * 64,
        "lineage": {"derivedFrom": [{"model": "llama-3.1-8b", "kind": "Finetune"}]},
        "servedName": "Llama-Acme-Chat",
    },
}
SPEC = {"model": {"name": "acme-tuned"}, "adapterSlots": {"volumeClaim": "acme-adapters"}}


@pytest.mark.parametrize(
    "wrong",
    [{"endpoint": {"aliases": ["chat"]}}, {"adapters": [{"name": "support", "source": {"path": "a"}}]}],
    ids=["alias", "adapter"],
)
async def test_a_revision_is_judged_without_names_that_only_the_spec_has(world, wrong):
    await world.apply_acceptance()
    await world.user.apply(TUNED)
    await world.add_node("l4", product="NVIDIA-L4", gpus=1)
    ref = await world.apply_sample(SAMPLE, **SPEC)
    await world.reconcile(ref)
    (running,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(running, TEAM)
    assert condition(await world.reconcile(ref), "Ready").status == "True"

    # Beside something that makes another revision: the one that runs is then one of the others.
    await world.apply_sample(SAMPLE, **SPEC, context={"maxModelLength": 4096}, **wrong)
    status = await world.reconcile(ref)

    assert condition(status, "LicenseAccepted").reason == "NamePrefixMissing"
    assert condition(status, "EndpointReady").status == "True"
    # What its license does not allow would not be made again.
    await world.user.delete(Ref(kinds.RAY_SERVICE, TEAM, running))
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [running]
