"""The operator, started as its rendered Deployment says, with the token of its service account and the policies in force.

What it writes here proves that the rights of the chart are enough; tests/chart/test_release.py proves that they are few.
"""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from control_plane import rendered_operator
from llama_operator.cli.main import main

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]

NAMESPACE = "llama-system"
TEAM = "team-a"


def find(plane, kind, name, namespace=TEAM):
    return plane.api.find(kind, name, namespace=namespace)


@pytest.fixture(scope="module")
def plane(everything_installed, licenses_are_held):
    """The plane with everything that manifests/install.yaml holds, and two namespaces."""
    everything_installed.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (TEAM, "team-b"))
    )
    licenses_are_held(everything_installed, TEAM)
    yield everything_installed
    everything_installed.kubectl("delete", "namespace", TEAM, "team-b", "--timeout=240s")


@pytest.fixture
def start(plane, tmp_path, free_port):
    """Start the operator of a rendered Deployment, ready; ends it after use, and holds it to a clean exit, or to `code`."""

    @contextmanager
    def run(deployment, code=0):
        token = plane.kubectl("create", "token", "llama-operator", "-n", NAMESPACE, "--duration=1h").stdout.strip()
        view = json.loads(plane.kubectl("config", "view", "--raw", "--flatten", "-o", "json").stdout)
        kubeconfig = rendered_operator.token_kubeconfig(
            tmp_path / "operator.kubeconfig",
            cluster=view["clusters"][0]["cluster"],
            token=token,
            namespace=NAMESPACE,
        )
        outside = {
            "LLAMA_OPERATOR_KUBECONFIG": str(kubeconfig),
            "LLAMA_OPERATOR_PROBE_PORT": str(free_port),
            # A folder that only a pod has.
            "LLAMA_OPERATOR_EVIDENCE_FILE": str(tmp_path / "evidence.jsonl"),
            # No pod of this plane can be reached.
            "LLAMA_OPERATOR_SERVING_STATUS": "Off",
        }
        command = rendered_operator.rendered_operator_command(deployment, outside=outside)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **command.environment}
        log = tmp_path / "operator.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command.arguments, env=environment, stdout=output, stderr=output)
            try:
                yield Operator(process, free_port, log)
                process.terminate()
                assert process.wait(command.grace_seconds) == code, log.read_text()
            finally:
                process.kill()
                process.wait()
        assert token not in log.read_text()

    return run


class Operator:
    """The running process."""

    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log

    def answers(self, path):
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def refusals(self, but="nothing"):
        """What the operator says of refused requests, without the lines that hold the text `but`."""
        return [line for line in self.log.read_text().splitlines() if tells_of_a_refusal(line) and but not in line]


def tells_of_a_refusal(line):
    """Whether a line of the log is about a 403: not if only an id, a hash, a port or a time in it has these digits.

    Every line that is no JSON is one that the operator did not write itself, and counts with all of its text.
    """
    try:
        written = json.loads(line)
    except ValueError:
        text = line
    else:
        # Lines of evidence have no message, and hashes.
        text = " ".join(str(written.get(key, "")) for key in ("message", "error"))
    return "forbidden" in text.lower() or re.search(r"(?<![\w.:-])403(?![\w-])", text) is not None


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ('{"level": "warning", "message": "pods is forbidden: User x cannot list resource pods"}', True),
        ('{"level": "error", "message": "fails", "error": "Traceback\\nClientError: 403, message=no"}', True),
        ("aiohttp: 403 for GET /api", True),
        ('{"level": "info", "message": "RevisionStarted: tiny-3a403f65", "reconcileId": "d3a403c8"}', False),
        ('{"level": "info", "message": "answers probes at http://0.0.0.0:403", "time": "18:40:31.403"}', False),
        ('{"sequence": 403, "hash": "403"}', False),
    ],
)
def test_a_refusal_is_told_from_digits_that_look_like_one(line, counts):
    assert tells_of_a_refusal(line) is counts


def deployment_of(objects):
    (found,) = [each for each in objects if each["kind"] == "Deployment"]
    return found


def looked_at(live):
    """The status of a LlamaDeployment; None before the operator has written one."""
    status = live.get("status") or {}
    return status if status.get("observedGeneration", -1) >= 0 else None


def sample(root, name, **metadata):
    found = yaml.safe_load((root / "manifests" / "samples" / f"{name}.yaml").read_text())
    found["metadata"] |= metadata
    return found


def test_the_rights_of_the_chart_are_enough_for_create_change_and_delete(plane, render, start, root, eventually):
    def of_tiny(kind):
        return plane.api.list(kind, namespace=TEAM, labels="llama-operator.io/deployment=tiny")

    def children():
        found = {kind: of_tiny(kind) for kind in CHILDREN}
        return found if all(found.values()) else None

    with start(deployment_of(render())) as operator:
        eventually(lambda: operator.answers("/readyz"))
        assert operator.answers("/healthz")
        assert operator.answers("/metrics")
        for name in ("license-acceptance", "llama-model", "license-policy"):
            plane.kubectl("apply", "--server-side", "-f", root / "manifests" / "samples" / f"{name}.yaml")
        for kind, (name, condition) in RECORDS.items():
            asked = ["wait", kind, name, f"--for=condition={condition}", "--timeout=240s"]
            plane.kubectl(*asked)
        tiny = sample(root, "tiny-cpu", namespace=TEAM)
        tiny["spec"]["endpoint"] = {"expose": {"hosts": ["llama.acme.example"], "ingress": {}}}
        plane.apply(tiny)
        found = eventually(children)
        assert {kind: len(objects) for kind, objects in found.items()} == dict.fromkeys(CHILDREN, 1) | {
            "networkpolicies": 2
        }
        tiny = eventually(lambda: looked_at(find(plane, "llamadeployment", "tiny")))
        assert "Ready" in {condition["type"] for condition in tiny["conditions"]}
        (lease,) = plane.api.list("leases", namespace=NAMESPACE)
        assert lease["metadata"]["name"] == "llama-operator"

        patch = json.dumps({"spec": {"scaling": {"maxReplicas": 3}}})
        plane.kubectl("patch", "llamadeployment", "tiny", "-n", TEAM, "--type=merge", "-p", patch)
        (name,) = [each["metadata"]["name"] for each in found["rayservices"]]

        def bound():
            service = find(plane, "rayservice", name)
            return service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplicas"]

        eventually(lambda: bound() == 3)
        plane.kubectl("delete", "ingress", "tiny", "-n", TEAM)
        eventually(lambda: of_tiny("ingresses"))
        inside = json.dumps({"spec": {"endpoint": {"expose": None}}})
        plane.kubectl("patch", "llamadeployment", "tiny", "-n", TEAM, "--type=merge", "-p", inside)
        eventually(lambda: not of_tiny("ingresses"))
        plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM)
        eventually(lambda: not any(map(of_tiny, CHILDREN)))
        assert operator.refusals() == []


@pytest.mark.nightly
def test_gateway_api_that_comes_later_is_used_and_what_a_gateway_says_is_told(
    plane, render, start, root, gateway_crds, eventually
):
    (definition,) = gateway_crds.glob("*_httproutes.yaml")
    tiny = sample(root, "tiny-cpu", namespace=TEAM)
    tiny["spec"]["endpoint"] = {"expose": {"hosts": ["llama.acme.example"], "gateway": {"name": "public"}}}

    def exposed():
        status = looked_at(find(plane, "llamadeployment", "tiny")) or {"conditions": ()}
        said = {each["type"]: each["reason"] for each in status["conditions"]}
        return said.get("Exposed"), status.get("urls")

    def route():
        found = plane.kubectl("get", "httproute", "tiny", "-n", TEAM, "-o", "json", check=False)
        return json.loads(found.stdout) if found.returncode == 0 else None

    try:
        with start(deployment_of(render())) as operator:
            eventually(lambda: operator.answers("/readyz"))
            plane.apply(tiny)
            eventually(lambda: exposed() == ("RouteKindMissing", None))
            assert plane.api.list("rayservices", namespace=TEAM), "nothing else waits for it"
            plane.kubectl("apply", "--server-side", "-f", definition)
            made = eventually(route)
            eventually(lambda: exposed() == ("WayPending", None))
            seen = {"observedGeneration": made["metadata"]["generation"], "lastTransitionTime": "2026-03-02T09:30:00Z"}
            accepted = seen | {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
            parents = [{"parentRef": {"name": "public"}, "controllerName": "acme/c", "conditions": [accepted]}]
            patch = json.dumps({"status": {"parents": parents}})
            plane.kubectl("patch", "httproute", "tiny", "-n", TEAM, "--subresource=status", "--type=merge", "-p", patch)
            eventually(lambda: exposed() == ("OpenToEveryone", ["https://llama.acme.example/v1"]))
            plane.kubectl("delete", "httproute", "tiny", "-n", TEAM)
            eventually(route)
            plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM)
            eventually(lambda: route() is None)
            assert operator.refusals() == []
    finally:
        plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM, "--ignore-not-found")
        plane.kubectl("delete", "-f", definition, "--ignore-not-found", "--wait=false")


CHILDREN = ("rayservices", "services", "networkpolicies", "controllerrevisions", "ingresses")
RECORDS = {
    "licenseacceptance": ("acme-llama-3-1", "Valid"),
    "llamamodel": ("acme-support", "Resolved"),
    "licensepolicy": ("house", "InForce"),
}
"""License records of the samples by kind, with the condition that the operator gives them."""


def test_with_namespaces_the_rest_of_the_cluster_is_not_touched(plane, render, start, root, eventually):
    """One of the namespaces is gone, and with it the rights in it: that stops nothing in the other."""
    objects = render({"namespaces": [TEAM, "team-gone"]})
    everywhere = "clusterrolebinding/llama-operator"
    plane.kubectl("delete", everywhere)
    bindings = [each for each in objects if each["kind"] == "RoleBinding"]
    plane.apply(*(each for each in bindings if each["metadata"]["namespace"] != "team-gone"))
    try:
        with start(deployment_of(objects), code=1) as operator:
            eventually(lambda: operator.answers("/readyz"))
            plane.apply(sample(root, "tiny-cpu", namespace="team-b"), sample(root, "tiny-cpu", namespace=TEAM))
            eventually(lambda: plane.api.list("rayservices", namespace=TEAM))
            assert not looked_at(find(plane, "llamadeployment", "tiny", "team-b"))
            assert plane.api.list("rayservices", namespace="team-b") == []
            assert operator.refusals(but="namespace team-gone may not be read") == []
            plane.kubectl("create", "namespace", "team-gone")
            plane.apply(*bindings)
            eventually(lambda: operator.process.poll() is not None)
            assert "namespace team-gone may be read now" in operator.log.read_text()
    finally:
        plane.kubectl("delete", "namespace", "team-gone", "--ignore-not-found", "--wait=false")
        plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM, "--ignore-not-found")
        plane.kubectl("delete", "llamadeployment", "tiny", "-n", "team-b", "--ignore-not-found")
        plane.apply(*(each for each in render() if each["kind"] == "ClusterRoleBinding"))


def without_pods(objects, verb):
    """The ClusterRoles of an older chart, which had not all rights about pods."""
    own = (each for each in objects if each["kind"] == "ClusterRole" and "rules" in each)
    roles = [json.loads(json.dumps(each)) for each in own]
    for rule in (rule for role in roles for rule in role["rules"] if rule["resources"] == ["pods"]):
        rule["verbs"] = [one for one in rule["verbs"] if one not in verb]
    return [role | {"rules": [rule for rule in role["rules"] if rule["verbs"]]} for role in roles]


@pytest.mark.nightly
@pytest.mark.parametrize("verbs", [{"watch"}, {"watch", "list"}], ids=["watch", "watch and list"])
def test_an_operator_that_is_newer_than_its_roles_says_what_is_missing_and_goes_on(
    plane, render, start, root, eventually, verbs
):
    objects = render()
    roles = [each for each in objects if each["kind"] == "ClusterRole" and "rules" in each]
    plane.apply(*without_pods(objects, verbs))
    try:
        with start(deployment_of(objects), code=1) as operator:
            eventually(lambda: operator.answers("/readyz"))
            plane.apply(sample(root, "tiny-cpu", namespace=TEAM))
            eventually(lambda: plane.api.list("rayservices", namespace=TEAM))
            eventually(lambda: looked_at(find(plane, "llamadeployment", "tiny")))
            (refused,) = operator.refusals() or [operator.log.read_text()]
            assert "pods are not watched, so less is known of why a model does not run" in refused
            right = "list" if "list" in verbs else "watch"
            assert f"verb `{right}` on `pods`" in refused
            plane.apply(*roles)
            eventually(lambda: operator.process.poll() is not None)
            assert "pods may be watched now" in operator.log.read_text()
    finally:
        plane.apply(*roles)
        plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM, "--ignore-not-found")


def test_evidence_is_signed_and_the_lease_has_the_signed_head(plane, render, start, root, tmp_path, eventually, capsys):
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    deployment = deployment_of(render({"evidence": {"signingKeySecret": {"name": "evidence-key"}}}))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (variable,) = [each for each in container["env"] if each["name"] == "LLAMA_OPERATOR_EVIDENCE_SIGNING_KEY"]
    variable["value"] = str(tmp_path / "key.pem")

    evidence = tmp_path / "evidence.jsonl"

    def verified(*arguments):
        # Without --mixed: no line of another log is among them.
        code = main(["license", "verify", str(evidence), "-o", "json", *arguments])
        return code, json.loads(capsys.readouterr().out)

    def lease_head():
        annotations = find(plane, "lease", "llama-operator", NAMESPACE)["metadata"].get("annotations") or {}
        return annotations.get("llama-operator.io/license-evidence-head", "")

    with_key = ["--public-key", str(tmp_path / "public.pem")]
    with start(deployment) as operator:
        eventually(lambda: operator.answers("/readyz"))
        plane.kubectl("apply", "--server-side", "-f", root / "manifests" / "samples" / "license-acceptance.yaml")
        plane.apply(sample(root, "tiny-cpu", namespace=TEAM))
        eventually(lambda: evidence.exists() and b'"event":"Decided"' in evidence.read_bytes())
        eventually(lambda: verified(*with_key, "--head", lease_head())[0] == 0)
        head = json.loads(lease_head())
        # As a person does who may patch the Lease: the leader puts its own back, which may be a later one by now.
        forged = json.dumps({"metadata": {"annotations": {"llama-operator.io/license-evidence-head": "0" * 64}}})
        plane.kubectl("patch", "lease", "llama-operator", "-n", NAMESPACE, "--type=merge", "-p", forged)
        eventually(lambda: verified(*with_key, "--head", lease_head())[0] == 0)
        assert json.loads(lease_head())["sequence"] >= head["sequence"]
        plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM, "--timeout=240s")
        log = operator.log
    code, document = verified(*with_key, "--head", lease_head())
    assert code == 0, document
    assert document["signatures"]["unsigned"] == 0
    (used,) = document["signatures"]["keys"]
    assert used["key"] in log.read_text()
    assert verified(*with_key, "--head", json.dumps(head | {"sequence": 99}))[0] == 6
    assert "license-evidence/v1" not in log.read_text(), "it has a stream of its own"
    assert private.decode().splitlines()[1] not in log.read_text()
