"""The end of a license on real nodes: what records, volumes and the operator's log say of what was erased. For `tests/e2e/weights`."""

import json

from llama_serving.contract.weights import ENGINES_FOLDER
from support.changing_folders import paths_below


def end_license(cluster, acceptance):
    """As the licensor, or the licensee, would."""
    spec = {"state": "Terminated", "terminatedOn": "2026-03-03"}
    cluster.kubectl("patch", "licenseacceptance", acceptance, "--type=merge", "--patch", json.dumps({"spec": spec}))


def copy_of(cluster, deployment):
    """The only entry of `status.weights`; empty if there is none."""
    copies = cluster.deployment(deployment).get("status", {}).get("weights") or ({},)
    (copy,) = copies
    return copy


def is_in_state(cluster, deployment, state):
    """Whether the only copy of a deployment is in a state."""
    return copy_of(cluster, deployment).get("state") == state


def weights_on(disk):
    """Files of a volume that say something, but for what engines compile."""
    files = (path for path in paths_below(disk) if path.is_file() and path.stat().st_size)
    return [path.relative_to(disk) for path in files if path.relative_to(disk).parts[0] != ENGINES_FOLDER]


def assert_erasing_is_told(cluster, deployment):
    """Status, evidence and acceptance tell the same of the copy that was erased."""
    told = copy_of(cluster, deployment)
    assert told["files"] > 0
    assert told["bytes"] > 0
    lines = [json.loads(line) for line in cluster.operator_said("evidence")]
    erased = [
        copy
        for line in lines
        if line.get("deployment", {}).get("name") == deployment
        for copy in line.get("copies", ())
        if copy["state"] == "Erased"
    ]
    assert {(copy["id"], copy["bytes"], copy["files"]) for copy in erased} == {
        (told["id"], told["bytes"], told["files"])
    }
    found = cluster.until(lambda: _deleted(cluster, deployment), seconds=60, what="WeightsDeleted")
    assert found["reason"] == "CopiesErased"
    assert f"{told['bytes']} bytes" in found["message"]


def _deleted(cluster, acceptance):
    record = json.loads(cluster.kubectl("get", "licenseacceptance", acceptance, "--output", "json").stdout)
    conditions = {each["type"]: each for each in record.get("status", {}).get("conditions", ())}
    found = conditions.get("WeightsDeleted", {})
    return found if found.get("status") == "True" else None
