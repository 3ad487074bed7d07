"""License records on the in-memory cluster: their status is written once, and a model that is added can be deployed."""

from pathlib import Path

import yaml

from llama_operator.cli.shared.documents import documents
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.reconcile.license_records import reconcile_record

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"

ACCEPTANCE = Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-1")
MODEL = Ref(kinds.LLAMA_MODEL, "", "acme-support")
POLICY = Ref(kinds.LICENSE_POLICY, "", "house")


async def say(world, ref):
    return await reconcile_record(world.ports.cluster, ref, catalog=world.ports.catalog, now=world.clock)


async def live(world, ref):
    return await world.user.get(ref)


async def apply_samples(world):
    for name in ("license-acceptance", "llama-model", "license-policy"):
        for obj in documents(SAMPLES / f"{name}.yaml"):
            await world.user.apply(obj)


async def test_every_record_gets_its_status_and_a_second_pass_writes_nothing(world):
    await apply_samples(world)
    for ref in (ACCEPTANCE, MODEL, POLICY):
        await say(world, ref)
        first = await live(world, ref)
        assert {c["status"] for c in first["status"]["conditions"] if c["type"] != "ReviewDue"} == {"True"}
        await say(world, ref)
        assert (await live(world, ref))["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert (await live(world, ACCEPTANCE))["status"]["models"] == ["acme-support"]
    assert (await live(world, POLICY))["status"]["acceptances"] == ["acme-llama-3-1", "acme-llama-3-3"]


async def test_nothing_that_an_administrator_wrote_is_changed(world):
    await apply_samples(world)
    for ref in (ACCEPTANCE, MODEL, POLICY):
        before = await live(world, ref)
        await say(world, ref)
        after = await live(world, ref)
        assert after["spec"] == before["spec"]
        assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_an_acceptance_is_looked_at_again_when_the_day_changes(world):
    await apply_samples(world)
    seconds = await say(world, ACCEPTANCE)
    assert 0 < seconds <= 86_400
    world.clock.advance(seconds)
    assert (world.clock.now.hour, world.clock.now.minute) == (0, 0)


async def test_a_record_that_is_gone_is_no_error(world):
    assert await say(world, Ref(kinds.LLAMA_MODEL, "", "nobody")) is None


async def test_a_model_that_is_added_is_deployed_by_its_name(world):
    sample = yaml.safe_load((SAMPLES / "llama-3.1-8b-l4.yaml").read_text(encoding="utf-8"))
    model = {"name": "acme-support"}
    ref = await world.apply_sample("llama-3.1-8b-l4", model=model)
    status = await world.reconcile(ref)
    found = {c.type: c for c in status.conditions}
    assert found["ModelResolved"].reason == "ModelUnknown"
    await apply_samples(world)
    status = await world.reconcile(ref)
    found = {c.type: c for c in status.conditions}
    assert (found["ModelResolved"].status, found["LicenseAccepted"].status) == ("True", "True")
    (name,) = await world.names(kinds.RAY_SERVICE)
    service = await live(world, Ref(kinds.RAY_SERVICE, sample["metadata"]["namespace"], name))
    config = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
    assert config["source"]["location"] == "acme/support-8b"
    assert config["source"]["revision"] == "0123456789abcdef0123456789abcdef01234567"
    assert config["model_id"] == "Llama-acme-support"
