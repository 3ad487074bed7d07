"""Which kinds are watched, which LlamaDeployments a change of each concerns, and what the cache keeps of an object.

Used by all of `handlers`. A new kind is one line here and one handler in `registry`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final

from llama_operator.api.readings import mapping, mappings, text
from llama_operator.desired.naming import MANAGER
from llama_operator.kube import kinds
from llama_operator.kube.port import NO_LABELS, Kind, Object
from llama_operator.observe.requester import SCALE

_OURS: Final[Mapping[str, str]] = MappingProxyType({"app.kubernetes.io/managed-by": MANAGER})

_ONLY_METADATA: Final = frozenset({"f:metadata", "f:status"})
_BOUNDS: Final = ("groupName", "minReplicas", "maxReplicas", "replicas", "numOfHosts")


class Concerns(Enum):
    """Which objects a change concerns."""

    ITSELF = auto()
    """The LlamaDeployment that changed."""
    ITS_DEPLOYMENT = auto()
    """The LlamaDeployment that the label llama-operator.io/deployment names."""
    ITS_DEPLOYMENT_IF_NEWS = auto()
    """The same, if a fact changed that it looks at."""
    ITS_USERS = auto()
    """The LlamaDeployments that own it or say that they use it, before the change and after."""
    DEPLOYMENTS_THAT_NAME_IT = auto()
    """The LicenseAcceptance, others that count with it, and the LlamaDeployments that may rest on one of them."""
    LICENSES = auto()
    """All LlamaDeployments and all license records, if the spec of the object changed."""
    HARDWARE = auto()
    """All LlamaDeployments, and what nodes are known to offer, if the spec of the object changed."""
    ALL_DEPLOYMENTS = auto()
    """All LlamaDeployments, if a fact changed that they look at."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind that is watched.

    Attributes:
        kind: Which.
        concerns: Which objects a change concerns.
        labels: Only objects with these labels are asked for.
        only_of_deployments: Whether the operator also reads others of the kind, from the server: all pods of a node, say.
        needed: Whether nothing can be decided without it; what only tells more may be left out where a right is missing.
        without: What is missing where it is left out, for the log.
    """

    kind: Kind
    concerns: Concerns
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    only_of_deployments: bool = False
    needed: bool = True
    without: str = "less is known of why a model does not run"


_NO_WAY_IN: Final = "no deployment gets a way in from outside by them"
_NO_COPIES: Final = "no weights are copied into claims"
_NO_BUDGET: Final = "nothing keeps a drain of several nodes from taking several replicas at once"

WATCHED: Final = (
    Watched(kinds.LLAMA_DEPLOYMENT, Concerns.ITSELF),
    Watched(kinds.RAY_SERVICE, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.RAY_CLUSTER, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.CONTROLLER_REVISION, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.SERVICE, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.NETWORK_POLICY, Concerns.ITS_DEPLOYMENT, _OURS),
    # Younger than 0.1.0, as the right to write them.
    Watched(kinds.POD_DISRUPTION_BUDGET, Concerns.ITS_DEPLOYMENT, _OURS, needed=False, without=_NO_BUDGET),
    # A platform may give no right to routes: then deployments are reached from inside the cluster only.
    Watched(kinds.INGRESS, Concerns.ITS_DEPLOYMENT, _OURS, needed=False, without=_NO_WAY_IN),
    Watched(kinds.HTTP_ROUTE, Concerns.ITS_DEPLOYMENT, _OURS, needed=False, without=_NO_WAY_IN),
    Watched(kinds.JOB, Concerns.ITS_DEPLOYMENT, _OURS),
    # Younger than 0.1.0, as the right to it. Without it no deployment can ask for copies of weights.
    Watched(kinds.PERSISTENT_VOLUME_CLAIM, Concerns.ITS_USERS, _OURS, needed=False, without=_NO_COPIES),
    # Before 0.1.0 there was no right to watch them: an operator may be newer than its roles.
    Watched(kinds.POD, Concerns.ITS_DEPLOYMENT_IF_NEWS, _OURS, only_of_deployments=True, needed=False),
    Watched(kinds.LICENSE_ACCEPTANCE, Concerns.DEPLOYMENTS_THAT_NAME_IT),
    Watched(kinds.LLAMA_MODEL, Concerns.LICENSES),
    Watched(kinds.LICENSE_POLICY, Concerns.LICENSES),
    # Younger than 0.1.0, as the right to watch them.
    Watched(kinds.ACCELERATOR, Concerns.HARDWARE, needed=False),
    Watched(kinds.NODE, Concerns.ALL_DEPLOYMENTS),
)
"""In the order in which they are listed at the start."""
BY_KIND: Final = {watched.kind: watched for watched in WATCHED}

RECORDS: Final = (kinds.LICENSE_ACCEPTANCE, kinds.LLAMA_MODEL, kinds.LICENSE_POLICY)
"""Kinds that administrators write and the operator only comments on, in their status."""


def kept(kind: Kind, obj: Object) -> Object:
    """What the cache keeps of an object: without what is large and never read.

    managedFields are half of many an object; only who wrote the spec of a LlamaDeployment is read, and which stranger wrote
    an object of ours last. A node lists every image that it holds. A RayCluster repeats its RayService, and only its bounds
    are compared, and its conditions read. Of a pod matters where it is, and what keeps it from running.
    """
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    entries = mappings(obj["metadata"].get("managedFields"))
    if kind == kinds.LLAMA_DEPLOYMENT:
        metadata["managedFields"] = _spec_writers(entries)
    elif _is_child(kind) and (last := _last_stranger(entries)):
        metadata["managedFields"] = last
    slim = obj | {"metadata": metadata}
    if kind == kinds.RAY_CLUSTER:
        groups = mapping(obj.get("spec")).get("workerGroupSpecs")
        slim["spec"] = {
            "workerGroupSpecs": [
                {name: one[name] for name in _BOUNDS if name in one}
                # What is no group keeps its place: groups are patched by their position.
                for one in map(mapping, groups if isinstance(groups, list) else ())
            ]
        }
        slim.pop("status", None)
        if conditions := _conditions(obj, _WORDS):
            slim["status"] = {"conditions": conditions}
    if kind == kinds.NODE:
        status = mapping(obj.get("status"))
        slim["status"] = {name: status[name] for name in ("allocatable", "capacity") if name in status}
        # The times of its heartbeats stay out.
        if ready := [one for one in _conditions(obj, _TURN) if one.get("type") == "Ready"]:
            slim["status"]["conditions"] = ready
    return _pod(obj, metadata) if kind == kinds.POD else slim


_TURN: Final = ("type", "status", "lastTransitionTime")
_WORDS: Final = ("type", "status", "reason", "message")


def _conditions(obj: Object, names: Iterable[str]) -> list[dict[str, Any]]:
    """Some fields of the conditions of an object."""
    conditions = mappings(mapping(obj.get("status")).get("conditions"))
    return [{name: one[name] for name in names if name in one} for one in conditions]


_POD_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
)
_POD_CONDITIONS: Final = frozenset({"PodScheduled", "PodReadyToStartContainers", "Ready"})
_POD_STATUS: Final = ("phase", "reason", "message")
_CONTAINER: Final = ("name", "image", "ready", "state", "lastState")
_CONTAINERS: Final = ("initContainerStatuses", "containerStatuses")


def _pod(obj: Object, metadata: Mapping[str, Any]) -> Object:
    """What the cache keeps of a pod: one is 10 kB, and there are as many as all deployments have."""
    status, spec = mapping(obj.get("status")), mapping(obj.get("spec"))
    conditions = _conditions(obj, dict.fromkeys((*_TURN, *_WORDS)))
    images = [{"image": volume["image"]} for volume in mappings(spec.get("volumes")) if "image" in volume]
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": {name: metadata[name] for name in _POD_METADATA if name in metadata},
        "spec": {"nodeName": spec.get("nodeName")} | ({"volumes": images} if images else {}),
        "status": {
            **{name: status[name] for name in _POD_STATUS if name in status},
            "conditions": [one for one in conditions if text(one.get("type")) in _POD_CONDITIONS],
            **{
                part: [{name: one[name] for name in _CONTAINER if name in one} for one in mappings(status.get(part))]
                for part in _CONTAINERS
                if part in status
            },
        },
    }


def _is_child(kind: Kind) -> bool:
    return kind in BY_KIND and BY_KIND[kind].concerns is Concerns.ITS_DEPLOYMENT


def _spec_writers(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who wrote the spec and when, without the single fields, which only a server needs."""
    return [
        {name: entry.get(name, "") for name in ("manager", "time", "subresource")} | {"fieldsV1": {"f:spec": {}}}
        for entry in entries
        if text(entry.get("subresource")) in {"", SCALE} and "f:spec" in mapping(entry.get("fieldsV1"))
    ]


def _last_stranger(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who last wrote an object of ours, other than us and its status: told where somebody keeps changing it."""
    foreign = (one for one in entries if one.get("manager") != MANAGER and not one.get("subresource"))
    changed = (one for one in foreign if set(mapping(one.get("fieldsV1"))) - _ONLY_METADATA or _labels(one))
    last = max(changed, key=lambda one: str(one.get("time") or ""), default=None)
    return [] if last is None else [{"manager": last.get("manager", ""), "time": last.get("time", "")}]


def _labels(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has labels or owners; KubeRay and the garbage collector have finalizers, or annotations."""
    return bool({"f:labels", "f:ownerReferences"} & set(mapping(mapping(entry.get("fieldsV1")).get("f:metadata"))))
