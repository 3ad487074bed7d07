"""Who may write claims with copies of weights, on a real API server."""

import json

import pytest

from support.admission import BACKUP, OPERATOR, PERSON, TEAM

pytestmark = pytest.mark.control_plane

LABEL = "llama-operator.io/weights"
GARBAGE = "system:serviceaccount:kube-system:generic-garbage-collector"


def claim(name, **metadata):
    spec = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "static",
    }
    labels = {LABEL: "1f0c6c2b9a7d4e35", "app.kubernetes.io/managed-by": "llama-operator"}
    metadata = {"name": name, "namespace": TEAM, "labels": labels} | metadata
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def made(guarded):
    obj = claim("llama-weights-1f0c6c2b9a7d4e35", annotations={"llama-operator.io/weights-copied": "{}"})
    return really(guarded, OPERATOR, obj)


def really(guarded, user, obj):
    """Create a claim, not only ask whether one may."""
    guarded.plane.kubectl("apply", "-f", "-", "-n", TEAM, f"--as={user}", stdin=json.dumps(obj))
    return obj["metadata"]["name"]


def patched(guarded, user, name, patch):
    return guarded.said(user, "patch", "pvc", name, "--type=merge", "-p", json.dumps(patch))


def test_only_the_operator_makes_one(guarded):
    said = guarded.said(PERSON, "create", "-f", "-", stdin=json.dumps(claim("mine")))
    assert "are made by llama-operator" in said
    really(guarded, PERSON, claim("plain", labels={}))
    assert "are made by llama-operator" in patched(
        guarded, PERSON, "plain", {"metadata": {"labels": {LABEL: "1f0c6c2b9a7d4e35"}}}
    )


def test_the_operator_writes_no_claim_of_others(guarded):
    really(guarded, PERSON, claim("others", labels={}))
    assert "does not belong" in patched(guarded, OPERATOR, "others", {"metadata": {"annotations": {"a": "b"}}})
    assert "does not belong" in patched(guarded, OPERATOR, "others", {"metadata": {"labels": {LABEL: "a" * 16}}})
    assert "does not belong" in guarded.said(OPERATOR, "delete", "pvc", "others")


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"annotations": {"llama-operator.io/weights-copied": '{"digest": "sha256:0"}'}}},
        {"metadata": {"annotations": {"llama-operator.io/weights-copied": None}}},
        {"metadata": {"annotations": {"llama-operator.io/user.chat": "uid"}}},
        {"metadata": {"labels": {LABEL: None}}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]}},
        {"spec": {"volumeName": "poisoned"}},
    ],
)
def test_nobody_else_says_what_is_in_it_and_who_uses_it(guarded, made, patch):
    assert "are made by llama-operator" in patched(guarded, PERSON, made, patch)


def test_notes_of_others_and_what_kubernetes_has_to_write_pass(guarded, made):
    assert not patched(guarded, PERSON, made, {"metadata": {"annotations": {"acme.example/cost": "42"}}})
    assert not patched(guarded, GARBAGE, made, {"metadata": {"ownerReferences": []}})
    assert not patched(guarded, BACKUP, made, {"metadata": {"annotations": {"llama-operator.io/user.chat": "uid"}}})
    assert not guarded.said(PERSON, "delete", "pvc", made)
