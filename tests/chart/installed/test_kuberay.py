"""The real KubeRay behind the admission policies: what it and Ray's autoscaler do for a living is let through."""

import dataclasses
import json
import subprocess

import pytest
import yaml

from control_plane import rendered_operator
from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.v1alpha1.llamadeployment import MAX_NAME_LENGTH
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.placement.platform_pods import MemoryLock, PlatformPods
from llama_operator.desired import objects

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]

TEAM = "kuberay-team"
KUBERAY = "kuberay-system"
OPERATOR = "system:serviceaccount:llama-system:llama-operator"
RBAC = "rbac.authorization.k8s.io"
KUBERAY_KEEPS = 50
"""Characters of a long name."""


def of_team(plane, kinds, labels=""):
    return plane.api.list(kinds, namespace=TEAM, labels=labels)


def service_of_team(plane, name):
    return plane.api.find("rayservice", name, namespace=TEAM)


def binding(user):
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kuberay-test"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }


@pytest.fixture(scope="module")
def kuberay(everything_installed, binaries, tmp_path_factory, licenses_are_held):
    """KubeRay with the identity that its own chart gives it; all rights, so that the policies alone decide."""
    tmp_path = tmp_path_factory.mktemp("kuberay")
    plane, account = everything_installed, f"system:serviceaccount:{KUBERAY}:kuberay-operator"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KUBERAY}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM, "labels": enforced}},
    ]
    service_account = {"name": "kuberay-operator", "namespace": KUBERAY}
    plane.apply(
        *namespaces,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": service_account},
        binding(account),
    )
    licenses_are_held(plane, TEAM)
    view = json.loads(plane.kubectl("config", "view", "--raw", "--flatten", "-o", "json").stdout)
    kubeconfig = rendered_operator.token_kubeconfig(
        tmp_path / "kuberay.kubeconfig",
        cluster=view["clusters"][0]["cluster"],
        token=plane.kubectl("create", "token", "kuberay-operator", "-n", KUBERAY).stdout.strip(),
        namespace=KUBERAY,
    )
    flags = [
        "-enable-leader-election=false",
        "-use-kubernetes-proxy",
        "-metrics-addr=0",
        "-health-probe-bind-address=0",
    ]
    command = [str(binaries / "ray-operator"), "-kubeconfig", str(kubeconfig), *flags]
    with (tmp_path / "kuberay.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        yield plane, tmp_path / "kuberay.log"
        plane.kubectl("delete", "namespace", TEAM, "--timeout=240s")
        process.terminate()
        process.wait(120)
    plane.kubectl("delete", "namespace", KUBERAY, "--timeout=240s")
    plane.kubectl("delete", "clusterrolebinding", "kuberay-test")


def rayservice(root, name):
    """What the operator makes of the 70B sample, for a deployment of another name."""
    golden = root / "tests" / "golden" / "samples" / "llama-3.3-70b-fp8-h100.output.yaml"
    (service,) = [o for o in yaml.safe_load(golden.read_text())["apply"] if o["kind"] == "RayService"]
    revision = service["metadata"]["name"].rpartition("-")[2]
    service["metadata"] |= {"namespace": TEAM, "name": f"{name}-{revision}"}
    return service


TAINT = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
PODS = {
    "labels": {"acme.example/cost": "7"},
    "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma"},
    "nodeSelector": {"acme.example/pool": "gold"},
    "tolerations": [TAINT],
    "runtimeClassName": "nvidia",
    "priorityClassName": "models",
    "imagePullSecrets": [{"name": "registry"}],
    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
    "topologySpreadConstraints": [{"topologyKey": "topology.kubernetes.io/zone"}],
    "caBundle": {"configMap": "acme-ca"},
    "head": {"nodeSelector": {"acme.example/pool": "cpu"}},
}


def with_settings(root, name, platform=PlatformPods()):  # noqa: B008 - frozen
    """What the operator makes of the 405B sample, whose replicas span nodes, with every setting of pods that a team may use."""
    written = yaml.safe_load((root / "manifests" / "samples" / "llama-3.1-405b-bf16-h100.yaml").read_text())
    written["metadata"] = {"name": name, "namespace": TEAM}
    written["spec"] |= {"pods": PODS}
    observed = Observed(parse(written), acceptances=None, platform_pods=platform)
    decision = decide(observed, catalog.load())
    built = objects.build(observed, decision, Settings(pods=observed.platform_pods)).apply
    (service,) = [obj for obj in built if obj["kind"] == "RayService"]
    return service


def test_pods_with_settings_are_admitted_where_restricted_is_enforced(kuberay, root, eventually):
    """Those that KubeRay makes, with what it adds to them: its own containers, and probes."""
    plane, log = kuberay
    plane.apply(
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"},
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "models"}, "value": 1000},
    )
    service = with_settings(root, "chat-405b")
    name = service["metadata"]["name"]
    written = ("apply", "--server-side", "--field-manager=llama-operator", f"--as={OPERATOR}", "-f", "-")
    plane.kubectl(*written, stdin=json.dumps(service))
    # A head, and both pods of the one replica.
    eventually(lambda: len(of_team(plane, "pods")) == 3)
    pods = {pod["metadata"]["labels"]["ray.io/node-type"]: pod for pod in of_team(plane, "pods")}
    for role, pool in (("head", "cpu"), ("worker", "gold")):
        metadata, spec = pods[role]["metadata"], pods[role]["spec"]
        assert metadata["labels"]["acme.example/cost"] == "7"
        assert metadata["annotations"]["k8s.v1.cni.cncf.io/networks"] == "rdma"
        assert spec["nodeSelector"] == {"acme.example/pool": pool}
        assert TAINT in spec["tolerations"]
        assert (spec["runtimeClassName"], spec["priorityClassName"]) == ("nvidia", "models")
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert {"name": "NCCL_DEBUG", "value": "INFO"} in spec["containers"][0]["env"]
        assert spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["ray.io/node-type"] == role
    assert {"ray-head", "autoscaler"} == {container["name"] for container in pods["head"]["spec"]["containers"]}
    assert "forbidden" not in log.read_text()
    plane.kubectl("delete", "rayservice", name, "-n", TEAM, f"--as={OPERATOR}", "--wait=false")
    eventually(lambda: not of_team(plane, "rayservices,rayclusters,pods"))


@pytest.mark.parametrize("level", ["restricted", "baseline", "privileged"])
def test_memory_is_locked_only_where_the_namespace_allows_it(kuberay, root, level):
    """What docs/pods.md says of `podDefaults.memoryLock`, by the API server itself; without it nothing is refused."""
    plane, _ = kuberay
    namespace = f"level-{level}"
    labels = {"pod-security.kubernetes.io/enforce": level}
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    # The account exists a moment after the namespace.
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}})
    given = PlatformPods()
    for lock in MemoryLock:
        defaults = given.defaults.model_copy(update={"memory_lock": lock})
        service = with_settings(root, "chat", dataclasses.replace(given, defaults=defaults))
        (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        elsewhere = ("runtimeClassName", "priorityClassName")
        spec = {name: value for name, value in group["template"]["spec"].items() if name not in elsewhere}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"}, "spec": spec}
        dry = ("create", "--dry-run=server", "-n", namespace, "-f", "-")
        done = plane.kubectl(*dry, stdin=json.dumps(pod), check=False)
        refused = lock is MemoryLock.ENABLED and level != "privileged"
        assert (done.returncode != 0) is refused, done.stderr
        assert ("IPC_LOCK" in done.stderr) is refused


def account_of_the_head(plane, cluster):
    """The service account that KubeRay gives the head, and the autoscaler in it."""
    pods = of_team(plane, "pods", f"ray.io/cluster={cluster},ray.io/node-type=head")
    return pods[0]["spec"]["serviceAccountName"] if pods else ""


# The name of a RayCluster has 15 characters more. KubeRay keeps 50 for the account, and puts an r where no letter is first.
NIGHTLY = [pytest.param(name, marks=pytest.mark.nightly) for name in ("a7" + "b" * 34, "ab-" + "c" * 34)]


@pytest.mark.parametrize("name", ["chat-70b", *NIGHTLY, "abc" + "d" * (MAX_NAME_LENGTH - 3)], ids=len)
def test_kuberay_and_the_autoscaler_work_behind_the_policies(kuberay, root, eventually, name):
    """The two names between a usual one and the longest are nightly: `admission/test_fence` has the account of each form, without KubeRay."""
    plane, log = kuberay
    service = rayservice(root, name)
    name = service["metadata"]["name"]
    plane.kubectl(
        "apply",
        "--server-side",
        "--field-manager=llama-operator",
        f"--as={OPERATOR}",
        "-f",
        "-",
        stdin=json.dumps(service),
    )
    (cluster,) = eventually(lambda: of_team(plane, "rayclusters"))
    assert service_of_team(plane, name)["metadata"]["finalizers"] == ["ray.io/rayservice-finalizer"]
    eventually(lambda: service_of_team(plane, name).get("status"))
    eventually(lambda: of_team(plane, "pods"))

    # With its own rights, which KubeRay has given it.
    account = eventually(lambda: account_of_the_head(plane, cluster["metadata"]["name"]))
    assert account == cluster["metadata"]["name"] or len(account) == KUBERAY_KEEPS
    autoscaler = f"--as=system:serviceaccount:{TEAM}:{account}"
    eventually(lambda: any(each["metadata"]["name"] == account for each in of_team(plane, "rolebindings")))
    counts = json.dumps([{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 2}])
    patch = ["patch", "raycluster", cluster["metadata"]["name"], "-n", TEAM, "--type=json", "-p"]
    plane.kubectl(*patch, counts, autoscaler)
    image = json.dumps(
        [{"op": "replace", "path": "/spec/headGroupSpec/template/spec/containers/0/image", "value": "evil"}]
    )
    assert "kubectl edit llamadeployment" in plane.kubectl(*patch, image, autoscaler, check=False).stderr
    eventually(lambda: len(of_team(plane, "pods")) >= 3)

    plane.kubectl("delete", "rayservice", name, "-n", TEAM, f"--as={OPERATOR}", "--wait=false")
    eventually(lambda: not of_team(plane, "rayservices,rayclusters,pods"))
    assert "ValidatingAdmissionPolicy" not in log.read_text()
