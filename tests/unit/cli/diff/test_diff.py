"""`kubectl llama diff`: fields with their class, the revision, the plan, and what would happen, in one sentence."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.port import JsonPatch, Ref
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports
from support.rights import WithoutRights

SAMPLE = Path(__file__).resolve().parents[4] / "manifests" / "samples" / "license-acceptance.yaml"
ACCEPTANCE = next(obj for obj in documents(SAMPLE) if obj["spec"]["families"] == ["llama-3.3"]) | {
    "metadata": {"name": "acme"}
}


@pytest.fixture
def diff(world, serving_facts, tmp_path):
    _, _, base = serving_facts

    def run(*more, documents=(), output="json", metadata=None, **spec):
        obj = {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": "chat"} | (metadata or {}),
            "spec": base | spec,
        }
        path = tmp_path / "m.yaml"
        path.write_text(yaml.safe_dump_all([obj, *documents]), encoding="utf-8")
        code, out, err = world.run("diff", "-f", str(path), *more, "-o", output)
        return code, json.loads(out) if output == "json" and out else out, err

    return run


async def served(world, spec=None):
    """A deployment whose first revision serves, made by the reconcile itself."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
    await world.user.apply(ACCEPTANCE)
    await world.deployment(spec=spec)
    ports = Ports(
        cluster=world.operator,
        serving=NoServingReader(),
        catalog=catalog.load(),
        settings=Settings(checks_access=False),
        now=lambda: datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
    )
    await reconcile(ports, ref)
    (service,) = (await world.user.list(kinds.RAY_SERVICE)).items
    running = {"numServeEndpoints": 1, "activeServiceStatus": {"applicationStatuses": {"llama": {"status": "RUNNING"}}}}
    address = {name: service["metadata"][name] for name in ("name", "namespace")}
    await world.kuberay.apply_status(
        {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": address, "status": running}
    )
    await reconcile(ports, ref)
    await reconcile(ports, ref)


def test_the_same_manifest_changes_nothing(world, diff):
    asyncio.run(served(world))
    code, found, _ = diff()
    assert code == 0
    assert found["changes"] == []
    assert found["effect"] == "changes nothing"
    assert found["revision"]["name"] == found["revision"]["running"]


LICENSE = {"acceptance": "acme", "purpose": "Production", "attributionURL": "https://acme.example/about"}
LONGER = {"context": {"maxModelLength": 131072}}
KEYS, OPEN = {"access": {"mode": "Keys"}}, {"access": {"mode": "Open"}}
NEEDS = "; from then on every request needs a key (keys from ConfigMap chat-keys)"
NEEDS_NONE = "; from then on it answers without a key"


def test_what_is_being_deleted_starts_nothing(world, diff):
    asyncio.run(served(world))
    ref = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
    asyncio.run(world.user.patch(ref, [JsonPatch("add", "/metadata/finalizers", ["acme.example/keep"])]))
    asyncio.run(world.user.delete(ref))
    for spec in ({}, {"context": {"maxModelLength": 4096}}):
        assert diff(**spec)[1]["effect"].startswith("starts nothing: the deployment is being deleted")


@pytest.mark.parametrize(
    ("before", "change", "told"),
    [
        ({}, LONGER, ""),
        ({}, KEYS, NEEDS),
        # What serves stayed open when the purpose changed; the next change of anything brings the keys.
        ({}, LONGER | {"license": LICENSE}, NEEDS),
        (KEYS, KEYS | LONGER, ""),
        (KEYS, OPEN, NEEDS_NONE),
        (KEYS, LONGER, NEEDS_NONE),
    ],
)
def test_it_says_what_changes_for_clients(world, diff, serving_facts, before, change, told):
    *_, spec = serving_facts
    asyncio.run(served(world, spec | before))
    _, found, _ = diff(rollout={"strategy": "BlueGreen"}, **change)
    assert "starts revision" in found["effect"]
    assert found["effect"].endswith(told or "drained")


def test_live_fields_change_the_running_cluster_in_place(world, diff):
    asyncio.run(served(world))
    code, found, _ = diff(scaling={"maxReplicas": 4, "targetQueueDepth": 9})
    assert code == 0
    assert {(change["field"], change["class"]) for change in found["changes"]} == {
        ("spec.scaling.maxReplicas", "Live"),
        ("spec.scaling.targetQueueDepth", "Live"),
    }
    assert found["effect"].startswith("changes the running cluster in place, no engine restarts")
    assert found["revision"]["exists"] is True
    assert found["plan"]["running"] == found["plan"]["new"]


def test_a_way_in_from_outside_is_live_and_one_without_keys_is_told_loudly(world, diff):
    asyncio.run(served(world))
    expose = {"hosts": ["llama.acme.example"], "ingress": {"className": "nginx"}}
    _, found, _ = diff(endpoint={"expose": expose})
    assert {(change["field"], change["class"]) for change in found["changes"]} == {
        ("spec.endpoint.expose.hosts", "Live"),
        ("spec.endpoint.expose.ingress.className", "Live"),
    }
    assert found["effect"].startswith(
        "changes the running cluster in place, no engine restarts; a way in from outside is made"
    )
    assert found["effect"].endswith("open to everyone who reaches llama.acme.example: requests need no key")
    assert found["revision"]["exists"] is True


def test_a_restart_field_starts_a_new_revision_with_its_plan_and_strategy(world, diff):
    asyncio.run(served(world))
    code, found, _ = diff(context={"maxModelLength": 131072}, rollout={"strategy": "BlueGreen"})
    assert code == 0
    change = next(change for change in found["changes"] if change["field"] == "spec.context.maxModelLength")
    assert (change["from"], change["to"], change["class"]) == (8192, 131072, "Restart")
    assert found["revision"]["name"] != found["revision"]["running"]
    assert found["revision"]["exists"] is False
    assert found["plan"]["new"]["maxModelLength"] == 131072
    assert found["plan"]["running"]["maxModelLength"] == 8192
    assert found["strategy"]["name"] == "BlueGreen"
    assert f"starts revision {found['revision']['name']} beside {found['revision']['running']}" in found["effect"]


def test_recreate_says_that_nothing_answers_meanwhile(world, diff):
    asyncio.run(served(world))
    _, found, _ = diff(context={"maxModelLength": 131072}, rollout={"strategy": "Recreate"})
    assert found["effect"].startswith(f"stops {found['revision']['running']}")
    assert "nothing answers until it serves" in found["effect"]


def test_suspending_frees_the_hardware(world, diff):
    asyncio.run(served(world))
    assert diff(activation="Suspended")[1]["effect"].startswith("frees all hardware")


def test_a_refused_change_leaves_alone_what_serves(world, diff):
    asyncio.run(served(world))
    code, found, _ = diff(license={"acceptance": "nobody", "attributionURL": "https://acme.example/about"})
    assert code == 4
    assert found["effect"].startswith("what serves goes on serving, nothing else happens: AcceptanceNotFound")
    code, found, _ = diff(hardware={"accelerator": "L4-24GB", "maxGPUs": 1})
    assert code == 3
    assert found["problem"]["message"]


def test_a_new_deployment_is_created(world, diff):
    asyncio.run(world.user.apply(ACCEPTANCE))
    code, found, _ = diff()
    assert code == 0
    assert found["exists"] is False
    assert found["effect"].startswith("creates the deployment: starts revision chat-")


def test_a_record_in_the_files_counts_before_it_is_there(world, diff):
    assert diff()[0] == 4
    assert diff(documents=[ACCEPTANCE])[0] == 0


def test_a_bad_file_is_refused_as_in_plan(world, diff):
    asyncio.run(served(world))
    code, _, err = diff(model={"name": "llama-9"})
    assert code == 2
    assert "spec.model.name" in err
    code, _, err = diff(scaling={"minReplicas": 3, "maxReplicas": 2})
    assert code == 2
    assert "spec.scaling.maxReplicas" in err


def test_a_namespace_that_contradicts_the_command_line_is_refused(world, diff):
    code, _, err = diff("-n", "team-a", metadata={"namespace": "team-b"})
    assert code == 2
    assert "metadata.namespace" in err


def test_the_table_names_fields_classes_revision_and_effect(world, diff):
    asyncio.run(served(world))
    code, out, _ = diff(output="table", context={"maxModelLength": 131072}, scaling={"maxReplicas": 2})
    assert code == 0
    for words in (
        "spec.context.maxModelLength",
        "8192",
        "131072",
        "Restart",
        "Live",
        "revision  chat-",
        "→ stops chat-",
    ):
        assert words in out
    assert "changes nothing" in diff(output="table")[1]


def test_without_the_right_to_see_nodes_the_rest_is_still_told(world, diff):
    asyncio.run(served(world))
    world.client = WithoutRights(world.client, kinds.NODE, kinds.LICENSE_ACCEPTANCE)
    code, found, _ = diff(context={"maxModelLength": 131072})
    assert code == 0
    assert found["plan"]["new"]


def test_without_the_right_to_see_what_runs_nothing_is_claimed_about_it(world, diff):
    asyncio.run(served(world))
    world.client = WithoutRights(world.client, kinds.RAY_SERVICE, kinds.CONTROLLER_REVISION)
    _, found, _ = diff(scaling={"maxReplicas": 2})
    assert found["revision"]["exists"] is None
    assert found["effect"] == "changes the running cluster in place, no engine restarts"
    assert any("jo may not list rayservices" in why for why in found["unknown"])
    _, found, _ = diff(context={"maxModelLength": 131072})
    assert found["effect"].startswith(f"starts revision {found['revision']['name']} in place of ")
    assert "is not known" in diff(output="table", context={"maxModelLength": 131072})[1]


async def redeploys(world, *, ready):
    """Serve calls the application DEPLOYING, as after every change of its bounds; the operator has seen `ready` replicas."""
    (service,) = (await world.user.list(kinds.RAY_SERVICE)).items
    address = {name: service["metadata"][name] for name in ("name", "namespace")}
    deploying = {"activeServiceStatus": {"applicationStatuses": {"llama": {"status": "DEPLOYING"}}}}
    status = {"numServeEndpoints": 1} | deploying
    await world.kuberay.apply_status(
        {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": address, "status": status}
    )
    live = await world.user.get(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat"))
    address = {name: live["metadata"][name] for name in ("name", "namespace")}
    told = {name: live[name] for name in ("apiVersion", "kind")} | {
        "metadata": address,
        "status": live["status"] | {"replicas": 1, "readyReplicas": ready},
    }
    await world.operator.apply_status(told)
    return service["metadata"]["name"]


def test_what_serves_keeps_the_traffic_while_serve_deploys_it_again(world, diff):
    asyncio.run(served(world))
    old = asyncio.run(redeploys(world, ready=1))
    _, found, _ = diff(context={"maxModelLength": 131072}, rollout={"strategy": "BlueGreen"})
    assert f"beside {old} by BlueGreen" in found["effect"]
    assert found["unknown"] == []


def test_what_only_the_pods_know_is_said_and_nothing_claimed_about_it(world, diff):
    asyncio.run(served(world))
    old = asyncio.run(redeploys(world, ready=0))
    _, found, _ = diff(context={"maxModelLength": 131072}, rollout={"strategy": "BlueGreen"})
    assert found["effect"].startswith(f"starts revision {found['revision']['name']} in place of {old}")
    assert found["unknown"] == [f"only the operator can ask the pods of {old} whether replicas are left"]


def test_a_revision_that_waits_for_the_hub_is_told_so_as_the_operator_will_ask(world, diff):
    asyncio.run(world.user.apply(ACCEPTANCE))
    _, found, _ = diff()
    assert found["effect"].endswith("; it starts when the Hub lets its weights be read")
    assert found["strategy"]["name"] == "BlueGreen"
    asyncio.run(served(world))
    _, found, _ = diff(context={"maxModelLength": 131072})
    assert "Hub" not in found["effect"], "this operator says in its status that it does not ask"


def test_a_gated_model_without_a_token_is_refused_as_the_operator_will(world, diff):
    gated = {
        "model": {"name": "llama-3.3-70b-instruct", "precision": "BF16"},
        "hardware": {"accelerator": "H200-141GB"},
    }
    asyncio.run(world.user.apply(ACCEPTANCE))
    code, found, _ = diff(**gated)
    assert (code, found["problem"]["reason"]) == (3, "TokenMissing")


def test_the_table_lists_what_was_not_read(world, diff):
    asyncio.run(served(world))
    world.client = WithoutRights(world.client, kinds.NODE)
    assert "? jo may not list nodes in all namespaces" in diff(output="table", scaling={"maxReplicas": 2})[1]


def test_one_deployment_of_several_is_chosen_by_its_name(world, diff, tmp_path):
    other = next(iter(documents("manifests/samples/tiny-cpu.yaml"))) | {}
    code, found, _ = diff("chat", documents=[ACCEPTANCE, other])
    assert code == 0
    assert found["name"] == "chat"
