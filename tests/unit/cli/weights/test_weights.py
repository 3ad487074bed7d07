"""`kubectl llama weights`: what it says of copies, how it follows a Job, and what it applies to copy ahead."""

import asyncio
import json

import pytest
import yaml

from llama_operator.api.meta import rfc3339
from llama_operator.cli.weights.follow import new_lines
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

ID, OTHER = "1f0c6c2b9a7d4e35", "a" * 16
SOURCE = {"kind": "HuggingFace", "location": "meta-llama/X", "commit": "0" * 40}


async def claim(world, copy_id=ID, namespace="team-a", **annotations):
    metadata = {
        "name": f"llama-weights-{copy_id}",
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "llama-operator", "llama-operator.io/weights": copy_id},
        "annotations": {f"llama-operator.io/{name}": value for name, value in annotations.items()},
    }
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "27Gi"}}}
    obj = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    await world.operator.apply(obj)
    await world.kuberay.apply_status(obj | {"status": {"phase": "Bound", "capacity": {"storage": "30Gi"}}})


async def job(world, copy_id=ID, attempt=1, ended=None, verdict=None):
    name = f"llama-weights-{copy_id}-{attempt}"
    labels = {"app.kubernetes.io/managed-by": "llama-operator", "llama-operator.io/weights": copy_id}
    annotations = {"llama-operator.io/attempt": str(attempt), "llama-operator.io/weights-task": "copy"}
    metadata = {"name": name, "namespace": "team-a", "labels": labels, "annotations": annotations}
    obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}
    await world.operator.apply(obj)
    if ended is not None:
        condition = {"type": ended, "status": "True", "lastTransitionTime": rfc3339(world.now)}
        await world.kuberay.apply_status(obj | {"status": {"conditions": [condition]}})
    labels = {"batch.kubernetes.io/job-name": name}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-x", "namespace": "team-a", "labels": labels},
    }
    # A mesh may put a container of its own into every pod.
    both = [{"name": name, "image": "example/any:1"} for name in ("istio-proxy", "weights")]
    await world.kuberay.apply(pod | {"spec": {"nodeName": "a", "containers": both}})
    if verdict is not None:
        state = {"terminated": {"exitCode": 3, "message": json.dumps(verdict)}}
        await world.kuberay.apply_status(pod | {"status": {"containerStatuses": [{"name": "weights", "state": state}]}})
    return Ref(kinds.POD, "team-a", f"{name}-x")


COPIED = json.dumps(
    {"at": "2026-03-02T09:00:00Z", "bytes": 16_100_000_000, "files": 12, "digest": "sha256:" + "a" * 64}
)


def test_the_list_tells_size_users_age_and_verdict(world):
    asyncio.run(
        claim(world, **{"weights-copied": COPIED, "weights-source": json.dumps(SOURCE), "user.chat": "gone-uid"})
    )
    asyncio.run(claim(world, OTHER))
    asyncio.run(job(world, OTHER, ended="Failed", verdict={"verdict": "NoSpace", "message": "3.0 GB are missing"}))
    _code, out, _err = world.run("weights", "list", "-n", "team-a", "-o", "json")
    first, second = json.loads(out)["copies"]
    assert (first["id"], first["bytes"], first["verdict"], first["capacity"]) == (
        ID,
        16_100_000_000,
        "Verified",
        "30Gi",
    )
    assert first["users"] == [], "a deployment that is gone uses nothing"
    assert second["verdict"] == "NoSpace: 3.0 GB are missing"
    _code, out, _err = world.run("weights", "list", "-n", "team-a")
    assert "16.1 GB" in out
    assert "nobody" in out
    _code, out, _err = world.run("weights", "list", "-A")
    assert "team-a" in out
    _code, out, _err = world.run("weights", "list", "-n", "team-b")
    assert "keeps no copies" in out


def test_follow_prints_the_log_and_tells_how_the_job_ended(world):
    pod = asyncio.run(job(world, ended="Failed", verdict={"verdict": "NoSpace", "message": "3.0 GB are missing"}))
    world.memory.write_log(pod, "one\ntwo\n")
    code, out, _err = world.run("weights", "follow", ID, "-n", "team-a")
    assert code == 5
    assert out.splitlines() == ["one", "two", "NoSpace: 3.0 GB are missing"]


def test_follow_says_what_to_name_where_it_cannot_choose(world):
    code, _out, err = world.run("weights", "follow", "-n", "team-a")
    assert (code, "no Job copies weights" in err) == (1, True)
    asyncio.run(job(world))
    asyncio.run(job(world, OTHER))
    code, _out, err = world.run("weights", "follow", "-n", "team-a")
    assert f"one of {ID}, {OTHER}" in err


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a"], ["a", "b"], ["b"]),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a"], ["x", "y"], ["x", "y"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
    ],
)
def test_only_new_lines_are_printed(before, now, new):
    assert list(new_lines(before, now)) == new


def test_prefetch_applies_a_deployment_that_holds_no_hardware(world, tmp_path):
    path = tmp_path / "chat.yaml"
    spec = {"model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"}, "weights": {"cache": {"mode": "Claim"}}}
    spec["hardware"] = {"accelerator": "H100-80GB"}
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "metadata": {"name": "chat"}}
    path.write_text(yaml.safe_dump(obj | {"spec": spec}), encoding="utf-8")
    code, _out, err = world.run("weights", "prefetch", "-f", str(path), "-n", "team-a")
    assert code == 0, err
    live = asyncio.run(world.user.get(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat-prefetch")))
    assert live["spec"] == spec | {"activation": "Prefetch"}
    path.write_text(yaml.safe_dump(obj | {"spec": spec | {"weights": {}}}), encoding="utf-8")
    code, _out, err = world.run("weights", "prefetch", "-f", str(path), "-n", "team-a")
    assert (code, "set it to Claim" in err) == (1, True)
