"""Which StorageClasses can hold copies of weights. Pure; called by `cli.doctor.checks`.

A StorageClass does not say which access modes its volumes have: its provisioner does, in its documentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_operator.api import readings
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.kube.port import Object

_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
_SHARED: Final = (
    "efs.csi.aws.com",
    "fsx.csi.aws.com",
    "file.csi.azure.com",
    "azurelustre.csi.azure.com",
    "filestore.csi.storage.gke.io",
    "lustre.csi.storage.gke.io",
    "cephfs.csi.ceph.com",
    "nfs.csi.k8s.io",
    "nfs-subdir-external-provisioner",
    "csi.vastdata.com",
    "csi.weka.io",
    "driver.longhorn.io",
    "beegfs.csi.netapp.com",
    "lustre.csi.hpe.com",
    "spectrumscale.csi.ibm.com",
)
"""Ends of the names of provisioners whose volumes pods on several nodes can write (ReadWriteMany)."""
_ONE_NODE: Final = (
    "ebs.csi.aws.com",
    "ebs.csi.eks.amazonaws.com",
    "disk.csi.azure.com",
    "pd.csi.storage.gke.io",
    "rbd.csi.ceph.com",
    "cinder.csi.openstack.org",
    "rancher.io/local-path",
    "topolvm.io",
    "csi.hetzner.cloud",
    "dobs.csi.digitalocean.com",
)
"""Ends of the names of provisioners whose volumes are file systems of one node at a time (ReadWriteOnce)."""


@dataclass(frozen=True, slots=True)
class StorageClassFacts:
    """A StorageClass.

    Attributes:
        name: Its name.
        provisioner: What makes its volumes.
        default: Whether claims that name none get it.
    """

    name: str
    provisioner: str
    default: bool

    @property
    def shared(self) -> bool | None:
        """Whether its volumes can be on several nodes at once; None if that is not known."""
        if self.provisioner.endswith(_SHARED):
            return True
        return False if self.provisioner.endswith(_ONE_NODE) else None


def storage_class(obj: Object) -> StorageClassFacts:
    """Read a StorageClass."""
    default = readings.annotations(obj).get(_DEFAULT) == "true"
    return StorageClassFacts(obj["metadata"]["name"], readings.text(obj.get("provisioner")), default)


def check(classes: Sequence[StorageClassFacts] | Unknown) -> Check:
    """Judge whether there is a class for copies of weights, and whether a spec has to name it."""
    name = "storage"
    if isinstance(classes, Unknown):
        return Check(name, State.UNKNOWN, classes.why)
    if not classes:
        return Check(
            name, State.ABSENT, "no StorageClass: weights are copied into claims only with volumes made by hand"
        )
    shared = [one.name for one in classes if one.shared]
    unknown = [one.name for one in classes if one.shared is None]
    default = next((one for one in classes if one.default), None)
    told = [f"ReadWriteMany: {', '.join(shared)}"] if shared else []
    told += [f"not known here (see its documentation, or docs/weights.md): {', '.join(unknown)}"] if unknown else []
    text = "; ".join(told) or "none has ReadWriteMany, so copies of weights fit one node only"
    if default is None or default.shared is False:
        which = (
            "there is no default class" if default is None else f"the default, {default.name}, is of one node at a time"
        )
        hint = "name a class in spec.weights.cache.storageClassName" if shared or unknown else ""
        state = State.PASSED if shared or unknown else State.ABSENT
        return Check(name, state, f"{text}; {which}", hint)
    return Check(name, State.PASSED, text)
