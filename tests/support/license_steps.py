"""Plays sequences in time over license records: what people and KubeRay do step by step, with the operator in between.

The steps are data (tests/transition/licenses/sequences.yaml); `STEPS` has the words that a step may begin with. After every
step the operator passes until nothing changes, unless the step says that the operator is down. A guard judges every write.
"""

import json
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
import yaml

from llama_operator.api import rules
from llama_operator.api.manifest import parse
from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import JsonPatch, NotFoundError, Propagation, Ref
from llama_operator.kube.twin.journal import PassThrough, Verb
from llama_operator.reconcile.license_records import reconcile_record
from support.crashing.faults import CrashError

SAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "samples"
SAMPLE, TEAM, NAME, RECORD = "llama-3.3-70b-fp8-h100", "team-a", "chat-70b", "acme-llama-3-3"
GROUP = "llama-operator.io/v1alpha1"
MODEL = {
    "source": {
        "huggingFace": {"repository": "acme/support-70b", "revision": "0123456789abcdef0123456789abcdef01234567"}
    },
    "digest": "0123456789abcdef" * 4,
    "lineage": {"derivedFrom": [{"model": "llama-3.3-70b-instruct", "kind": "Finetune"}]},
    "servedName": "Llama-acme-support",
}
"""A fine-tune of the model that the sequences begin with."""
POLICY = {"tiers": [{"tier": "CommunityLlama31Plus"}], "unlistedTiers": "Refused"}


class Guard:
    """Judges the cluster after every write of the operator. What is forbidden is added while a sequence goes on."""

    def __init__(self, stage, inner):
        self._stage, self._inner = stage, inner

    def before(self, write):
        self._inner.before(write)

    def after(self, write):
        stage, stored = self._stage, {each.ref: each.content for each in self._stage.world.memory._store}
        if write.ref.kind == kinds.RAY_SERVICE:
            started = write.created and (stage.may_start_nothing or write.ref.name in stage.ended)
            assert not started, f"{write.ref.name} is started"
            if write.ref in stored:
                limit = stage.limits.get(write.ref.name)
                assert limit is None or _most(stored[write.ref]) <= limit, f"{write.ref.name} grows"
            gone = write.verb is Verb.DELETE and write.ref.name in stage.kept
            assert not gone, f"{write.ref.name} is stopped"
        if write.ref.kind == kinds.SERVICE and write.ref in stored:
            revision = stored[write.ref]["spec"]["selector"][LABEL_REVISION]
            assert revision not in stage.ended, f"{revision} gets traffic"
            assert not stage.kept or revision in stage.kept or write.ref.name != NAME, "traffic is taken away"
        self._inner.after(write)


class Stage:
    """The world of one sequence.

    Attributes:
        world: The in-memory cluster.
        ended: Revisions that may not be started and get no traffic.
        limits: Most pods that a RayService may have, by name.
        may_start_nothing: Whether any RayService that is created is one too many.
        kept: Revisions that may not lose anything.
        healthy: Revisions that serve; None for all.
    """

    def __init__(self, world):
        self.world = world
        world.compares = False
        self.ended, self.limits, self.kept = set(), {}, set()
        self.may_start_nothing = False
        self.healthy = None
        self.first = ""
        self.refs = [Ref(kinds.LLAMA_DEPLOYMENT, TEAM, NAME)]
        self.operator()

    def operator(self, inner=None):
        """Start the operator anew; `inner` may let it die at one of its writes."""
        inner = inner or PassThrough()
        self.world.ports = self.world.ports_with(
            self.world.memory.client("llama-operator", interceptor=Guard(self, inner))
        )

    async def begin(self, start):
        """Set the scene that the first step finds."""
        world = self.world
        await world.apply_acceptance()
        for node in range(4):
            await world.add_node(f"h100-{node}")
        self.recorded = (await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", RECORD)))["spec"]
        for step in {"licensed": [{"deploy": NAME}], "tuned": _TUNED, "nothing": []}[start]:
            await self.play(step)
        if start != "nothing":
            (self.first,) = await world.names(kinds.RAY_SERVICE)

    async def play(self, step):
        """Take one step, then let the operator see it."""
        (word, value), *more = step.items()
        await STEPS[word](self, value, **dict(more))
        if word != "down":
            await self.drive()

    async def drive(self):
        """Reconcile until nothing changes; whoever is healthy serves."""
        before = -1
        while before != len(self.world.memory.writes):
            before = len(self.world.memory.writes)
            for ref in self.refs:
                await self._pass(ref)
            for item in (await self.world.user.list(kinds.RAY_SERVICE)).items:
                await self._kuberay(item)

    async def _pass(self, ref):
        with suppress(CrashError):
            await self.world.reconcile(ref)
            return
        self.operator()
        await self._pass(ref)

    async def _kuberay(self, item):
        metadata = item["metadata"]
        serves = self.healthy is None or self.alias(metadata["name"]) in self.healthy
        said = {} if serves else {"status": "DEPLOY_FAILED", "endpoints": 0}
        if metadata["labels"].get(LABEL_DEPLOYMENT):
            await self.world.serve(metadata["name"], metadata["namespace"], **said)

    def alias(self, name):
        """How a sequence calls a RayService: `first`, `other`, or its deployment."""
        if name == self.first:
            return "first"
        return "other" if name.startswith(f"{NAME}-") else name.rpartition("-")[0]

    def names(self, aliases):
        """Names of RayServices by what sequences call them."""
        return {self.first if alias == "first" else alias for alias in aliases}

    async def end(self):
        """What a sequence is judged by at its end."""
        world = self.world
        services = (await world.user.list(kinds.RAY_SERVICE)).items
        traffic = "none"
        with suppress(NotFoundError):
            selector = (await world.user.get(Ref(kinds.SERVICE, TEAM, NAME)))["spec"]["selector"]
            traffic = self.alias(selector[LABEL_REVISION]) if selector[LABEL_REVISION] else "none"
        found = {
            "runs": sorted(self.alias(item["metadata"]["name"]) for item in services),
            "traffic": traffic,
            "pods": max((_most(item) for item in services), default=0),
        }
        with suppress(NotFoundError):
            live = await world.user.get(self.refs[0])
            for condition in live.get("status", {}).get("conditions", ()):
                found[condition["type"]] = condition["reason"]
        return found


def _most(service):
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return sum(group["maxReplicas"] for group in groups)


def _sample(name):
    return json.loads(_sample_text(name))


@cache
def _sample_text(name):
    """As JSON: to parse YAML for every step would cost more than the step."""
    return json.dumps(yaml.safe_load((SAMPLES / f"{name}.yaml").read_text(encoding="utf-8")))


def _checked(old, new):
    """What the API server would say about a record: its schema, its rules, and the rules of a change."""
    parsed = parse(new)
    if old is not None:
        before = parse(old)
        for rule in rules.TRANSITIONS:
            if rule.model is type(parsed.spec) and not rule.holds(before.spec, parsed.spec):
                raise InvalidManifestError.of(new["metadata"]["name"], rule.field, rule.message)


async def _live(stage, ref):
    with suppress(NotFoundError):
        return await stage.world.user.get(ref)
    return None


async def _change(stage, kind, name, fields, at_first):
    """Write a cluster-scoped record: as it is, or as `at_first`, but for some fields; null takes a field out."""
    live = await _live(stage, Ref(kind, "", name))
    spec = (live["spec"] if live else at_first) | fields
    obj = {"apiVersion": GROUP, "kind": kind.kind, "metadata": {"name": name}}
    obj["spec"] = {key: _text(value) for key, value in spec.items() if value is not None}
    old = live and obj | {"spec": live["spec"]}
    _checked(old, obj)
    await stage.world.user.apply(obj, force=True)


def _text(value):
    """Dates as a manifest has them: YAML reads them as dates."""
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


async def record(stage, name, **fields):
    await _change(stage, kinds.LICENSE_ACCEPTANCE, name, fields, stage.recorded)


async def model(stage, name, **fields):
    await _change(stage, kinds.LLAMA_MODEL, name, fields, MODEL)


async def policy(stage, name, **fields):
    await _change(stage, kinds.LICENSE_POLICY, name, fields, POLICY)


async def refused(stage, step, because):
    """The API server lets nobody take this step, because of a field."""
    (word, value), *more = step.items()
    with pytest.raises(InvalidManifestError) as refusal:
        await STEPS[word](stage, value, **dict(more))
    assert [problem.path.removeprefix("spec.") for problem in refusal.value.problems] == [because]


async def delete(stage, name, kind="LicenseAcceptance", cascade="background"):
    ref = Ref(kinds.find(GROUP, kind), TEAM if kind == "LlamaDeployment" else "", name)
    if cascade == "orphan":
        await _orphan(stage, ref)
    with suppress(NotFoundError):
        propagation = Propagation.FOREGROUND if cascade == "foreground" else Propagation.BACKGROUND
        await stage.world.user.delete(ref, propagation=propagation)


async def _orphan(stage, ref):
    collector = stage.world.memory.client("generic-garbage-collector")
    for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.CONTROLLER_REVISION):
        for live in (await stage.world.user.list(kind)).items:
            owners = [owner["name"] for owner in live["metadata"].get("ownerReferences", ())]
            if owners == [ref.name]:
                child = Ref(kind, live["metadata"]["namespace"], live["metadata"]["name"])
                await collector.patch(child, [JsonPatch("remove", "/metadata/ownerReferences")])


async def hold(stage, name):
    """Somebody's finalizer keeps the deployment when it is deleted."""
    holder = stage.world.memory.client("backup")
    metadata = {"name": name, "namespace": TEAM, "finalizers": ["backup.example/wait"]}
    await holder.apply({"apiVersion": GROUP, "kind": "LlamaDeployment", "metadata": metadata})


async def deploy(stage, name, **spec):
    """Write a deployment: as it is, or as the sample, but for some fields; null takes a field out."""
    live = await _live(stage, Ref(kinds.LLAMA_DEPLOYMENT, TEAM, name))
    obj = _sample(SAMPLE)
    obj["metadata"]["name"] = name
    obj["spec"] = _text((live["spec"] if live else obj["spec"]) | spec)
    obj["spec"] = {key: value for key, value in obj["spec"].items() if value is not None}
    await stage.world.user.apply(obj, force=True)
    ref = Ref(kinds.LLAMA_DEPLOYMENT, TEAM, name)
    if ref not in stage.refs:
        stage.refs.append(ref)


async def free(stage, name, **spec):
    """Ask for a model that needs no license."""
    wanted = {"model": {"name": "tiny-random-llama"}, "context": {"maxModelLength": 1024}}
    await deploy(stage, name, **(wanted | {"license": {"purpose": "Production"}} | spec))


async def again(stage, name, **spec):
    """Ask for the first model again, as the sample has it."""
    sample = _sample(SAMPLE)["spec"]
    await deploy(
        stage, name, **({key: sample[key] for key in ("model", "context", "license")} | {"image": None} | spec)
    )


async def down(stage, steps):
    """All of this happens while the operator is down."""
    for step in steps:
        (word, value), *more = step.items()
        await STEPS[word](stage, value, **dict(more))


async def restart(stage, _):
    """Another operator takes over, which knows only what the cluster holds."""
    stage.operator()


async def seconds(stage, count):
    """So much time passes. A process that has just begun looks twice before a deadline counts as passed."""
    await stage.drive()
    stage.world.clock.advance(count)


async def clock(stage, moment):
    passed = datetime.fromisoformat(str(moment)) - stage.world.clock()
    stage.world.clock.advance(passed.total_seconds())


async def healthy(stage, aliases):
    stage.healthy = None if aliases == "all" else set(aliases)


async def remove(stage, alias, kind="RayService"):
    """Somebody deletes a child by hand."""
    (name,) = stage.names([alias])
    found = {"RayService": kinds.RAY_SERVICE, "Service": kinds.SERVICE, "ControllerRevision": kinds.CONTROLLER_REVISION}
    with suppress(NotFoundError):
        await stage.world.user.delete(Ref(found[kind], TEAM, NAME if kind == "Service" else name))


async def select(stage, alias):
    """Somebody points the Service at a revision."""
    (name,) = stage.names([alias])
    pointer = "/spec/selector/" + LABEL_REVISION.replace("/", "~1")
    await stage.world.user.patch(Ref(kinds.SERVICE, TEAM, NAME), [JsonPatch("replace", pointer, name)])


async def restore(stage, alias):
    """Somebody applies the RayService of a revision again that was saved before."""
    (name,) = stage.names([alias])
    await stage.world.user.apply(stage.saved[name], force=True)


async def save(stage, alias):
    (name,) = stage.names([alias])
    live = await stage.world.user.get(Ref(kinds.RAY_SERVICE, TEAM, name))
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels")}
    stage.saved = {name: {key: live[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}}


async def admitted(stage, name, *, deletion):
    """Whether admission would let a record be deleted, by what the operator has written about it."""
    for item in (await stage.world.user.list(kinds.LICENSE_ACCEPTANCE)).items:
        ref, ports = Ref(kinds.LICENSE_ACCEPTANCE, "", item["metadata"]["name"]), stage.world.ports
        await reconcile_record(ports.cluster, ref, catalog=ports.catalog, now=stage.world.clock)
    status = (await stage.world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", name)))["status"]
    free_to_go = status.get("deployments", 0) == 0 and "firstNamedOn" not in status
    assert free_to_go is (deletion == "allowed"), status


async def ends(stage, aliases):
    """From now on the right to these is gone."""
    stage.ended, stage.kept = stage.names(aliases), set()


async def stays(stage, aliases):
    """From now on these may go on as they are, and no more."""
    for item in (await stage.world.user.list(kinds.RAY_SERVICE)).items:
        if item["metadata"]["name"] in stage.names(aliases):
            stage.limits[item["metadata"]["name"]] = _most(item)


async def closed(stage, _):
    """From now on nothing may start."""
    stage.may_start_nothing = True


async def opened(stage, _):
    """There is a right again."""
    stage.ended, stage.limits, stage.may_start_nothing = set(), {}, False


async def keeps(stage, aliases):
    """From now on these lose nothing: no write of the operator takes them away or their traffic."""
    stage.kept = stage.names(aliases)


STEPS = {
    word.__name__: word
    for word in (
        *(record, model, policy, refused, delete, hold, deploy, free, again, down, restart, seconds, clock, healthy),
        *(remove, select, save, restore, admitted, ends, stays, closed, opened, keeps),
    )
}
_TUNED = [{"model": "acme-support"}, {"deploy": NAME, "model": {"name": "acme-support"}}]
