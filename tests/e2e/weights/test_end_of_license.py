"""The end of a license, on a real kubelet: a Job erases what was copied, and records tell what was erased, and what was not."""

import json

import pytest

from llama_serving.contract.weights import ENGINES_FOLDER, MARKER

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(1800)]

NAME, ACCEPTANCE = "licensed", "acme"
COPY_LABEL = "llama-operator.io/weights"
COPY_SECONDS = ERASE_SECONDS = GONE_SECONDS = 300


def test_a_volume_that_is_to_stay_stays_and_a_job_erases_it_when_the_license_ends(cluster, hub, disk, token, licensed):
    licensed()
    cluster.until(lambda: state(cluster) == "Copied", seconds=COPY_SECONDS, what="the copy to be complete")
    (claim,) = cluster.items("persistentvolumeclaims")
    asked = len(hub.repository.requests)

    cluster.kubectl("delete", "llamadeployment", NAME, f"--timeout={GONE_SECONDS}s")
    cluster.until(lambda: not cluster.items("jobs"), seconds=GONE_SECONDS, what="its Job to be gone")
    (kept,) = cluster.items("persistentvolumeclaims")
    assert (kept["metadata"]["uid"], kept["status"]["phase"]) == (claim["metadata"]["uid"], "Bound")
    assert "ownerReferences" not in kept["metadata"]
    assert list(disk.glob(f"*/{MARKER}"))

    licensed("LlamaDeployment")
    cluster.until(lambda: state(cluster) == "Copied", seconds=COPY_SECONDS, what="the copy to be known")
    assert hub.repository.requests[asked:] == [], "it is there, and nobody is asked for it"
    assert not cluster.items("jobs")

    cluster.kubectl("patch", "licenseacceptance", ACCEPTANCE, "--type=merge", "--patch", ended())
    cluster.until(lambda: state(cluster) == "Erased", seconds=ERASE_SECONDS, what="the copy to be erased")
    assert content(disk) == [], "no byte of the model is left"
    (told,) = cluster.deployment(NAME)["status"]["weights"]
    assert told["files"] > 0
    assert told["bytes"] > 0
    (line,) = {json.dumps(copy) for copy in copies_in_evidence(cluster) if copy["state"] == "Erased"}
    assert {key: json.loads(line)[key] for key in ("id", "bytes", "files")} == {
        key: told[key] for key in ("id", "bytes", "files")
    }
    deleted = cluster.until(lambda: weights_deleted(cluster), seconds=60, what="the acceptance to tell it")
    assert (deleted["status"], deleted["reason"]) == ("True", "CopiesErased"), deleted
    assert f"{told['bytes']} bytes" in deleted["message"]
    (empty,) = cluster.items("persistentvolumeclaims")
    assert empty["metadata"]["uid"] == claim["metadata"]["uid"]
    cluster.until(lambda: not cluster.items("jobs"), seconds=GONE_SECONDS, what="the Job to be gone")

    cluster.kubectl("delete", "llamadeployment", NAME, f"--timeout={GONE_SECONDS}s")
    cluster.kubectl("delete", "persistentvolumeclaim", claim["metadata"]["name"], f"--timeout={GONE_SECONDS}s")


def state(cluster):
    copies = cluster.deployment(NAME).get("status", {}).get("weights") or ()
    return copies[0]["state"] if copies else ""


def ended():
    return json.dumps({"spec": {"state": "Terminated", "terminatedOn": "2026-03-03"}})


def content(disk):
    """Files of the volume but for what engines and locks leave."""
    return [
        path for path in disk.rglob("*") if path.is_file() and path.stat().st_size and ENGINES_FOLDER not in path.parts
    ]


def copies_in_evidence(cluster):
    lines = [json.loads(line) for line in cluster.operator_said("evidence")]
    return [copy for line in lines for copy in line.get("copies", ())]


def weights_deleted(cluster):
    record = json.loads(cluster.kubectl("get", "licenseacceptance", ACCEPTANCE, "--output", "json").stdout)
    conditions = {each["type"]: each for each in record.get("status", {}).get("conditions", ())}
    found = conditions.get("WeightsDeleted")
    return found if found is not None and found["status"] == "True" else None
