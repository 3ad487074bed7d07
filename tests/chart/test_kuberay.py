"""The real KubeRay behind the admission policies: what it and Ray's autoscaler do for a living is let through."""

import json
import subprocess

import pytest
import yaml

from control_plane import rendered_operator

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]

TEAM = "kuberay-team"
KUBERAY = "kuberay-system"
OPERATOR = "system:serviceaccount:llama-system:llama-operator"
RBAC = "rbac.authorization.k8s.io"


def get(plane, *arguments):
    return json.loads(plane.kubectl("get", *arguments, "-n", TEAM, "-o", "json").stdout)


def binding(user):
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kuberay-test"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }


@pytest.fixture
def kuberay(bare_plane, binaries, root, tmp_path, licenses_are_held):
    """KubeRay with the identity that its own chart gives it; all rights, so that the policies alone decide."""
    plane, account = bare_plane, f"system:serviceaccount:{KUBERAY}:kuberay-operator"
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", root / "manifests" / "install.yaml")
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (KUBERAY, TEAM)]
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
    plane.kubectl("delete", "--ignore-not-found", "--timeout=240s", "-f", root / "manifests" / "install.yaml")


def test_kuberay_and_the_autoscaler_work_behind_the_policies(kuberay, root, eventually):
    plane, log = kuberay
    golden = root / "tests" / "golden" / "samples" / "llama-3.3-70b-fp8-h100.output.yaml"
    (service,) = [o for o in yaml.safe_load(golden.read_text())["apply"] if o["kind"] == "RayService"]
    service["metadata"] |= {"namespace": TEAM}
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
    (cluster,) = eventually(lambda: get(plane, "rayclusters")["items"])
    assert get(plane, "rayservice", name)["metadata"]["finalizers"] == ["ray.io/rayservice-finalizer"]
    eventually(lambda: get(plane, "rayservice", name).get("status"))
    eventually(lambda: get(plane, "pods")["items"])

    # With its own rights, which KubeRay has given it.
    autoscaler = f"--as=system:serviceaccount:{TEAM}:{cluster['metadata']['name']}"
    eventually(
        lambda: any(each["metadata"]["name"] == cluster["metadata"]["name"] for each in get(plane, "roles")["items"])
    )
    counts = json.dumps([{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 2}])
    patch = ["patch", "raycluster", cluster["metadata"]["name"], "-n", TEAM, "--type=json", "-p"]
    plane.kubectl(*patch, counts, autoscaler)
    image = json.dumps(
        [{"op": "replace", "path": "/spec/headGroupSpec/template/spec/containers/0/image", "value": "evil"}]
    )
    assert "kubectl edit llamadeployment" in plane.kubectl(*patch, image, autoscaler, check=False).stderr
    eventually(lambda: len(get(plane, "pods")["items"]) >= 3)

    plane.kubectl("delete", "rayservice", name, "-n", TEAM, f"--as={OPERATOR}", "--wait=false")
    eventually(lambda: not get(plane, "rayservices,rayclusters,pods")["items"])
    assert "ValidatingAdmissionPolicy" not in log.read_text()
