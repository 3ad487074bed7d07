"""Pods that are refused, or whose containers do not run: in the words of the API server and of kubelets."""

from collections.abc import Mapping
from typing import Any, Final

from gameday.incident import Incident, Play, condition, event, explain, never
from gameday.stage import Stage

_POLICY: Final = "admissionregistration.k8s.io/v1"
_POLICY_SAYS: Final = "workers are not allowed on Fridays"
_NOW: Final = "2026-01-01T00:00:00Z"


def quota(**hard: str) -> dict[str, Any]:
    """A ResourceQuota."""
    names = {name.replace("__", "/").replace("_", "."): value for name, value in hard.items()}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": names}}


def _refused(stage: Stage) -> None:
    """Wait until KubeRay has written that it cannot make pods."""

    def told() -> bool:
        conditions = [
            one
            for cluster in stage.objects("rayclusters.ray.io")
            for one in (cluster.get("status") or {}).get("conditions", ())
        ]
        return any(one["type"] == "ReplicaFailure" and one["status"] == "True" for one in conditions)

    stage.until(told, "KubeRay says ReplicaFailure")
    stage.known()


def _no_gpus(stage: Stage) -> None:
    stage.apply(quota(**{"requests.nvidia.com/gpu": "0"}))


def _on_h100(stage: Stage) -> None:
    stage.serve("DEPLOYING")
    stage.nodes("h100-8", 1)
    stage.deploy(hardware={"accelerator": "H100-80GB"})
    _refused(stage)


def _small_containers(stage: Stage) -> None:
    limits = [{"type": "Container", "max": {"memory": "512Mi"}}]
    stage.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits}})


def _restricted(stage: Stage) -> None:
    stage.plane.api.patch(
        "namespaces", stage.namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    )


def _deploys(stage: Stage) -> None:
    stage.serve("DEPLOYING")
    stage.deploy()
    _refused(stage)


def _serves(stage: Stage) -> None:
    stage.deploy()
    stage.served()
    stage.known()


def _policy_without_workers(stage: Stage) -> None:
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}}
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    worker = "!has(object.metadata.labels) || !('ray.io/node-type' in object.metadata.labels) || "
    worker += "object.metadata.labels['ray.io/node-type'] != 'worker'"
    name = stage.namespace
    stage.plane.apply(
        {
            "apiVersion": _POLICY,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": worker, "message": _POLICY_SAYS}],
            },
        },
        {
            "apiVersion": _POLICY,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": chosen},
        },
    )
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": {"ray.io/node-type": "worker"}},
        "spec": {"containers": [{"name": "probe", "image": "probe"}]},
    }
    stage.until(lambda: stage.refuses(probe), "the policy is known to the API server")


def _policy_gone(stage: Stage) -> None:
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        stage.plane.api.delete(kind, stage.namespace)


def _waits(reason: str, message: str, last: Mapping[str, Any] | None = None) -> Play:
    """The container of the first worker waits with this reason."""

    def cause(stage: Stage) -> None:
        stage.serve("DEPLOYING")
        stage.deploy()
        pod = stage.running("worker")[0]
        stage.known()
        stage.kubelet_says(pod, {"waiting": {"reason": reason, "message": message}}, last)

    return cause


def _not_ready(stage: Stage) -> None:
    for pod in stage.pods():
        stage.kubelet_says(pod, {"running": {"startedAt": _NOW}})
    stage.known()


def _refusal(name: str, title: str, words: str, *, before: Play, cause: Play, **more: Any) -> Incident:
    return Incident(
        name=name,
        title=title,
        before=before,
        cause=cause,
        reasons=("PodsRefused",),
        says=(
            condition("Ready", "False", "PodsRefused", has=(words,)),
            condition("ModelLoaded", "False", has=(words,)),
            event("PodsRefused", has=(words,)),
            explain("cluster", "Failed", has=(words,)),
        ),
        **more,
    )


def _container(
    name: str, title: str, reason: str, words: str, cause: Play, *, told_by: str = "", **more: Any
) -> Incident:
    return Incident(
        name=name,
        title=title,
        cause=cause,
        reasons=(reason,),
        says=(
            condition("Ready", "False", reason, has=(words,)),
            event(told_by or reason, has=(reason if told_by else "", words)),
            explain("cluster", "Failed", has=(words,)),
        ),
        own=True,
        **more,
    )


_OOM: Final = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "startedAt": _NOW, "finishedAt": _NOW}}
_PULL: Final = (
    'Back-off pulling image "acme/serving:9": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack '
    'image "docker.io/acme/serving:9": failed to resolve reference "docker.io/acme/serving:9": not found'
)

INCIDENTS: Final = (
    _refusal(
        "quota-of-gpus",
        "A ResourceQuota allows no GPU",
        "exceeded quota: small",
        before=_no_gpus,
        cause=_on_h100,
        takes=frozenset({"h100-8"}),
    ),
    _refusal(
        "limit-range",
        "A LimitRange allows less memory than a container asks for",
        "maximum memory usage per Container is 512Mi",
        before=_small_containers,
        cause=_deploys,
    ),
    Incident(
        name="pod-security",
        title="The namespace enforces PodSecurity restricted: the pods of the operator comply",
        before=_restricted,
        cause=_serves,
        says=(condition("Ready", "True"), never(event(""))),
    ),
    _refusal(
        "admission-policy",
        "An admission policy of the platform refuses the pods of workers",
        _POLICY_SAYS,
        before=_policy_without_workers,
        cause=_deploys,
        after=_policy_gone,
        own=True,
    ),
    _container(
        "image-not-pulled",
        "A node cannot pull the image",
        "ImageNotPulled",
        "acme/serving:9",
        _waits("ImagePullBackOff", _PULL),
        sampled=True,
    ),
    _container(
        "container-out-of-memory",
        "A container ends again and again for want of memory",
        "ContainerFailed",
        "OOMKilled",
        _waits("CrashLoopBackOff", "back-off 1m20s restarting failed container=ray-worker pod=chat", _OOM),
    ),
    _container(
        "secret-missing",
        "A container names a Secret that is not there",
        "ContainerFailed",
        'secret "hugging-face" not found',
        _waits("CreateContainerConfigError", 'secret "hugging-face" not found'),
    ),
    _container(
        "probe-fails",
        "All pods of a deployment that served run, and their readiness probes fail",
        "ProbeFailed",
        "not ready",
        _not_ready,
        before=_serves,
        told_by="NotReady",
    ),
)
