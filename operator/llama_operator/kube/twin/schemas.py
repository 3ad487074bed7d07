"""The parts of the schemas of our kinds that decide how writes merge. Only the twin uses them.

A real API server has these facts from its own types and from the CRDs; tests/unit/kube compares this table with our CRDs
and with KubeRay's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from llama_operator.kube import kinds
from llama_operator.kube.port import Kind
from llama_operator.kube.secret_kind import SECRET
from llama_operator.kube.twin.fields import Merging, Names


@dataclass(frozen=True, slots=True)
class Schema:
    """What an API server knows about a kind, as far as it decides the outcome of a write.

    Attributes:
        merging: Which lists and maps merge, and how.
        status: Whether status is a subresource: written apart from the rest, and never by a plain apply.
        generation: Whether `metadata.generation` counts the changes of the spec.
        short_name: Whether names have 63 characters without dots, as DNS labels, instead of 253 with dots.
        immutable: Top-level fields that cannot change once set.
    """

    merging: Merging
    status: bool = False
    generation: bool = False
    short_name: bool = False
    immutable: tuple[str, ...] = ()


def schema(kind: Kind) -> Schema:
    """Schema of a kind of `kinds`, or of a Secret, which is read and patched."""
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


_reconciled: Final = partial(Schema, status=True, generation=True)
"""A kind whose spec is counted, and whose status is written by what realizes it."""

_SCHEMAS: Final[Mapping[Kind, Schema]] = {
    kinds.LLAMA_DEPLOYMENT: _reconciled(
        _merging(_CONDITIONS | dict.fromkeys(("spec.adapters", "spec.tenants", "status.adapters"), ("name",)))
    ),
    kinds.LICENSE_ACCEPTANCE: _reconciled(_merging(_CONDITIONS)),
    kinds.LICENSE_POLICY: _reconciled(_merging(_CONDITIONS)),
    kinds.LLAMA_MODEL: _reconciled(_merging(_CONDITIONS)),
    kinds.ACCELERATOR: Schema(_merging({}), generation=True),
    kinds.RAY_CLUSTER: _reconciled(_merging(_CONDITIONS | _ray_cluster_lists("spec"), _ray_cluster_atomic("spec"))),
    kinds.RAY_SERVICE: _reconciled(
        _merging(
            _CONDITIONS
            | _ray_cluster_lists("spec.rayClusterConfig")
            | {f"spec.serveService.{path}": keys for path, keys in _SERVICE_LISTS.items()}
            | {
                f"status.{state}ServiceStatus.rayClusterStatus.conditions": ("type",) for state in ("active", "pending")
            },
            [*_ray_cluster_atomic("spec.rayClusterConfig"), *_below("spec.serveService", _SERVICE_ATOMIC)],
        )
    ),
    kinds.SERVICE: Schema(_merging(_SERVICE_LISTS, _SERVICE_ATOMIC), status=True, short_name=True),
    kinds.NODE: Schema(_merging(_CONDITIONS | {"status.addresses": ("type",)}, sets=["spec.podCIDRs"]), status=True),
    kinds.EVENT: Schema(_merging({}, ["regarding", "related"])),
    kinds.NETWORK_POLICY: Schema(_merging({}, ["spec.podSelector"]), generation=True),
    kinds.POD_DISRUPTION_BUDGET: _reconciled(_merging(_CONDITIONS, ["spec.selector"])),
    kinds.INGRESS: _reconciled(_merging({}, ["spec.defaultBackend.resource"])),
    kinds.HTTP_ROUTE: _reconciled(_merging({})),
    kinds.CONTROLLER_REVISION: Schema(_merging({}, ["data"]), immutable=("data",)),
    kinds.LEASE: Schema(_merging({})),
    kinds.LOCAL_QUEUE: _reconciled(_merging(_CONDITIONS)),
    kinds.CONFIG_MAP: Schema(_merging({})),
    kinds.PERSISTENT_VOLUME_CLAIM: Schema(
        _merging(_CONDITIONS, ["spec.dataSource", "spec.selector"], sets=[]), status=True
    ),
    SECRET: Schema(_merging({})),
    kinds.JOB: _reconciled(
        _merging(
            _CONDITIONS | {f"spec.template.spec.{path}": keys for path, keys in _POD_LISTS.items()},
            ["spec.selector", *_below("spec.template.spec", _POD_ATOMIC)],
        ),
        short_name=True,
    ),
    kinds.POD: _reconciled(
        _merging(
            _CONDITIONS
            | {f"spec.{path}": keys for path, keys in _POD_LISTS.items()}
            | {"status.podIPs": ("ip",), "status.hostIPs": ("ip",), "status.resourceClaimStatuses": ("name",)},
            _below("spec", _POD_ATOMIC),
        )
    ),
}
