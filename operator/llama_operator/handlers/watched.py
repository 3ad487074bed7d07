"""Which kinds are watched, and which LlamaDeployments a change of each concerns. Used by `dispatch`, `watches` and `resync`.

Another kind is another line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from llama_operator.desired.naming import MANAGER
from llama_operator.kube import kinds
from llama_operator.kube.port import Kind, Object

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
_OURS: Final[Mapping[str, str]] = MappingProxyType({"app.kubernetes.io/managed-by": MANAGER})

_BOUNDS: Final = ("groupName", "minReplicas", "maxReplicas")


class Concerns(Enum):
    """Whom a change concerns."""

    ITSELF = auto()
    """The LlamaDeployment that changed."""
    ITS_DEPLOYMENT = auto()
    """The LlamaDeployment that the label llama-operator.io/deployment names."""
    ITSELF_AND_ITS_USERS = auto()
    """The LicenseAcceptance, and LlamaDeployments that name it."""
    LICENSES = auto()
    """All LlamaDeployments and all license records, when what the object asks for has changed."""
    EVERYBODY = auto()
    """All of them, when what they look at has changed."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind that is watched.

    Attributes:
        kind: Which.
        concerns: Whom a change concerns.
        labels: Only objects with these labels are asked for.
    """

    kind: Kind
    concerns: Concerns
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)


WATCHED: Final = (
    Watched(kinds.LLAMA_DEPLOYMENT, Concerns.ITSELF),
    Watched(kinds.RAY_SERVICE, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.RAY_CLUSTER, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.CONTROLLER_REVISION, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.SERVICE, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.NETWORK_POLICY, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.JOB, Concerns.ITS_DEPLOYMENT, _OURS),
    Watched(kinds.LICENSE_ACCEPTANCE, Concerns.ITSELF_AND_ITS_USERS),
    Watched(kinds.LLAMA_MODEL, Concerns.LICENSES),
    Watched(kinds.LICENSE_POLICY, Concerns.LICENSES),
    Watched(kinds.NODE, Concerns.EVERYBODY),
)


RECORDS: Final = (kinds.LICENSE_ACCEPTANCE, kinds.LLAMA_MODEL, kinds.LICENSE_POLICY)
"""Kinds that administrators write and the operator only comments on, in their status."""


def slim(kind: Kind, obj: Object) -> Object:
    """Leave out what is large and read by nobody.

    A node lists every image that it holds; a RayCluster repeats its RayService, and only its bounds are compared.
    """
    if kind == kinds.RAY_CLUSTER:
        groups = (obj.get("spec") or {}).get("workerGroupSpecs") or ()
        bounds = [{name: group[name] for name in _BOUNDS if name in group} for group in groups]
        return {name: value for name, value in obj.items() if name != "status"} | {"spec": {"workerGroupSpecs": bounds}}
    if kind != kinds.NODE:
        return obj
    status = obj.get("status") or {}
    return obj | {"status": {name: status[name] for name in ("allocatable", "capacity") if name in status}}
