"""What happens to a deployment: users, KubeRay, pods, clocks, other programs and other versions. Used by `cases`."""

import contextlib
import copy
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import yaml
from hypothesis import strategies as st

from llama_operator.api import meta, paths
from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError, Ref
from support import recordings
from support.fuzzing import schemas
from support.fuzzing.setup import model, node, policy, records
from support.fuzzing.specs import (
    ACCEPTANCES,
    ADDED,
    BASES,
    STRANGE_JSON,
    STRANGE_TEXT,
    Draw,
    apply,
    changed,
    manifest,
    reports,
    statuses,
)
from support.fuzzing.world import NAME, NAMESPACE, REF, Children, World

Check: TypeAlias = Callable[[], Awaitable[None]]
Step: TypeAlias = Callable[[World, Draw], Awaitable[Check | None]]
"""Something that happens; returns what must hold once the world has settled."""

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


_LIMITS = ("tenants", "others", "max_waiting_requests", "house", "revoked_keys")
"""What the replicas are told of a spec that cannot be had, too: it only takes from clients, and a revoked key has to be refused."""


def _but_for_limits(children: Children) -> Children:
    """Specs of children without the limits of clients, which follow every spec."""

    def without(key: tuple[str, str], spec: Any) -> Any:
        if key[0] != kinds.RAY_SERVICE.kind or not isinstance(spec, dict):
            return spec
        config = yaml.safe_load(str(spec.get("serveConfigV2") or "{}"))
        for application in config.get("applications", ()):
            for deployment in application.get("deployments", ()):
                for name in _LIMITS:
                    deployment.get("user_config", {}).pop(name, None)
        return spec | {"serveConfigV2": config}

    return {key: without(key, spec) for key, spec in children.items()}


async def _respec(world: World, draw: Draw) -> Check:
    """Somebody asks for something else. What cannot be had changes nothing of what serves, but for the limits of its clients."""
    live = await world.find(REF)
    before, ready = await world.children(), (await world.conditions()).get("Ready", {}).get("status") == "True"
    old = draw(st.sampled_from(BASES)) if live is None or draw(st.integers(0, 3)) == 3 else live["spec"]
    spec, _ = changed(draw, "LlamaDeployment", old, 4)
    await apply(world, manifest("LlamaDeployment", NAME, spec))

    async def undisturbed() -> None:
        stalled = (await world.conditions()).get("Stalled", {})
        if ready and not world.tampered and stalled.get("status") == "True":
            after = await world.children()
            assert _but_for_limits(after) == _but_for_limits(before), (
                f"a bad spec ({stalled.get('message')}) changed what serves"
            )

    return undisturbed


async def serves(world: World) -> None:
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
        status = draw(reports())
    else:
        message = draw(st.sampled_from(["", "CheckpointRefused: other sizes", "x" * 9000, "é" * 2000, "\x1b[31m"]))
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


_TOLD = ("phase", "reason", "message", "containerStatuses", "initContainerStatuses")
"""What the twin takes whole of the status of a pod."""
_POD_STATES: tuple[Mapping[str, Any], ...] = tuple(
    {name: item["status"][name] for name in _TOLD if name in item["status"]}
    # An apply has no null in it.
    | {"conditions": [{key: told for key, told in one.items() if told} for one in item["status"].get("conditions", ())]}
    for name in recordings.NAMES
    for item in recordings.objects(name, slim=False)
    if item["kind"] == "Pod"
)


async def _pods_fare(world: World, draw: Draw) -> None:
    """A pod of a revision fares well or badly, as pods do; or says something that none would say."""
    services = [
        item["metadata"]["name"] for item in (await world.user.list(kinds.RAY_SERVICE, namespace=NAMESPACE)).items
    ]
    labels = {meta.LABEL_DEPLOYMENT: NAME, "app.kubernetes.io/managed-by": "llama-operator"}
    labels[meta.LABEL_REVISION] = draw(st.sampled_from([*services, "chat-0", ""]))
    labels["ray.io/node-type"] = draw(st.sampled_from(["head", "worker", "worker", "", "other"]))
    name = draw(st.sampled_from(["a", "b", "c"]))
    if draw(st.integers(0, 5)) == 5 and await world.find(Ref(kinds.POD, NAMESPACE, name)) is not None:
        await world.user.delete(Ref(kinds.POD, NAMESPACE, name))
        return
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}}
    spec = {
        "nodeName": draw(st.sampled_from(["node-0", "node-9", ""])),
        "containers": [{"name": "ray-worker", "image": "i"}],
    }
    await world.user.apply(pod | {"metadata": pod["metadata"] | {"labels": labels}, "spec": spec})
    status = draw(st.sampled_from(_POD_STATES))
    if draw(st.booleans()):
        status = status | {draw(st.sampled_from(_TOLD)): draw(STRANGE_JSON)}
    await world.user.apply_status(pod | {"status": json.loads(json.dumps(status))})


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


async def _rolls_out(world: World, draw: Draw) -> None:
    """A new revision is asked for, and comes to serve; its time to drain may pass."""
    live = await world.find(REF)
    if live is None:
        return
    length = draw(st.sampled_from([128, 256, 512, 1024]))
    await apply(
        world, manifest("LlamaDeployment", NAME, paths.merged(live["spec"], {"context": {"maxModelLength": length}}))
    )
    await world.settle()
    if draw(st.booleans()):
        await serves(world)
    world.pass_time(draw(st.sampled_from([0, 1, 301])))


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
    kinds.PERSISTENT_VOLUME_CLAIM,
    kinds.HTTP_ROUTE,
    kinds.INGRESS,
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
    kind = draw(st.sampled_from([kinds.SERVICE, kinds.NETWORK_POLICY, kinds.HTTP_ROUTE, kinds.INGRESS]))
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
    status = draw(statuses("LlamaDeployment"))
    if draw(st.booleans()):
        place = draw(st.sampled_from([*paths.leaves(status), *status, "replicas"]))
        status = paths.merged(status, paths.nested({place: draw(STRANGE_JSON)}))
    written = {"metadata": {"name": NAME, "namespace": NAMESPACE}, "status": _unique(status)}
    old = world.memory.client("llama-operator")
    # A list whose items lack what identifies them is taken by no server, so no pass ever reads one.
    with contextlib.suppress(InvalidError):
        await old.apply_status({"apiVersion": live["apiVersion"], "kind": live["kind"]} | written)


async def _access_check(world: World, draw: Draw) -> None:
    """A Job that asks for access to weights, copies or erases them ends, or says something strange."""
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
            [
                '{"access":"Accessible","repository":"a","revision":"b"}',
                '{"access":"Denied"}',
                '{"verdict":"Verified","bytes":9,"files":1,"commit":"' + "0" * 40 + '"}',
                '{"verdict":"NoSpace","message":"full"}',
                '{"verdict":"Erased"}',
                '{"verdict":"Verified","bytes":-1}',
                "[",
                "",
                "x" * 5000,
            ]
        )
    )
    state = draw(
        st.sampled_from(
            [{"terminated": {"message": word, "exitCode": 1}}, {"waiting": {"reason": "ErrImagePull"}}, {}, "x"]
        )
    )
    labels = {meta.LABEL_ACCESS_CHECK: name, "batch.kubernetes.io/job-name": name}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"labels": labels}}
    container = draw(st.sampled_from(["preflight", "weights"]))
    await world.user.apply(pod | {"spec": {"containers": [{"name": container, "image": "i"}]}})
    await world.user.apply_status(
        pod | {"metadata": metadata, "status": {"containerStatuses": [{"name": container, "state": state}]}}
    )


async def _acceptance(world: World, draw: Draw) -> None:
    """An acceptance changes, or another one comes."""
    name = draw(st.sampled_from(ACCEPTANCES))
    live = await world.find(Ref(kinds.LICENSE_ACCEPTANCE, "", name))
    sample = records()[0]["spec"]
    if draw(st.integers(0, 4)) == 4 and live is not None:
        await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", name))
        return
    spec, _ = changed(draw, "LicenseAcceptance", sample if live is None else live["spec"], 3)
    await apply(world, manifest("LicenseAcceptance", name, spec))


async def _other_model(world: World, draw: Draw) -> None:
    """A LlamaModel comes, changes or goes."""
    name = draw(st.sampled_from(ADDED))
    if draw(st.integers(0, 4)) == 4 and await world.find(Ref(kinds.LLAMA_MODEL, "", name)) is not None:
        await world.user.delete(Ref(kinds.LLAMA_MODEL, "", name))
        return
    await model(world, draw, name)


async def _other_node(world: World, draw: Draw) -> None:
    await node(world, draw, f"node-{draw(st.integers(0, 2))}")


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
    _rolls_out,
    _rolls_out,
    _kuberay_makes_a_cluster,
    _pods_answer,
    _pods_fare,
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
    policy,
    _delete,
)
