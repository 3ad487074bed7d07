"""The kinds that the product reads or writes, and what of their schemas decides how writes merge.

Used by everybody who addresses an object, and by `memory` for the rest. A real API server has these facts from its own
types and from the CRDs; tests/unit/kube compares this table with our CRDs and with KubeRay's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from llama_operator.kube.port import Kind
from llama_operator.kube.twin.fields import Merging, Names

LLAMA_DEPLOYMENT: Final = Kind("llama-operator.io/v1alpha1", "LlamaDeployment", "llamadeployments")
LICENSE_ACCEPTANCE: Final = Kind(
    "llama-operator.io/v1alpha1", "LicenseAcceptance", "licenseacceptances", namespaced=False
)
LICENSE_POLICY: Final = Kind("llama-operator.io/v1alpha1", "LicensePolicy", "licensepolicies", namespaced=False)
LLAMA_MODEL: Final = Kind("llama-operator.io/v1alpha1", "LlamaModel", "llamamodels", namespaced=False)
RAY_SERVICE: Final = Kind("ray.io/v1", "RayService", "rayservices")
RAY_CLUSTER: Final = Kind("ray.io/v1", "RayCluster", "rayclusters")
SERVICE: Final = Kind("v1", "Service", "services")
NODE: Final = Kind("v1", "Node", "nodes", namespaced=False)
EVENT: Final = Kind("events.k8s.io/v1", "Event", "events")
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
CONTROLLER_REVISION: Final = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
POD: Final = Kind("v1", "Pod", "pods")
JOB: Final = Kind("batch/v1", "Job", "jobs")


@dataclass(frozen=True, slots=True)
class Schema:
    """What an API server knows about a kind, as far as it decides the outcome of a write.

    Attributes:
        merging: Which lists and maps merge, and how.
        status: Whether status is a subresource: written apart from the rest, and never by a plain apply.
        generation: Whether `metadata.generation` counts the changes of what is asked for.
        short_name: Whether names have 63 characters without dots, as DNS labels, instead of 253 with dots.
        immutable: Top-level fields that cannot change once set.
    """

    merging: Merging
    status: bool = False
    generation: bool = False
    short_name: bool = False
    immutable: tuple[str, ...] = ()


def find(api_version: object, kind: object) -> Kind | None:
    """Look a kind up by what an object says of itself; None for one that the product does not know."""
    return _BY_NAME.get((api_version, kind))


def schema(kind: Kind) -> Schema:
    """Schema of a kind of this module."""
    return _SCHEMAS[kind]


def _names(path: str) -> Names:
    return tuple(path.split("."))


def _below(prefix: str, names: Iterable[str]) -> list[str]:
    return [f"{prefix}.{name}" for name in names]


def _merging(list_maps: Mapping[str, tuple[str, ...]], atomic: Iterable[str] = (), sets: Iterable[str] = ()) -> Merging:
    """Tables with what `metadata` has in every kind."""
    return Merging(
        list_maps={_names(path): keys for path, keys in {"metadata.ownerReferences": ("uid",), **list_maps}.items()},
        list_sets=frozenset(map(_names, ("metadata.finalizers", *sets))),
        # An owner reference is taken or left as a whole.
        atomic_maps=frozenset(map(_names, ("metadata.ownerReferences", *atomic))),
    )


_CONDITIONS = {"status.conditions": ("type",)}
_ENV_SOURCES = ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef")

_CONTAINER_LISTS = {
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "resources.claims": ("name",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
}
_POD_LISTS = {
    "containers": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "resourceClaims": ("name",),
    "resources.claims": ("name",),
    "schedulingGates": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumes": ("name",),
} | {
    f"{containers}.{path}": keys
    for containers in ("containers", "ephemeralContainers", "initContainers")
    for path, keys in _CONTAINER_LISTS.items()
}
_POD_ATOMIC = [
    "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
    "imagePullSecrets",
    "nodeSelector",
    "topologySpreadConstraints.labelSelector",
    "volumes.configMap",
    "volumes.csi.nodePublishSecretRef",
    "volumes.ephemeral.volumeClaimTemplate.spec.dataSource",
    "volumes.ephemeral.volumeClaimTemplate.spec.selector",
    *(
        f"volumes.{source}.secretRef"
        for source in ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
    ),
    *(
        f"{containers}.env.valueFrom.{source}"
        for containers in ("containers", "ephemeralContainers", "initContainers")
        for source in _ENV_SOURCES
    ),
]
_SERVICE_LISTS = {"spec.ports": ("port", "protocol"), "status.conditions": ("type",)}
_SERVICE_ATOMIC = ["spec.selector"]


def _ray_cluster_lists(spec: str) -> dict[str, tuple[str, ...]]:
    """Lists of a Ray cluster that merge. All of `workerGroupSpecs` is one atomic list in KubeRay's CRDs."""
    head = f"{spec}.headGroupSpec"
    return (
        {f"{spec}.autoscalerOptions.resources.claims": ("name",)}
        | {f"{head}.headService.{path}": keys for path, keys in _SERVICE_LISTS.items()}
        | {f"{head}.template.spec.{path}": keys for path, keys in _POD_LISTS.items()}
    )


def _ray_cluster_atomic(spec: str) -> list[str]:
    redis = (f"{spec}.gcsFaultToleranceOptions.redis{field}.valueFrom" for field in ("Password", "Username"))
    return [
        *_below(f"{spec}.headGroupSpec.headService", _SERVICE_ATOMIC),
        *_below(f"{spec}.headGroupSpec.template.spec", _POD_ATOMIC),
        *(path for source in redis for path in _below(source, _ENV_SOURCES)),
    ]


_SCHEMAS: Final[Mapping[Kind, Schema]] = {
    LLAMA_DEPLOYMENT: Schema(_merging(_CONDITIONS), status=True, generation=True),
    LICENSE_ACCEPTANCE: Schema(_merging(_CONDITIONS), status=True, generation=True),
    LICENSE_POLICY: Schema(_merging(_CONDITIONS), status=True, generation=True),
    LLAMA_MODEL: Schema(_merging(_CONDITIONS), status=True, generation=True),
    RAY_CLUSTER: Schema(
        _merging(_CONDITIONS | _ray_cluster_lists("spec"), _ray_cluster_atomic("spec")), status=True, generation=True
    ),
    RAY_SERVICE: Schema(
        _merging(
            _CONDITIONS
            | _ray_cluster_lists("spec.rayClusterConfig")
            | {f"spec.serveService.{path}": keys for path, keys in _SERVICE_LISTS.items()}
            | {
                f"status.{state}ServiceStatus.rayClusterStatus.conditions": ("type",) for state in ("active", "pending")
            },
            [*_ray_cluster_atomic("spec.rayClusterConfig"), *_below("spec.serveService", _SERVICE_ATOMIC)],
        ),
        status=True,
        generation=True,
    ),
    SERVICE: Schema(_merging(_SERVICE_LISTS, _SERVICE_ATOMIC), status=True, short_name=True),
    NODE: Schema(
        _merging(_CONDITIONS | {"status.addresses": ("type",)}, sets=["spec.podCIDRs"]),
        status=True,
    ),
    EVENT: Schema(_merging({}, ["regarding", "related"])),
    NETWORK_POLICY: Schema(_merging({}, ["spec.podSelector"]), generation=True),
    CONTROLLER_REVISION: Schema(_merging({}, ["data"]), immutable=("data",)),
    LEASE: Schema(_merging({})),
    JOB: Schema(
        _merging(
            _CONDITIONS | {f"spec.template.spec.{path}": keys for path, keys in _POD_LISTS.items()},
            ["spec.selector", *_below("spec.template.spec", _POD_ATOMIC)],
        ),
        status=True,
        generation=True,
        short_name=True,
    ),
    POD: Schema(
        _merging(
            _CONDITIONS
            | {f"spec.{path}": keys for path, keys in _POD_LISTS.items()}
            | {"status.podIPs": ("ip",), "status.hostIPs": ("ip",), "status.resourceClaimStatuses": ("name",)},
            _below("spec", _POD_ATOMIC),
        ),
        status=True,
        generation=True,
    ),
}
_BY_NAME: Final[Mapping[tuple[object, object], Kind]] = {(kind.api_version, kind.kind): kind for kind in _SCHEMAS}
