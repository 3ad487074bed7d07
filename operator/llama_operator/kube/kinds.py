"""The kinds that the product reads or writes, and the addresses of objects. Used wherever an object is addressed."""

from collections.abc import Mapping
from typing import Final

from llama_operator.kube.port import InvalidError, Kind, Object, Ref

LLAMA_DEPLOYMENT: Final = Kind("llama-operator.io/v1alpha1", "LlamaDeployment", "llamadeployments")
LICENSE_ACCEPTANCE: Final = Kind(
    "llama-operator.io/v1alpha1", "LicenseAcceptance", "licenseacceptances", namespaced=False
)
LICENSE_POLICY: Final = Kind("llama-operator.io/v1alpha1", "LicensePolicy", "licensepolicies", namespaced=False)
LLAMA_MODEL: Final = Kind("llama-operator.io/v1alpha1", "LlamaModel", "llamamodels", namespaced=False)
ACCELERATOR: Final = Kind("llama-operator.io/v1alpha1", "Accelerator", "accelerators", namespaced=False)
RAY_SERVICE: Final = Kind("ray.io/v1", "RayService", "rayservices")
RAY_CLUSTER: Final = Kind("ray.io/v1", "RayCluster", "rayclusters")
SERVICE: Final = Kind("v1", "Service", "services")
NODE: Final = Kind("v1", "Node", "nodes", namespaced=False)
EVENT: Final = Kind("events.k8s.io/v1", "Event", "events")
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD_DISRUPTION_BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
INGRESS: Final = Kind("networking.k8s.io/v1", "Ingress", "ingresses")
HTTP_ROUTE: Final = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
CONTROLLER_REVISION: Final = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
POD: Final = Kind("v1", "Pod", "pods")
JOB: Final = Kind("batch/v1", "Job", "jobs")
PERSISTENT_VOLUME_CLAIM: Final = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")

LOCAL_QUEUE: Final = Kind("kueue.x-k8s.io/v1beta2", "LocalQueue", "localqueues")

ALL: Final = tuple(kind for kind in list(globals().values()) if isinstance(kind, Kind))
"""Every kind of this module."""

_BY_NAME: Final[Mapping[tuple[object, object], Kind]] = {(kind.api_version, kind.kind): kind for kind in ALL}


def find(api_version: object, kind: object) -> Kind | None:
    """Look a kind up by what an object says of itself; None for one that the product does not know."""
    return _BY_NAME.get((api_version, kind))


def address(obj: Object) -> Ref | None:
    """Address of an object; None for a kind that the product does not know."""
    kind = find(obj.get("apiVersion"), obj.get("kind"))
    metadata = obj.get("metadata") or {}
    return None if kind is None else Ref(kind, metadata.get("namespace") or "", str(metadata.get("name") or ""))


def address_to_write(obj: Object) -> Ref:
    """Address of an object that is about to be written.

    Raises:
        InvalidError: If the product does not know its kind.
    """
    if (ref := address(obj)) is None:
        raise InvalidError(f"kind: no kind {obj.get('kind')!r} in {obj.get('apiVersion')!r}; kinds.py has those known")
    return ref


def identity(live: Object) -> Object:
    """What of a live object names it to a write: apiVersion, kind, namespace and name."""
    metadata = {name: live["metadata"][name] for name in ("namespace", "name") if name in live["metadata"]}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
