"""The admission policies on a real API server, and what tries them: users, objects, writes that are not made.

Everybody here has all rights by RBAC, so that the policies alone decide. Most writes are dry runs: admission sees them
as it sees any other. Used by tests/chart.
"""

import argparse
import copy
import json

import yaml

from control_plane.api_client import Write

TEAM = "admission"
CLUSTER = "chat-1-abcde"
TOKEN = "hugging-face"  # the name of a Secret
LABEL = "llama-operator.io/deployment"
RBAC = "rbac.authorization.k8s.io"

OPERATOR = "system:serviceaccount:llama-system:llama-operator"
KUBERAY = "system:serviceaccount:kuberay-system:kuberay-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
AUTOSCALER = f"system:serviceaccount:{TEAM}:{CLUSTER}"
OTHER_AUTOSCALER = f"system:serviceaccount:{TEAM}:other-1-abcde"
BACKUP = "system:serviceaccount:backup:velero"
PERSON = "mallory"
EVERYBODY = (OPERATOR, KUBERAY, COLLECTOR, AUTOSCALER, OTHER_AUTOSCALER, BACKUP, PERSON)

CHANGED = {"rayservice": "chat-rayservice", "raycluster": CLUSTER, "controllerrevision": "chat-controllerrevision"}
"""Names of the guarded objects by resource."""


def sample(root, kind):
    """Object of `kind` that the operator makes of the largest sample; what it costs to compare is the most there is."""
    golden = root / "tests" / "golden" / "samples" / "llama-3.1-405b-bf16-h100.output.yaml"
    (found,) = [o for o in yaml.safe_load(golden.read_text())["apply"] if o["kind"] == kind]
    found["metadata"] = {"name": f"chat-{kind.lower()}", "namespace": TEAM, "labels": {LABEL: "chat"}}
    return found


def deployment(root):
    """The LlamaDeployment that the objects belong to."""
    tiny = yaml.safe_load((root / "manifests" / "samples" / "tiny-cpu.yaml").read_text())
    tiny["metadata"] = {"name": "chat", "namespace": TEAM}
    tiny["spec"]["weights"] = {"tokenSecret": {"name": TOKEN, "key": "token"}}
    return tiny


def guarded_objects(root):
    """One of each guarded kind, and one of each that is nobody's."""
    service = sample(root, "RayService")
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": service["metadata"] | {"name": CLUSTER},
        "spec": service["spec"]["rayClusterConfig"],
    }
    guarded = {"rayservice": service, "raycluster": cluster, "controllerrevision": sample(root, "ControllerRevision")}
    free = {f"free-{name}": copy.deepcopy(each) for name, each in guarded.items()}
    for name, each in free.items():
        each["metadata"] = {"name": name, "namespace": TEAM}
    return guarded | free


A_JOB = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}}


def rayjob(name, spec):
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name, "namespace": TEAM}, "spec": spec}


def changed(schema, now):
    """A value that `schema` allows, and that is not `now`."""
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != now)
    kind = "integer" if schema.get("x-kubernetes-int-or-string") else schema.get("type")
    if kind == "object" and now is None and "additionalProperties" in schema:
        return {"added": changed(schema["additionalProperties"], None)}
    if kind == "object" and now is None:
        return {name: changed(schema["properties"][name], None) for name in schema.get("required", ())}
    if kind == "object":
        return {name: value for name, value in now.items() if name in schema.get("required", ())} or {}
    if kind == "array":
        return [changed(schema["items"], None)]
    if kind == "integer":
        return (now or 0) + 1
    return {"string": "added", "boolean": not now}[kind]


PATCHES = {"json": "json-patch", "merge": "merge-patch", "strategic": "strategic-merge-patch"}


def one_write(arguments, stdin):
    """The request that kubectl makes of `arguments`; None where it makes several, or looks at something first."""
    verb, *rest = arguments
    if (verb, *rest) == ("create", "-f", "-"):
        obj = json.loads(stdin)
        return Write("POST", f"{obj['apiVersion']}/{obj['kind']}", content=stdin)
    if verb == "delete" and len(rest) == 2 and not rest[0].startswith("-") and not rest[1].startswith("-"):
        return Write("DELETE", *rest)
    if verb == "patch":
        read = argparse.ArgumentParser()
        read.add_argument("kind")
        read.add_argument("name")
        read.add_argument("--type", default="strategic")
        read.add_argument("--subresource", default="")
        read.add_argument("-p", dest="patch")
        given = read.parse_args(rest)
        how = f"application/{PATCHES[given.type]}+json"
        return Write("PATCH", given.kind, given.name, given.subresource, given.patch, how)
    return None


class Guard:
    """Tries writes as somebody, without making them."""

    def __init__(self, plane):
        self.plane = plane

    def is_up(self):
        """Whether the API server knows all policies."""
        selects = rayjob("waits", {"clusterSelector": {"ray.io/cluster": CLUSTER}, "entrypoint": "true"})
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "waits", "namespace": TEAM}, "spec": A_JOB}
        return (
            all(self.said(PERSON, "delete", name, CHANGED[name]) for name in CHANGED)
            and self.said(PERSON, "create", "-f", "-", stdin=json.dumps(selects))
            and self.said(OPERATOR, "create", "-f", "-", stdin=json.dumps(job))
        )

    def said(self, user, *arguments, stdin=None, groups=()):
        """The refusal of what kubectl would write; empty when the write is let through.

        What is one request is sent without a kubectl: hundreds are tried.
        """
        if (write := one_write(arguments, stdin)) is not None:
            refused = self.plane.api.refusal_of(write, namespace=TEAM, user=user, groups=groups)
            assert not refused or "ValidatingAdmissionPolicy" in refused, refused
            return refused
        as_groups = [f"--as-group={group}" for group in groups]
        done = self.plane.kubectl(
            *arguments, "-n", TEAM, "--dry-run=server", f"--as={user}", *as_groups, stdin=stdin, check=False
        )
        assert done.returncode == 0 or "ValidatingAdmissionPolicy" in done.stderr, done.stderr
        return "" if done.returncode == 0 else done.stderr

    def may(self, *arguments, stdin=None, users=EVERYBODY):
        return {user for user in users if not self.said(user, *arguments, stdin=stdin)}

    def may_patch(self, resource, name, patch, *more, users=EVERYBODY):
        return self.may("patch", resource, name, "--type=merge", "-p", json.dumps(patch), *more, users=users)

    def may_create(self, obj, name):
        return self.may("create", "-f", "-", stdin=json.dumps(obj | {"metadata": obj["metadata"] | {"name": name}}))

    def judged(self, user, resource, name, path, value):
        """The refusal of one JSON patch."""
        patch = json.dumps([{"op": "add", "path": path, "value": value}])
        return self.said(user, "patch", resource, name, "--type=json", "-p", patch)
