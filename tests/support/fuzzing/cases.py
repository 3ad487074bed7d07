"""One fuzz case: a world is drawn, a deployment comes into it, and then things happen to both.

Specs, records and statuses are drawn from the schemas of their CRDs, reports of KubeRay from KubeRay's. Only what a step does
with them is written here.
"""

import asyncio
import copy
import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.api import meta, paths
from llama_operator.api.manifest import parse
from llama_operator.cli.shared.documents import documents
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from support.fuzzing import schemas, validity
from support.fuzzing.world import NAME, NAMESPACE, REF, World

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
Check: TypeAlias = Callable[[], Awaitable[None]]
Step: TypeAlias = Callable[[World, Draw], Awaitable[Check | None]]
"""Something that happens; returns what must hold once the world has settled."""

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
ADDED = ("acme-chat", "acme-base")
"""Names of the LlamaModels of a case."""
PRODUCTS = ("NVIDIA-H100-80GB-HBM3", "NVIDIA-L4", "NVIDIA-L40S", "Tesla-K80", "")
AMOUNTS = ("8", "4", "1", "0", "192", "1k", "100u", "1500m", "2Ki", "1e3", "many", "-1", "", "9" * 40, 8, 1.5, True)
MOST_STEPS = 3
_ANNOTATION = (
    meta.ANNOTATION_TRAFFIC_SINCE,
    meta.ANNOTATION_SERVED_AT,
    meta.ANNOTATION_FAILED_AT,
    meta.ANNOTATION_STRATEGY,
    meta.ANNOTATION_LICENSE,
    meta.ANNOTATION_LICENSE_END,
    meta.ANNOTATION_ATTEMPT,
    meta.ANNOTATION_WEIGHTS_CHECKED_AT,
)
STRANGE_TEXT = st.one_of(
    st.sampled_from(
        [
            *schemas.TIMES,
            "2026-03-02",
            "2026-03-02T09:30:00",
            "soon",
            "",
            "9" * 4301,
            "{}",
            "[" * 3000,
            "null",
            "\x1b[31m",
            "Auto",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
STRANGE_JSON = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), STRANGE_TEXT
    ),
    lambda below: st.one_of(
        st.lists(below, max_size=2), st.dictionaries(st.sampled_from(["a", "name", "plan"]), below, max_size=2)
    ),
    max_leaves=4,
)

_ACCEPTANCES = ("acme-llama-3-1", "acme-llama-3-3", "acme-other")
_LICENSE = {"acceptance": "acme-llama-3-1", "purpose": "Production", "attributionURL": "https://acme.example/about"}
_TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "context": {"maxModelLength": 256}}
BASES: tuple[Mapping[str, Any], ...] = (
    _TINY,
    _TINY | {"scaling": {"minReplicas": 0, "maxReplicas": 4}},
    {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "L40S-48GB"}, "license": _LICENSE},
    {"model": {"name": "llama-3.1-8b"}, "license": _LICENSE, "context": {"maxModelLength": 4096}},
    {"model": {"name": "acme-chat"}, "hardware": {"accelerator": "H100-80GB"}, "context": {"maxModelLength": 256}},
    {
        "model": {"name": "llama-3.3-70b-instruct"},
        "hardware": {"accelerator": "H100-80GB"},
        "license": _LICENSE | {"acceptance": "acme-llama-3-3"},
        "context": {"maxModelLength": 8192},
    },
)


_USUAL = ("tiny-random-llama", "llama-3.1-8b", "llama-3.3-70b-instruct", *ADDED) * 4
"""Names of models that can be had in most cases."""


@functools.cache
def _names() -> tuple[str, ...]:
    return (*ADDED, *(model.id for model in catalog.load().models))


@functools.cache
def _accelerators() -> tuple[str, ...]:
    return ("Auto", *catalog.load().accelerator_names)


@functools.cache
def _hints() -> Mapping[str, st.SearchStrategy[Any]]:
    """Values that exist, by the end of the path of a field, where its schema allows any name."""
    return {
        "model.name": st.sampled_from([*_USUAL, *_USUAL, *_names()]),
        "derivedFrom.model": st.sampled_from(_names()),
        "guardModel": st.sampled_from(_names()),
        "trainedModels": st.sampled_from(["Llama 3 Acme", *_names()[:4]]),
        "acceptance": st.sampled_from(_ACCEPTANCES),
        "supersededBy": st.sampled_from(_ACCEPTANCES),
        "amilies": st.sampled_from([family.id for family in catalog.load().families]),
        "namespaces": st.just(NAMESPACE),
        "accelerator": st.sampled_from(_accelerators()),
        "attributionURL": st.sampled_from(
            ["https://acme.example/about", "http://[", "https://[é]", "http://℀.com", "http:///x"]
        ),
        "numServeEndpoints": st.sampled_from([0, 1, 1, 2]),
        "restartedAt": st.sampled_from(schemas.TIMES[:3]),
    }


def _hint(path: str) -> st.SearchStrategy[Any] | None:
    return next((drawn for end, drawn in _hints().items() if path.endswith(end)), None)


@functools.cache
def _fields(kind: str) -> tuple[tuple[str, Any], ...]:
    """Every field of a spec, by path, with a strategy of its values."""
    spec = validity.ours(kind)["properties"]["spec"]
    return tuple((path, schemas.values(below, _hint, path)) for path, below in schemas.nodes(spec))


@functools.cache
def _status(kind: str) -> st.SearchStrategy[Any]:
    return schemas.values(validity.ours(kind)["properties"]["status"], _hint)


@functools.cache
def _report() -> st.SearchStrategy[Any]:
    return schemas.values(validity.kuberay("rayservices")["properties"]["status"], _hint)


def _changed(draw: Draw, kind: str, spec: Mapping[str, Any], most: int) -> tuple[dict[str, Any], bool]:
    """The spec with some fields drawn anew, and whether it is valid; what a rule refuses is seldom kept."""
    valid = dict(spec)
    for _ in range(draw(st.integers(0, most))):
        path, strategy = draw(st.sampled_from(_fields(kind)))
        tried = paths.merged(valid, paths.nested({path: draw(strategy)}))
        if _parses(kind, tried):
            valid = tried
        elif draw(st.integers(0, 7)) == 7:
            # As one that was accepted under an older definition.
            return tried, False
    return valid, True


def _parses(kind: str, spec: Mapping[str, Any], name: str = NAME) -> bool:
    try:
        parse(json.loads(json.dumps(_object(kind, name, spec))))
    except InvalidManifestError:
        return False
    return True


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    metadata = {"name": name} | ({"namespace": NAMESPACE} if kind == "LlamaDeployment" else {})
    return {"apiVersion": meta.API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


async def _apply(world: World, obj: Object) -> None:
    """Write a whole object, as `kubectl replace` does."""
    ref = Ref(kinds.find(obj["apiVersion"], obj["kind"]), obj["metadata"].get("namespace", ""), obj["metadata"]["name"])  # type: ignore[arg-type]
    live = await world.find(ref)
    if live is None:
        await world.user.apply(obj)
        return
    removed = {name: None for name in live.get("spec", {}) if name not in obj["spec"]}
    await world.user.merge_patch(ref, {"spec": _replacing(live.get("spec", {}), obj["spec"]) | removed})


def _replacing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `new` of `old`."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        below = old.get(name)
        patch[name] = _replacing(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return patch


# --- the world before the deployment --------------------------------------------------------------------------------------


async def _nodes(world: World, draw: Draw) -> None:
    for number in range(draw(st.integers(0, 2))):
        await _node(world, draw, f"node-{number}")


async def _node(world: World, draw: Draw, name: str) -> None:
    product, amount, cpu = (draw(st.sampled_from(each)) for each in (PRODUCTS, AMOUNTS, AMOUNTS))
    labels = {"nvidia.com/gpu.product": product} if product else {}
    address = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    await world.user.apply(address | {"spec": {"unschedulable": True}} if draw(st.integers(0, 9)) == 9 else address)
    status = {"allocatable": {"cpu": cpu, "nvidia.com/gpu": amount}}
    await world.user.apply_status({**address, "metadata": {"name": name}, "status": status})
    for number in range(draw(st.integers(0, 1))):
        held = {"resources": {"limits": {"nvidia.com/gpu": draw(st.sampled_from(AMOUNTS))}}, "name": "c", "image": "i"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-{number}", "namespace": "default"}}
        await world.user.apply(pod | {"spec": {"nodeName": name, "containers": [held]}})


_CHECKPOINT = {
    "source": {"huggingFace": {"repository": "acme/chat", "revision": "a" * 40}},
    "digest": "0" * 64,
    "servedName": "Llama-acme",
}
_SHAPE = {
    "numHiddenLayers": 16,
    "hiddenSize": 2048,
    "intermediateSize": 7168,
    "numAttentionHeads": 32,
    "vocabSize": 99840,
    "maxPositionEmbeddings": 4096,
}


async def _models(world: World, draw: Draw) -> None:
    for name in ADDED[: draw(st.integers(0, 2))]:
        await _model(world, draw, name)


async def _model(world: World, draw: Draw, name: str) -> None:
    base = draw(st.sampled_from(["llama-3.1-8b", "llama-3.2-11b-vision", "llama-4-scout", "llama-2-7b", ""]))
    if base:
        made = _CHECKPOINT | {"lineage": {"derivedFrom": [{"model": base, "kind": "Finetune"}]}}
    else:
        made = _CHECKPOINT | {"licenseFamilies": ["mit"], "architectureFingerprint": _SHAPE}
    spec, _ = _changed(draw, "LlamaModel", made, 3)
    await _apply(world, _object("LlamaModel", name, spec))


@functools.cache
def _records() -> tuple[Object, ...]:
    return tuple(documents(SAMPLES / "license-acceptance.yaml"))


async def _licenses(world: World, draw: Draw) -> None:
    for record in _records():
        await world.user.apply(record)
    if draw(st.integers(0, 3)) == 3:
        await _policy(world, draw)


async def _policy(world: World, draw: Draw) -> None:
    spec, _ = _changed(draw, "LicensePolicy", {}, 3)
    await _apply(world, _object("LicensePolicy", "house", spec))


# --- what happens ---------------------------------------------------------------------------------------------------------


async def _respec(world: World, draw: Draw) -> Check:
    """Somebody asks for something else. What cannot be had changes nothing of what serves."""
    live = await world.find(REF)
    before, ready = await world.children(), (await world.conditions()).get("Ready", {}).get("status") == "True"
    old = draw(st.sampled_from(BASES)) if live is None or draw(st.integers(0, 3)) == 3 else live["spec"]
    spec, _ = _changed(draw, "LlamaDeployment", old, 4)
    await _apply(world, _object("LlamaDeployment", NAME, spec))

    async def undisturbed() -> None:
        stalled = (await world.conditions()).get("Stalled", {})
        if ready and not world.tampered and stalled.get("status") == "True":
            after = await world.children()
            assert after == before, f"a bad spec ({stalled.get('message')}) changed what serves"

    return undisturbed


async def _serves(world: World) -> None:
    """KubeRay and Serve say that all is well."""
    for live in (await world.user.list(kinds.RAY_SERVICE, namespace=NAMESPACE)).items:
        application = {"status": "RUNNING", "message": "", "serveDeploymentStatuses": {"a": {"status": "HEALTHY"}}}
        status = {"numServeEndpoints": 1, "activeServiceStatus": {"applicationStatuses": {"llama": application}}}
        metadata = {"name": live["metadata"]["name"], "namespace": NAMESPACE}
        await world.kuberay.apply_status(
            {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata, "status": status}
        )
    await world.settle()


async def _kuberay_says(world: World, draw: Draw) -> None:
    """KubeRay reports on a RayService."""
    services = (await world.user.list(kinds.RAY_SERVICE, namespace=NAMESPACE)).items
    if not services:
        return
    live = draw(st.sampled_from(services))
    word = draw(st.sampled_from(["RUNNING", "RUNNING", "RUNNING", "DEPLOYING", "DEPLOY_FAILED", "UNHEALTHY", "drawn"]))
    if word == "drawn":
        status = draw(_report())
    else:
        message = draw(st.sampled_from(["", "CheckpointRefused: other sizes", "x" * 9000, "\x1b[31m"]))
        application = {"status": word, "message": message, "serveDeploymentStatuses": {"a": {"status": "HEALTHY"}}}
        status = {
            "numServeEndpoints": draw(st.sampled_from([1, 1, 0, 2])),
            "activeServiceStatus": {"applicationStatuses": {"llama": application}},
        }
    address = {"apiVersion": "ray.io/v1", "kind": "RayService"}
    metadata = {"name": live["metadata"]["name"], "namespace": NAMESPACE}
    await world.kuberay.apply_status(address | {"metadata": metadata, "status": _unique(status)})


def _unique(status: Any) -> Any:
    """A status whose lists by type name each type once, as a server asks."""
    if isinstance(status, dict):
        return {name: _unique(value) for name, value in status.items()}
    if isinstance(status, list) and status and all(isinstance(each, dict) and "type" in each for each in status):
        return list({each["type"]: each for each in status}.values())
    return status


async def _kuberay_makes_a_cluster(world: World, draw: Draw) -> None:
    """KubeRay makes the RayCluster of a RayService, or changes it."""
    services = (await world.user.list(kinds.RAY_SERVICE, namespace=NAMESPACE)).items
    if not services:
        return
    live = draw(st.sampled_from(services))
    spec = copy.deepcopy(live["spec"].get("rayClusterConfig") or {})
    if draw(st.integers(0, 4)) == 4:
        spec["workerGroupSpecs"] = draw(
            st.sampled_from([[], [{}], [{"groupName": "cpu", "minReplicas": -1}], ["x"], "x"])
        )
    metadata = {
        "name": f"{live['metadata']['name']}-abcde",
        "namespace": NAMESPACE,
        "labels": live["metadata"]["labels"],
    }
    owner = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "name": live["metadata"]["name"],
        "controller": True,
    }
    metadata["ownerReferences"] = [owner | {"uid": live["metadata"]["uid"]}]
    await world.kuberay.apply({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": spec})


async def _pods_answer(world: World, draw: Draw) -> None:
    """The pods say how they are; some answers are none."""
    if draw(st.integers(0, 5)) == 5:
        world.pods.body = draw(st.sampled_from([None, b"", b"{", b"\xff", b"null", b"[" * 10_000]))
        return
    services = [
        item["metadata"]["name"] for item in (await world.user.list(kinds.RAY_SERVICE, namespace=NAMESPACE)).items
    ]
    numbers = st.sampled_from(
        [
            "0",
            "1",
            "2",
            "3",
            "7",
            "1e30",
            "-1",
            "9007199254740992",
            "1e400",
            "NaN",
            "true",
            '"1"',
            "null",
            "1.5",
            "1" + "0" * 400,
        ]
    )
    identity = {"namespace": NAMESPACE, "name": NAME, "revision": draw(st.sampled_from([*services, "chat-0"]))}
    names = ("replicas", "target_replicas", "queue_depth", "running_requests", "kv_cache_tokens", "max_concurrency")
    strange = draw(st.sampled_from(["", "", *names]))
    told = ", ".join(f'"{name}": {draw(numbers) if name == strange else draw(st.integers(0, 3))}' for name in names)
    world.pods.body = f'{{"identity": {json.dumps(identity)}, "model_id": "m", {told}}}'.encode()


async def _time(world: World, draw: Draw) -> None:
    """Time passes, or the clock is set."""
    world.pass_time(
        draw(st.sampled_from([1, 16, 301, 3601, 86_401, -60, -7200, 10 * 365 * 86_400, -10 * 365 * 86_400]))
    )


_CHILDREN = (
    kinds.RAY_SERVICE,
    kinds.SERVICE,
    kinds.NETWORK_POLICY,
    kinds.CONTROLLER_REVISION,
    kinds.RAY_CLUSTER,
    kinds.JOB,
)


async def _drift(world: World, draw: Draw) -> None:
    """Somebody deletes or edits what the operator made."""
    kind = draw(st.sampled_from(_CHILDREN))
    items = (await world.user.list(kind, namespace=NAMESPACE)).items
    if not items:
        return
    name = draw(st.sampled_from(items))["metadata"]["name"]
    if draw(st.booleans()):
        await world.user.delete(Ref(kind, NAMESPACE, name))
        return
    world.tampered = True
    patches: list[Mapping[str, Any]] = [
        {"metadata": {"annotations": {draw(st.sampled_from(_ANNOTATION)): draw(STRANGE_TEXT)}}},
        {"metadata": {"labels": {meta.LABEL_REVISION: draw(st.sampled_from(["", "other", None]))}}},
        {"metadata": {"labels": {meta.LABEL_DEPLOYMENT: draw(st.sampled_from(["other", None]))}}},
        {"metadata": {"ownerReferences": None}},
    ]
    if kind in {kinds.SERVICE, kinds.RAY_SERVICE, kinds.NETWORK_POLICY}:
        patches.append({"spec": {draw(st.sampled_from(["selector", "ports", "serveConfigV2", "suspend"])): None}})
    await world.change(kind, name, draw(st.sampled_from(patches)))


async def _record(world: World, draw: Draw) -> None:
    """A ControllerRevision of the deployment holds something else; only who may write everything can do that."""
    world.tampered = world.client.forged = True
    items = (await world.user.list(kinds.CONTROLLER_REVISION, namespace=NAMESPACE)).items
    labels = {meta.LABEL_DEPLOYMENT: NAME, "app.kubernetes.io/managed-by": "llama-operator"}
    name, data = "chat-other", draw(STRANGE_JSON)
    if items:
        live = draw(st.sampled_from(items))
        if draw(st.booleans()):
            name = live["metadata"]["name"]
            await world.user.delete(Ref(kinds.CONTROLLER_REVISION, NAMESPACE, name))
        whole = live["data"] if isinstance(live["data"], dict) else {}
        place = draw(st.sampled_from([*paths.leaves(whole), *whole, ""]))
        data = data if not place else paths.merged(whole, paths.nested({place: data}))
    content = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": data}
    number = draw(st.sampled_from([0, 1, 7, 2**63 - 1]))
    ref = Ref(kinds.CONTROLLER_REVISION, NAMESPACE, name)
    if await world.find(ref) is None:
        await world.user.apply(
            content | {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "revision": number}
        )


async def _foreign(world: World, draw: Draw) -> None:
    """Somebody else has an object with the name of one of ours."""
    world.tampered = True
    kind = draw(st.sampled_from([kinds.SERVICE, kinds.NETWORK_POLICY]))
    if await world.find(Ref(kind, NAMESPACE, NAME)) is None:
        spec = (
            {"selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}
            if kind == kinds.SERVICE
            else {"podSelector": {}}
        )
        await world.user.apply(
            {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": spec,
            }
        )
    balancer = draw(
        st.sampled_from([[], [{"ip": "10.0.0.1"}], [{"hostname": "x", "ports": [{}]}], [{"ip": "h", "ports": "x"}]])
    )
    if kind == kinds.SERVICE:
        address = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE}}
        await world.user.apply_status(address | {"status": {"loadBalancer": {"ingress": balancer}}})


async def _old_status(world: World, draw: Draw) -> None:
    """The status is that of another version, or half of one."""
    live = await world.find(REF)
    if live is None:
        return
    status = draw(_status("LlamaDeployment"))
    if draw(st.booleans()):
        place = draw(st.sampled_from([*paths.leaves(status), *status, "replicas"]))
        status = paths.merged(status, paths.nested({place: draw(STRANGE_JSON)}))
    if not isinstance(conditions := status.get("conditions", []), list) or not all(
        isinstance(c, dict) and "type" in c for c in conditions
    ):
        status.pop("conditions")
    written = {"metadata": {"name": NAME, "namespace": NAMESPACE}, "status": _unique(status)}
    old = world.memory.client("llama-operator")
    await old.apply_status({"apiVersion": live["apiVersion"], "kind": live["kind"]} | written)


async def _access_check(world: World, draw: Draw) -> None:
    """A Job that asks for access to weights ends, or says something strange."""
    items = (await world.user.list(kinds.JOB, namespace=NAMESPACE)).items
    if not items:
        return
    job = draw(st.sampled_from(items))
    ended = draw(st.sampled_from(["Complete", "Failed", "FailureTarget"]))
    condition = {"type": ended, "status": "True", "lastTransitionTime": draw(st.sampled_from([*schemas.TIMES, "soon"]))}
    address = {"apiVersion": "batch/v1", "kind": "Job"}
    name = job["metadata"]["name"]
    metadata = {"name": name, "namespace": NAMESPACE}
    await world.user.apply_status(address | {"metadata": metadata, "status": {"conditions": [condition]}})
    word = draw(
        st.sampled_from(
            ['{"access":"Accessible","repository":"a","revision":"b"}', '{"access":"Denied"}', "[", "", "x" * 5000]
        )
    )
    state = draw(
        st.sampled_from(
            [{"terminated": {"message": word, "exitCode": 1}}, {"waiting": {"reason": "ErrImagePull"}}, {}, "x"]
        )
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"labels": {meta.LABEL_ACCESS_CHECK: name}}}
    await world.user.apply(pod | {"spec": {"containers": [{"name": "preflight", "image": "i"}]}})
    await world.user.apply_status(
        pod | {"metadata": metadata, "status": {"containerStatuses": [{"name": "preflight", "state": state}]}}
    )


async def _acceptance(world: World, draw: Draw) -> None:
    """An acceptance changes, or another one comes."""
    name = draw(st.sampled_from(_ACCEPTANCES))
    live = await world.find(Ref(kinds.LICENSE_ACCEPTANCE, "", name))
    sample = _records()[0]["spec"]
    if draw(st.integers(0, 4)) == 4 and live is not None:
        await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", name))
        return
    spec, _ = _changed(draw, "LicenseAcceptance", sample if live is None else live["spec"], 3)
    await _apply(world, _object("LicenseAcceptance", name, spec))


async def _other_model(world: World, draw: Draw) -> None:
    """A LlamaModel comes, changes or goes."""
    name = draw(st.sampled_from(ADDED))
    if draw(st.integers(0, 4)) == 4 and await world.find(Ref(kinds.LLAMA_MODEL, "", name)) is not None:
        await world.user.delete(Ref(kinds.LLAMA_MODEL, "", name))
        return
    await _model(world, draw, name)


async def _other_node(world: World, draw: Draw) -> None:
    await _node(world, draw, f"node-{draw(st.integers(0, 2))}")


async def _delete(world: World, draw: Draw) -> None:
    """The deployment goes, and may come back."""
    del draw
    if await world.find(REF) is not None:
        await world.user.delete(REF)


STEPS: tuple[Step, ...] = (
    _respec,
    _kuberay_says,
    _kuberay_says,
    _kuberay_says,
    _kuberay_makes_a_cluster,
    _pods_answer,
    _time,
    _time,
    _drift,
    _record,
    _foreign,
    _old_status,
    _access_check,
    _acceptance,
    _other_model,
    _other_node,
    _policy,
    _delete,
)


def run_case(draw: Draw, note: Callable[[str], None]) -> None:
    """Run one case.

    Args:
        draw: Draws a value.
        note: Takes what happened, for people who read a failing case.

    Raises:
        AssertionError: If something does not hold after a pass.
        Exception: Whatever escaped a pass.
    """
    asyncio.run(_run(draw, note))


async def _run(draw: Draw, note: Callable[[str], None]) -> None:
    world = World(checks_access=draw(st.integers(0, 3)) == 3)
    await _nodes(world, draw)
    await _licenses(world, draw)
    await _models(world, draw)
    spec, _ = _changed(draw, "LlamaDeployment", draw(st.sampled_from(BASES)), 4)
    note(f"spec {json.dumps(spec)}")
    await _apply(world, _object("LlamaDeployment", NAME, spec))
    await world.settle()
    if draw(st.integers(0, 3)):
        await _serves(world)
    for _ in range(draw(st.integers(1, MOST_STEPS))):
        step = draw(st.sampled_from(STEPS))
        note(step.__name__)
        check = await step(world, draw)
        await world.settle()
        if check is not None:
            await check()
    match draw(st.integers(0, 5)):
        case 4:
            await world.watch()
        case 5:
            await world.look_at_records()
