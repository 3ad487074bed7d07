"""Every child that somebody deletes or changes comes back, in every state of its deployment: a table.

States x children x verbs. A cell that is not so has its reason beside it. Reads go through the cache of the operator, fed as
its watches feed it: what has lost its label is then out of sight. The local mode has no cache: a few states are tried without.
"""

from contextlib import suppress
from dataclasses import replace

import pytest

from llama_operator.api.meta import ANNOTATION_TRAFFIC_SINCE, LABEL_DEPLOYMENT
from llama_operator.errors import WriteRefusedError
from llama_operator.handlers.watched import WATCHED, kept
from llama_operator.kube import kinds
from llama_operator.kube.cache.cluster import CachedCluster
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.repairs import Repairs

NEW_REVISION = "tiny-3a1b363f"
NAMESPACE, NAME = "default", "tiny"
HEAD_POLICY = ".head"
LICENSED = "llama-3.1-8b-l4"
ROUTES = {
    kinds.HTTP_ROUTE: {"hosts": ["llama.acme.example"], "gateway": {"name": "public", "namespace": "infra"}},
    kinds.INGRESS: {"hosts": ["llama.acme.example"], "ingress": {"tlsSecret": "llama-tls"}},
}
"""What lets requests in from outside, where the spec asks for it."""
CHILDREN = (
    kinds.RAY_SERVICE,
    kinds.SERVICE,
    kinds.NETWORK_POLICY,
    kinds.POD_DISRUPTION_BUDGET,
    kinds.CONTROLLER_REVISION,
    *ROUTES,
)
MANAGED = "app.kubernetes.io/managed-by"


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


class Stage:
    """A deployment that is brought into a state, and what is done to its children there."""

    def __init__(self, world, *, cached, route=None):
        self.world = world
        world.compares = False
        self.spec = {"endpoint": {"expose": ROUTES[route]}} if route in ROUTES else {}
        self.name, self.namespace = NAME, NAMESPACE
        self.cache = None
        if cached:
            self.cache = ObjectCache(index=LABEL_DEPLOYMENT, keep=kept)
            client = world.memory.client("llama-operator")
            cluster = CachedCluster(self.cache, client, kinds=[one.kind for one in WATCHED])
            world.ports = replace(world.ports, cluster=cluster)

    @property
    def ref(self):
        return Ref(kinds.LLAMA_DEPLOYMENT, self.namespace, self.name)

    async def watch(self):
        """What the watches would tell; they select by label."""
        for one in WATCHED if self.cache else ():
            self.cache.replace(one.kind, await self.world.user.list(one.kind, labels=one.labels))

    async def settle(self, passes=3):
        for _ in range(passes):
            await self.watch()
            status = await self.world.reconcile(self.ref)
        return status

    async def apply(self, sample="tiny-cpu", **spec):
        await self.world.apply_sample(sample, **self.spec, **spec)

    async def revisions(self):
        return await self.world.names(kinds.RAY_SERVICE)

    async def serve(self, name, **told):
        await self.world.serve(name, self.namespace, **told)

    async def children(self, kind):
        return {
            item["metadata"]["name"]: item
            for item in (await self.world.user.list(kind, namespace=self.namespace)).items
        }


# States: each brings a deployment there and says which of its children are there for good.


async def starting(stage):
    await stage.apply()


async def serving(stage):
    await stage.apply()
    await stage.settle(1)
    (name,) = await stage.revisions()
    await stage.serve(name)
    await stage.settle()
    return name


async def updating(stage):
    old = await serving(stage)
    await stage.apply(context={"maxModelLength": 512}, rollout={"strategy": "BlueGreen"})
    await stage.settle()
    assert len(await stage.revisions()) == 2
    return old


async def waiting(stage):
    old = await serving(stage)
    await stage.world.ray_cluster(old)
    await stage.apply(context={"maxModelLength": 512}, rollout={"strategy": "Recreate"})


async def draining(stage):
    old = await updating(stage)
    (new,) = set(await stage.revisions()) - {old}
    await stage.serve(new)


async def bad_spec(stage):
    await serving(stage)
    await stage.apply(model={"name": "llama-9"})


async def bad_spec_that_drains(stage):
    await draining(stage)
    await stage.settle()
    await stage.apply(context={"maxModelLength": 99_999})


async def bad_spec_while_updating(stage):
    await updating(stage)
    await stage.apply(model={"name": "llama-9"})


async def too_many_gpus(stage):
    await serving(stage)
    await stage.apply(hardware={"accelerator": "CPU", "maxGPUs": 1}, scaling={"maxReplicas": 9})


async def nothing_fits(stage):
    await serving(stage)
    await stage.apply(model={"name": "llama-3.1-405b"})


async def unreadable(stage):
    await serving(stage)
    await stage.world.user.merge_patch(stage.ref, {"spec": {"context": {"maxModelLength": -1}}})


async def licensed(stage):
    stage.name, stage.namespace = "chat-8b", "team-a"
    await stage.world.apply_acceptance()
    await stage.apply(LICENSED)
    await stage.settle(1)
    (name,) = await stage.revisions()
    await stage.serve(name)
    await stage.settle()


async def license_refused(stage):
    await licensed(stage)
    await edit_acceptance(stage, namespaces=["team-z"])


async def license_ended(stage):
    await licensed(stage)
    await edit_acceptance(stage, state="Terminated")


async def edit_acceptance(stage, **spec):
    for live in (await stage.world.user.list(kinds.LICENSE_ACCEPTANCE)).items:
        address = {name: live[name] for name in ("apiVersion", "kind")} | {
            "metadata": {"name": live["metadata"]["name"]}
        }
        await stage.world.user.apply(address | {"spec": live["spec"] | spec})


async def suspended(stage):
    await serving(stage)
    await stage.apply(activation="Suspended")


async def suspended_with_a_bad_spec(stage):
    await suspended(stage)
    await stage.settle()
    await stage.apply(activation="Suspended", model={"name": "llama-9"})


async def scaled_to_zero(stage):
    await serving(stage)
    await stage.apply(scaling={"mode": "External"}, replicas=0)


async def given_up(stage):
    await updating(stage)
    stage.world.clock.advance(3601)


STATES = (
    starting,
    serving,
    updating,
    waiting,
    draining,
    bad_spec,
    bad_spec_that_drains,
    bad_spec_while_updating,
    too_many_gpus,
    nothing_fits,
    unreadable,
    license_refused,
    license_ended,
    suspended,
    suspended_with_a_bad_spec,
    scaled_to_zero,
    given_up,
)


# Verbs: each does something to one child, as a person or another program would.

EDITS = {
    kinds.RAY_SERVICE: {"serveConfigV2": "applications: []", "rayClusterConfig": {"rayVersion": "1.0.0"}},
    kinds.SERVICE: {"selector": {"app": "web"}},
    kinds.NETWORK_POLICY: {"ingress": [{}]},
    kinds.POD_DISRUPTION_BUDGET: {"minAvailable": 9},
    kinds.HTTP_ROUTE: {"hostnames": ["evil.example"]},
    kinds.INGRESS: {"rules": [{"host": "evil.example"}]},
}


def edit(ref):
    """What somebody writes into the spec of an object. The policy of the head is about what it reaches, and nothing else of it counts."""
    return {"egress": [{}]} if ref.name.endswith(HEAD_POLICY) else EDITS[ref.kind]


async def delete(stage, ref):
    await stage.world.user.delete(ref)


async def edit_spec(stage, ref):
    await stage.world.memory.client("kubectl-edit").merge_patch(ref, {"spec": edit(ref)})


async def force_spec(stage, ref):
    """A tool that applies with force, as GitOps tools may be told to."""
    address = {"apiVersion": ref.kind.api_version, "kind": ref.kind.kind}
    metadata = {"name": ref.name, "namespace": ref.namespace}
    await stage.world.memory.client("argocd-controller").apply(
        address | {"metadata": metadata, "spec": edit(ref)}, force=True
    )


def take_label(name):
    async def verb(stage, ref):
        await stage.world.user.merge_patch(ref, {"metadata": {"labels": {name: None}}})

    return verb


async def take_over(stage, ref):
    """Helm writes its own name there."""
    await stage.world.memory.client("helm").merge_patch(ref, {"metadata": {"labels": {MANAGED: "Helm"}}})


async def take_owner(stage, ref):
    await stage.world.user.merge_patch(ref, {"metadata": {"ownerReferences": None}})


async def give_owner(stage, ref):
    """As after a restore or a takeover: the owner is another one, and an object has one controller only."""
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    metadata = {"name": "theirs", "namespace": stage.namespace}
    other = await stage.world.user.apply(policy | {"metadata": metadata, "spec": {"podSelector": {}}})
    owner = policy | {"name": "theirs", "uid": other["metadata"]["uid"], "controller": True}
    await stage.world.user.merge_patch(ref, {"metadata": {"ownerReferences": [owner]}})


VERBS = {
    "delete": delete,
    "edit the spec": edit_spec,
    "apply the spec with force": force_spec,
    "take the label of the deployment": take_label(LABEL_DEPLOYMENT),
    "take the label of the manager": take_label(MANAGED),
    "replace the label of the manager": take_over,
    "take the owner": take_owner,
    "give another owner": give_owner,
}

ROW = 4
"""Verbs that one operator sees: more changes of one object in a row are a fight, and are not set right at once."""
OLD, NEW = "old", "new"
"""Of two revisions, the one of the sample, and the one that replaces it."""
NOT_SO = {
    (draining, NEW): "requests go back to the revision that still drains, until the new one serves again",
    (draining, OLD): "it was about to go",
    (bad_spec_that_drains, OLD): "it was about to go",
    (bad_spec_while_updating, NEW): "it never served: a start needs a spec without a problem",
    (license_refused, OLD): "what its license refuses goes on, and is not made again (docs/designs/0013)",
}
"""RayServices that are not made again when somebody deletes them, and why. One whose license has ended is not kept at all:
see the test below."""


def content(obj):
    """What of an object is ours: without what the server writes, and what KubeRay does."""
    metadata = {name: obj["metadata"].get(name) or {} for name in ("labels", "annotations", "ownerReferences")}
    # When the selector last changed: after somebody changed it, that is when it was set right.
    metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != ANNOTATION_TRAFFIC_SINCE}
    return {name: obj[name] for name in ("spec", "data") if name in obj} | metadata


async def snapshot(stage):
    return {
        (kind.kind, name): content(obj)
        for kind in CHILDREN
        for name, obj in (await stage.children(kind)).items()
        if name != "theirs"
    }


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.kind)
@pytest.mark.parametrize(
    ("state", "cached"),
    [*((state, True) for state in STATES), *((state, False) for state in (serving, updating, bad_spec))],
    ids=lambda value: getattr(value, "__name__", {True: "cached", False: "direct"}.get(value)),
)
async def test_what_somebody_changes_or_deletes_comes_back(world, state, kind, cached):
    stage = Stage(world, cached=cached, route=kind)
    await state(stage)
    await stage.settle()
    expected = await snapshot(stage)
    assert any(made == kind.kind for made, _ in expected) or kind == kinds.RAY_SERVICE
    lost = []
    for number, (verb, do) in enumerate(VERBS.items()):
        if do in {edit_spec, force_spec} and kind not in EDITS:
            continue
        if number % ROW == 0:
            world.ports = replace(world.ports, repairs=Repairs(world.clock.elapsed))
            await stage.settle(1)
        for name, live in (await stage.children(kind)).items():
            if "deletionTimestamp" in live["metadata"] or name == "theirs":
                continue
            which = NEW if name == NEW_REVISION else OLD
            if kind == kinds.RAY_SERVICE and (state is license_ended or (do is delete and (state, which) in NOT_SO)):
                continue
            if kind == kinds.POD_DISRUPTION_BUDGET and state is license_ended:
                # Nothing has the traffic any more: there is no replica to keep.
                continue
            await do(stage, Ref(kind, stage.namespace, name))
            assert await snapshot(stage) != expected, f"{verb} changed nothing"
            # That more passes leave it so was seen before the first verb.
            for _ in range(2):
                await stage.settle(1)
                found = await snapshot(stage)
                if found == expected:
                    break
            else:
                lost.append((verb, name, [key for key in expected | found if expected.get(key) != found.get(key)]))
                expected = found
    assert not lost


@pytest.mark.parametrize(
    "verb", ["take the label of the deployment", "take the label of the manager", "take the owner"]
)
async def test_no_engine_escapes_the_end_of_its_license_without_a_label(world, verb):
    stage = Stage(world, cached=True)
    await license_ended(stage)
    await stage.settle()
    (name,) = await stage.revisions()
    await VERBS[verb](stage, Ref(kinds.RAY_SERVICE, stage.namespace, name))
    await stage.settle()
    world.clock.advance(301)
    await stage.settle()
    assert await stage.revisions() == []


async def test_with_a_bad_spec_a_drain_comes_to_its_end(world):
    stage = Stage(world, cached=False)
    await bad_spec_that_drains(stage)
    status = await stage.settle()
    assert len(await stage.revisions()) == 2
    assert condition(status, "UpToDate").reason == "ContextTooLong"
    assert 0 < world.outcome.next_check <= 300
    world.clock.advance(300)
    status = await stage.settle()
    assert await stage.revisions() == [NEW_REVISION]
    assert condition(status, "EndpointReady").status == "True"
    before = await world.snapshot()
    await stage.settle()
    assert await world.snapshot() == before


async def test_with_a_bad_spec_what_was_being_started_is_freed_after_its_deadline(world):
    stage = Stage(world, cached=False)
    old = await updating(stage)
    await stage.apply(model={"name": "llama-9"})
    await stage.settle()
    world.clock.advance(3599)
    await stage.settle()
    assert len(await stage.revisions()) == 2
    world.clock.advance(2)
    status = await stage.settle()
    assert await stage.revisions() == [old]
    assert condition(status, "EndpointReady").status == "True"


@pytest.mark.parametrize("state", [bad_spec, too_many_gpus, nothing_fits, suspended_with_a_bad_spec])
async def test_with_a_bad_spec_bounds_stay_as_they_were(world, state):
    stage = Stage(world, cached=False)
    await state(stage)
    before = await stage.children(kinds.RAY_SERVICE)
    await stage.settle()
    await stage.apply(model={"name": "llama-9"}, scaling={"maxReplicas": 50})
    await stage.settle()
    after = await stage.children(kinds.RAY_SERVICE)
    assert {name: obj["spec"] for name, obj in after.items()} == {name: obj["spec"] for name, obj in before.items()}


async def test_suspending_frees_the_hardware_also_with_a_bad_spec(world):
    stage = Stage(world, cached=False)
    await bad_spec(stage)
    await stage.settle()
    await stage.apply(model={"name": "llama-9"}, activation="Suspended")
    await stage.settle()
    assert await stage.revisions() == []
    await stage.apply(model={"name": "llama-9"})
    await stage.settle()
    assert await stage.revisions() == [], "to begin again needs a spec without a problem"


@pytest.mark.parametrize("state", [serving, bad_spec, unreadable])
async def test_an_endpoint_without_its_service_is_not_called_ready(world, state):
    """A write that is refused leaves it away; then status does not say that requests are answered."""
    stage = Stage(world, cached=False)
    await state(stage)
    await stage.settle()
    await world.user.delete(Ref(kinds.SERVICE, NAMESPACE, NAME))
    address = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE}}
    await world.memory.client("somebody").apply(
        address | {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    )
    with pytest.raises(WriteRefusedError):
        await stage.settle(1)
    status = (await world.user.get(stage.ref))["status"]
    (endpoint,) = [each for each in status["conditions"] if each["type"] == "EndpointReady"]
    assert endpoint["status"] != "True"


async def test_a_deployment_that_goes_gets_nothing_back(world):
    stage = Stage(world, cached=False)
    await serving(stage)
    await world.user.merge_patch(stage.ref, {"metadata": {"finalizers": ["acme/backup"]}})
    await world.user.delete(stage.ref)
    await world.user.delete(Ref(kinds.SERVICE, NAMESPACE, NAME))
    await stage.settle()
    assert await world.names(kinds.SERVICE) == []


async def test_bounds_of_a_ray_cluster_come_back(world):
    stage = Stage(world, cached=False)
    name = await serving(stage)
    await world.ray_cluster(name)
    await stage.settle()
    cluster = Ref(kinds.RAY_CLUSTER, NAMESPACE, f"{name}-abcde")
    groups = (await world.user.get(cluster))["spec"]["workerGroupSpecs"]
    await world.user.merge_patch(cluster, {"spec": {"workerGroupSpecs": [groups[0] | {"maxReplicas": 64}]}})
    await stage.settle()
    assert (await world.user.get(cluster))["spec"]["workerGroupSpecs"] == groups


# A fight: somebody changes an object again after each repair.


async def fight(stage, rounds, seconds, act):
    repaired = 0
    for _ in range(rounds):
        await act()
        before = len(stage.world.memory.writes)
        stage.status = await stage.settle(1)
        children = [w for w in stage.world.memory.writes[before:] if w.ref.kind in CHILDREN]
        repaired += len([w for w in children if w.manager == "llama-operator"])
        stage.world.clock.advance(seconds)
    return repaired


@pytest.mark.parametrize("cached", [False, True], ids=["direct", "cached"])
async def test_a_fight_is_told_and_costs_few_writes(world, cached):
    stage = Stage(world, cached=cached)
    await serving(stage)
    service, rival = Ref(kinds.SERVICE, NAMESPACE, NAME), world.memory.client("argocd-controller")
    repaired = await fight(stage, 150, 4, lambda: rival.merge_patch(service, {"spec": {"selector": {"app": "web"}}}))
    assert repaired <= 25, "in ten minutes, against a hundred and fifty changes"
    kept_condition = condition(stage.status, "ObjectsKept")
    assert (kept_condition.status, kept_condition.reason) == ("False", "ChangedByOthers")
    assert "Service tiny was changed (spec.selector.app) by argocd-controller" in kept_condition.message
    assert world.events.told.count(("Warning", "Contested")) == 1
    assert world.events.told.count(("Normal", "Repaired")) == 4
    world.clock.advance(61)
    status = await stage.settle(1)
    assert (await world.user.get(service))["spec"]["selector"].get("app") is None, "it is set right in the end"
    world.clock.advance(601)
    status = await stage.settle(1)
    assert condition(status, "ObjectsKept").status == "True"


class Full:
    """Evidence on a disk that is full."""

    async def append(self, observed, decision):
        raise OSError("no space left on device")


async def test_a_pass_that_fails_still_tells_of_a_fight(world):
    stage = Stage(world, cached=False)
    await serving(stage)
    service, rival = Ref(kinds.SERVICE, NAMESPACE, NAME), world.memory.client("argocd-controller")
    await fight(stage, 20, 4, lambda: rival.merge_patch(service, {"spec": {"selector": {"app": "web"}}}))
    world.ports = replace(world.ports, evidence=Full())
    ref = Ref(kinds.LLAMA_DEPLOYMENT, NAMESPACE, NAME)
    with pytest.raises(OSError, match="no space left"):
        await reconcile(world.ports, ref)
    found = (await world.user.get(ref))["status"]["conditions"]
    told = {each["type"]: each["reason"] for each in found}
    assert (told["Ready"], told["ObjectsKept"]) == ("InternalError", "ChangedByOthers")


async def test_who_deletes_again_and_again_is_told_of_and_costs_few_writes(world):
    stage = Stage(world, cached=False)
    await serving(stage)
    policy = Ref(kinds.NETWORK_POLICY, NAMESPACE, NAME)

    async def act():
        with suppress(NotFoundError):
            await world.user.delete(policy)

    assert await fight(stage, 120, 1, act) <= 15
    assert "NetworkPolicy tiny was deleted" in condition(stage.status, "ObjectsKept").message


async def test_a_change_of_the_spec_waits_for_no_fight(world):
    stage = Stage(world, cached=False)
    name = await serving(stage)
    service = Ref(kinds.RAY_SERVICE, NAMESPACE, name)
    rival = world.memory.client("kubectl-edit")
    await fight(stage, 20, 0, lambda: rival.merge_patch(service, {"spec": {"serveConfigV2": "applications: []"}}))
    await stage.apply(scaling={"maxReplicas": 7})
    await stage.settle(1)
    assert "max_replicas: 7" in (await world.user.get(service))["spec"]["serveConfigV2"]


async def test_what_the_operator_undoes_itself_is_no_repair(world):
    stage = Stage(world, cached=False)
    for _ in range(8):
        await serving(stage)
        await stage.apply(activation="Suspended")
        status = await stage.settle(2)
    assert condition(status, "ObjectsKept").status == "True"
    assert ("Normal", "Repaired") not in world.events.told


async def test_two_operators_with_other_settings_make_nothing_twice(world):
    """Somebody installed a second one in another namespace: each has a Lease of its own."""
    stage = Stage(world, cached=False)
    name = await serving(stage)
    second = world.ports_with(
        world.memory.client("llama-operator"), kuberay_namespace="ray", image="acme/serving:2", ray_version="2.60.0"
    )
    written = len(world.memory.writes)
    for _ in range(60):
        for ports in (world.ports, second):
            await reconcile(ports, stage.ref)
        world.clock.advance(10)
    assert await stage.revisions() == [name]
    assert len(world.memory.writes) - written <= 60, "in ten minutes, of a hundred and twenty passes"
    status = (await world.user.get(stage.ref))["status"]
    told = {each["type"]: each for each in status["conditions"]}
    assert told["Ready"]["status"] == "True"
    assert "NetworkPolicy tiny was changed (spec.ingress)" in told["ObjectsKept"]["message"]


async def test_who_writes_out_what_is_empty_has_changed_nothing(world):
    """KubeRay writes the whole RayService back when it adds its finalizer: with `scaleStrategy: {}` in each group."""
    stage = Stage(world, cached=False)
    ref = Ref(kinds.RAY_SERVICE, NAMESPACE, await serving(stage))
    spec = (await world.user.get(ref))["spec"]["rayClusterConfig"]
    groups = [group | {"scaleStrategy": {}} for group in spec["workerGroupSpecs"]]
    kuberay = world.memory.client("kuberay-operator")
    await kuberay.merge_patch(ref, {"spec": {"rayClusterConfig": {"workerGroupSpecs": groups}}})
    await stage.settle(1)
    assert ("Normal", "Repaired") not in world.events.told
    await kuberay.merge_patch(ref, {"spec": {"rayClusterConfig": {"rayVersion": ""}}})
    await stage.settle(1)
    assert ("Normal", "Repaired") in world.events.told
