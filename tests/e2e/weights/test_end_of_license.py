"""Volumes that outlive a deployment, on a real kubelet: what stays is said truly, and a Job erases it when the license ends."""

import json

import pytest

from llama_serving.contract.weights import MARKER
from support.nodes.license_ends import assert_erasing_is_told, copy_of, end_license, is_in_state, weights_on

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(1800)]

NAME = "licensed"
COPY_SECONDS = ERASE_SECONDS = GONE_SECONDS = 300


def test_what_a_volume_keeps_is_used_again_and_erased_when_the_license_ends(cluster, hub, disk, token, manifest):
    cluster.kubectl("apply", "--filename", "-", stdin=ahead(manifest))
    cluster.until(lambda: is_in_state(cluster, NAME, "Copied"), seconds=COPY_SECONDS, what="the copy to be complete")
    (claim,) = cluster.items("persistentvolumeclaims")
    delete(cluster)
    cluster.until(
        lambda: not cluster.items("persistentvolumeclaims"), seconds=GONE_SECONDS, what="the claim to be gone"
    )
    volume = cluster.json("persistentvolume", claim["spec"]["volumeName"])
    assert volume["status"]["phase"] == "Released"
    assert list(disk.glob(f"*/{MARKER}")), "its volume says Retain, so the bytes stay"

    # The administrator gives the volume back, as it is.
    cluster.kubectl("patch", "persistentvolume", disk.name, "--patch", json.dumps({"spec": {"claimRef": None}}))
    fetched = len(hub.repository.downloads)
    cluster.kubectl("apply", "--filename", "-", stdin=ahead(manifest, retention="Retain"))
    cluster.until(lambda: is_in_state(cluster, NAME, "Copied"), seconds=COPY_SECONDS, what="the copy to be seen")
    shards = [path for path in hub.repository.downloads[fetched:] if path.endswith(".safetensors")]
    assert len(shards) <= 1, "the first bytes of one, for the question about access"
    (claim,) = cluster.items("persistentvolumeclaims")
    delete(cluster)
    cluster.until(lambda: not cluster.items("jobs"), seconds=GONE_SECONDS, what="its Job to be gone")
    (kept,) = cluster.items("persistentvolumeclaims")
    assert (kept["metadata"]["uid"], kept["status"]["phase"]) == (claim["metadata"]["uid"], "Bound")
    assert "ownerReferences" not in kept["metadata"]

    asked = len(hub.repository.requests)
    cluster.kubectl("apply", "--filename", "-", stdin=ahead(manifest, retention="Retain"))
    cluster.until(lambda: is_in_state(cluster, NAME, "Copied"), seconds=COPY_SECONDS, what="the copy to be known")
    assert hub.repository.requests[asked:] == [], "the claim says that it is there"
    assert not cluster.items("jobs")

    end_license(cluster, NAME)
    cluster.until(lambda: is_in_state(cluster, NAME, "Erased"), seconds=ERASE_SECONDS, what="the copy to be erased")
    assert weights_on(disk) == []
    assert_erasing_is_told(cluster, NAME)
    cluster.until(lambda: not cluster.items("jobs"), seconds=GONE_SECONDS, what="the Job that erased to be gone")
    (empty,) = cluster.items("persistentvolumeclaims")
    assert empty["metadata"]["uid"] == claim["metadata"]["uid"], "the empty claim stays, as the spec says"
    assert copy_of(cluster, NAME)["state"] == "Erased"
    delete(cluster)
    cluster.kubectl("delete", "persistentvolumeclaim", claim["metadata"]["name"], f"--timeout={GONE_SECONDS}s")


def ahead(manifest, **cache):
    """Without hardware: only the copy."""
    where = {"mode": "Claim", "storageClassName": "node-disk"}
    return manifest(NAME, activation="Prefetch", weights={"cache": where | cache})


def delete(cluster):
    cluster.kubectl("delete", "llamadeployment", NAME, f"--timeout={GONE_SECONDS}s")
