"""Which StorageClasses `kubectl llama doctor` takes for fit to hold copies of weights."""

import pytest

from llama_operator.cli.doctor.storage import StorageClassFacts, check, storage_class
from llama_operator.cli.shared.checks import State
from llama_operator.cli.shared.connection import Unknown

EFS = StorageClassFacts("efs", "efs.csi.aws.com", default=False)
GP3 = StorageClassFacts("gp3", "ebs.csi.aws.com", default=True)
CEPH = StorageClassFacts("shared", "rook-ceph.cephfs.csi.ceph.com", default=True)
OURS = StorageClassFacts("ours", "storage.acme.example", default=False)


@pytest.mark.parametrize(
    ("classes", "state", "told", "hint"),
    [
        ((), State.ABSENT, "no StorageClass", False),
        ((CEPH,), State.PASSED, "ReadWriteMany: shared", False),
        ((EFS, GP3), State.PASSED, "the default, gp3, is of one node at a time", True),
        ((GP3,), State.ABSENT, "none has ReadWriteMany", False),
        ((OURS,), State.PASSED, "not known here", True),
        (Unknown("may not list"), State.UNKNOWN, "may not list", False),
    ],
)
def test_a_class_is_judged_by_its_provisioner(classes, state, told, hint):
    found = check(classes)
    assert (found.state, told in found.evidence, bool(found.unblock)) == (state, True, hint)


def test_the_default_is_read_from_its_annotation():
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    obj = {"metadata": {"name": "gp3", "annotations": annotations}, "provisioner": "ebs.csi.aws.com"}
    assert storage_class(obj) == GP3
