"""`kubectl llama history` and `rollback`: what the revisions were, and the way back to one, without losing an edit."""

import asyncio

import pytest

from llama_operator.api import meta
from llama_operator.api.manifest import parse
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, JsonPatch, Ref

REF = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
SPEC_LICENSE = {"acceptance": "acme", "attributionURL": "https://acme.example/about"}
OLD = {"model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"}, "context": {"maxModelLength": 4096}}


SERVE_CONFIG = {
    "applications": [
        {"args": {"engine": {"max_num_seqs": 8}}, "deployments": [{"autoscaling_config": {"max_replicas": 1}}]}
    ]
}
CLUSTER = {"headGroupSpec": {"template": {}}, "workerGroupSpecs": [{"groupName": "h100-80gb"}]}


async def revision(world, number, name, inputs, chosen, **notes):
    annotations = {f"{meta.GROUP}/{key.replace('_', '-')}": value for key, value in notes.items()}
    await world.operator.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": "team-a",
                "labels": {meta.LABEL_DEPLOYMENT: "chat", meta.LABEL_REVISION: name},
                "annotations": annotations,
            },
            "revision": number,
            "data": {"inputs": inputs, "plan": {"chosen": chosen}, "serveConfig": SERVE_CONFIG, "cluster": CLUSTER},
        }
    )


@pytest.fixture
def story(world, serving_facts):
    """Three revisions: the first served, the second was given up, the third is what the spec asks for and serves."""
    chosen, _, spec = serving_facts
    now = {name: spec[name] for name in ("model", "context", "hardware")}

    def build(**status):
        async def write():
            await world.serving(status={"revisions": {"active": world.wanted, "pending": ""}} | status)
            await revision(world, 1, "chat-11111111", OLD, chosen, served_at="2026-03-01T09:30:00Z")
            await revision(
                world,
                2,
                "chat-22222222",
                OLD | {"engine": {"kvCacheDtype": "FP8"}},
                chosen,
                failed_at="2026-03-01T10:30:00Z",
                failure="CUDA error",
                strategy="Recreate",
                strategy_reason="0 are free",
            )
            await revision(world, 3, world.wanted, now, chosen, served_at="2026-03-02T08:30:00Z")

        world.wanted = name_of(world)
        asyncio.run(write())

    return build


def name_of(world):
    async def read():
        await world.deployment()
        return await world.user.get(REF)

    return revision_of(parse(asyncio.run(read()))).name


def test_history_tells_what_each_revision_changed_and_what_became_of_it(world, story):
    story()
    code, found = world.json("history", "chat")
    assert code == 0
    assert [(item["number"], item["state"]) for item in found["revisions"]] == [
        (3, "active"), (2, "failed"), (1, "old"),
    ]  # fmt: skip
    newest, failed, oldest = found["revisions"]
    assert {change["field"] for change in newest["changes"]} == {
        "spec.context.maxModelLength", "spec.engine.kvCacheDtype", "spec.hardware.accelerator",
    }  # fmt: skip
    assert failed["failure"] == "CUDA error"
    assert failed["strategy"] == "Recreate"
    assert oldest["changes"] == []
    assert oldest["servedAt"] == "2026-03-01T09:30:00Z"
    code, out, _ = world.run("history", "chat")
    for words in ("active", "failed", "FP8 2×H100-80GB", "24h ago", "given up: CUDA error", "4096 → 8192"):
        assert words in out


def test_a_pending_revision_is_told_from_the_active_one(world, story):
    story()
    asyncio.run(world.serving(status={"revisions": {"active": "chat-11111111", "pending": name_of(world)}}))
    states = {item["number"]: item["state"] for item in world.json("history", "chat")[1]["revisions"]}
    assert states == {3: "pending", 2: "failed", 1: "active"}


def test_no_history_is_no_error(world):
    asyncio.run(world.deployment())
    code, out, _ = world.run("history", "chat")
    assert code == 0
    assert "has no revision yet" in out
    assert world.json("history", "chat")[1]["revisions"] == []


def test_rollback_writes_the_inputs_of_the_revision_that_served_before_and_nothing_else(world, story):
    story()
    asyncio.run(world.user.merge_patch(REF, {"spec": {"scaling": {"maxReplicas": 3}, "image": "acme/serving:2"}}))
    code, found = world.json("rollback", "chat", "--to-revision", "1")
    assert code == 0
    assert found["written"] is True
    assert found["toRevision"] == {"number": 1, "name": "chat-11111111"}
    live = asyncio.run(world.user.get(REF))
    assert live["spec"] == OLD | {"scaling": {"maxReplicas": 3}, "license": SPEC_LICENSE}
    assert {entry["manager"] for entry in live["metadata"]["managedFields"]} >= {"kubectl-llama"}


def test_the_default_is_the_newest_revision_that_served_and_is_not_asked_for(world, story):
    story()
    assert world.json("rollback", "chat", "--dry-run")[1]["toRevision"]["number"] == 1
    asyncio.run(world.user.merge_patch(REF, {"spec": {"image": "acme/serving:2"}}))
    assert world.json("rollback", "chat", "--dry-run")[1]["toRevision"]["number"] == 3


def test_a_second_copy_of_what_runs_is_no_way_back(world, story, serving_facts):
    """It pins the same on other nodes: going to it, or back from it, would change nothing."""
    story()
    chosen, _, spec = serving_facts
    now = {name: spec[name] for name in ("model", "context", "hardware")}
    served = "2026-03-02T09:00:00Z"
    asyncio.run(revision(world, 4, "chat-44444444", now, chosen, served_at=served, copy_of=world.wanted))
    assert world.json("rollback", "chat", "--dry-run")[1]["toRevision"]["number"] == 1
    for same in ("3", "4"):
        code, _, said = world.run("rollback", "chat", "--dry-run", "--to-revision", same)
        assert code != 0
        assert "there is nothing to roll back" in said


def test_a_dry_run_says_the_same_and_writes_nothing(world, story):
    story()
    before = asyncio.run(world.user.get(REF))
    code, found = world.json("rollback", "chat", "--dry-run")
    assert code == 0
    assert found["written"] is False
    assert found["changes"]
    assert asyncio.run(world.user.get(REF)) == before
    assert "would be rolled back to revision 1" in world.run("rollback", "chat", "--dry-run")[1]


def test_any_revision_can_be_asked_for_also_one_that_was_given_up(world, story):
    story()
    code, _ = world.json("rollback", "chat", "--to-revision", "2")
    assert code == 0
    assert asyncio.run(world.user.get(REF))["spec"]["engine"] == {"kvCacheDtype": "FP8"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to-revision", "9"], "there are: 3, 2, 1"),
        (["--to-revision", "3"], "already: there is nothing to roll back"),
    ],
)
def test_a_revision_that_is_not_there_or_is_asked_for_already_is_refused(world, story, arguments, words):
    story()
    code, _, err = world.run("rollback", "chat", *arguments)
    assert code == 1
    assert words in err


def test_what_is_being_deleted_is_not_rolled_back(world, story):
    story()
    live = asyncio.run(world.user.get(REF))
    marked = JsonPatch("add", "/metadata/finalizers", ["acme.example/keep"])

    async def going():
        await world.user.patch(REF, [marked])
        await world.user.delete(REF)

    asyncio.run(going())
    code, out, err = world.run("rollback", "chat")
    assert (code, out) == (1, "")
    assert "is being deleted" in err
    assert asyncio.run(world.user.get(REF))["spec"] == live["spec"]


def test_without_a_revision_that_served_there_is_nothing_to_go_back_to(world):
    asyncio.run(world.deployment())
    code, _, err = world.run("rollback", "chat")
    assert code == 1
    assert "no older revision that ever served" in err


def test_an_edit_in_between_is_not_lost(world, story):
    story()

    class Edited:
        """Somebody edits the deployment between the read and the write of the rollback."""

        def __init__(self, cluster):
            self.cluster = cluster

        def __getattr__(self, name):
            return getattr(self.cluster, name)

        async def patch(self, ref, operations):
            await world.user.merge_patch(ref, {"spec": {"image": "acme/serving:3"}})
            return await self.cluster.patch(ref, operations)

    world.client = Edited(world.client)
    code, _, err = world.run("rollback", "chat")
    assert code == 1
    assert "nothing was written" in err
    spec = asyncio.run(world.user.get(REF))["spec"]
    assert spec["image"] == "acme/serving:3"
    assert spec["context"] == {"maxModelLength": 8192}


def test_the_patch_tests_the_version_that_was_read(world, story):
    story()
    live = asyncio.run(world.user.get(REF))
    stale = JsonPatch("test", "/metadata/resourceVersion", "1")
    with pytest.raises(ConflictError):
        asyncio.run(world.client.patch(REF, [stale, JsonPatch("add", "/spec/image", "a")]))
    assert asyncio.run(world.user.get(REF)) == live


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "if the manifest is kept in a repository"),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "models", "kustomize.toolkit.fluxcd.io/namespace": "flux"}},
            "flux suspend kustomization models -n flux",
        ),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "models"}}, "flux suspend helmrelease models"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "models:llama-operator.io/..."}}, "Argo CD (models)"),
        ({"annotations": {"meta.helm.sh/release-name": "models"}}, "Helm release models"),
    ],
)
def test_who_will_write_the_newer_spec_again_is_named(world, story, metadata, words):
    story()
    asyncio.run(world.user.merge_patch(REF, {"metadata": metadata}))
    assert words in world.json("rollback", "chat", "--dry-run")[1]["advice"]


@pytest.mark.parametrize("manager", ["argocd-controller", "argocd"])
def test_a_tool_that_only_shows_as_a_writer_is_named_too(world, story, manager):
    story()
    argo = world.memory.client(manager)
    asyncio.run(argo.merge_patch(REF, {"spec": {"activation": "Active"}}))
    assert "Argo CD writes the newer spec again" in world.json("rollback", "chat", "--dry-run")[1]["advice"]
