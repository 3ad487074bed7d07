"""Two nodes that run pods and enforce NetworkPolicies; KubeRay and the operator are pods on the first. Run by `make e2e-network`.

The second node is cordoned until a test wants it.
"""

import contextlib
import datetime as dt
import json
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from control_plane import binaries, kuberay, saved_planes
from control_plane.identities import Authority
from control_plane.node.real_node import NodeSettings, missing, real_node
from control_plane.plane import SERVICE_RANGE
from llama_operator import __version__
from llama_operator.decide.observed import Settings
from support.nodes.real_cluster import NAMESPACE, OPERATOR_SECONDS, Cluster, install

FOLDER = Path(__file__).resolve().parent
OPERATOR_IMAGE = f"llama-operator/llama-operator:{__version__}"
PEER_IMAGE = "example/peer:1"
NAMES = ("first", "second")
START_SECONDS = 1200
NAME = "tiny"
TEAM, STRANGER, MONITORING, KUBERAY = "team-b", "stranger", "monitoring", "kuberay-system"
PEERS = {
    "own": (NAMESPACE, {}),
    "named": (TEAM, {"app": "assistant"}),
    "not-named": (TEAM, {}),
    "stranger": (STRANGER, {}),
    "stranger-with-labels": (STRANGER, {"app": "assistant", "app.kubernetes.io/name": "kuberay-operator"}),
    "prometheus": (MONITORING, {}),
    "kuberay": (KUBERAY, {"app.kubernetes.io/name": "kuberay-operator"}),
    "not-kuberay": (KUBERAY, {}),
}
"""Pods that knock: their namespaces and labels."""


def pytest_collection_modifyitems(items):
    absent = (*binaries.missing(("core", "node")), *binaries.missing(("kube-router",)))
    why = missing(firewall=True) or (f"{absent[0]} is not built: make e2e-network" if absent else "")
    if why:
        for item in items:
            if FOLDER in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    with saved_planes.control_plane(tmp_path_factory.mktemp("plane")) as running:
        kuberay.install(running)
        yield running


@pytest.fixture(scope="session")
def nodes(plane, tmp_path_factory):
    folder = binaries.ensure(("core", "node"))
    found = []
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            settings = NodeSettings(
                name=name,
                images=(Settings().image, OPERATOR_IMAGE, PEER_IMAGE),
                programs={kuberay.IMAGE: folder / "ray-operator"},
                promised={"cpu": "8", "memory": "48Gi"},
                firewall=True,
            )
            parent = tmp_path_factory.mktemp(name)
            services = IPv4Network(SERVICE_RANGE)
            found.append(stack.enter_context(real_node(plane, folder, parent, settings, services, beside=found)))
        plane.kubectl("cordon", NAMES[1])
        yield found


@pytest.fixture(scope="session")
def cluster(plane, nodes, tmp_path_factory):
    kuberay.start_in_pod(plane)
    (api,) = json.loads(plane.kubectl("get", "endpointslices", "kubernetes", "--output", "json").stdout)["ports"]
    # A policy is asked after a cluster address has become that of the API server itself.
    install(plane, "llama-operator", "--set", f"networkPolicy.apiServerPorts={{443,{api['port']}}}")
    found = Cluster(plane, nodes, tmp_path_factory.mktemp("logs"))
    found.until(found.operator_is_available, seconds=OPERATOR_SECONDS, what="the operator")
    return found


class Peer:
    """A pod from which a test asks; its scripts are in this folder."""

    def __init__(self, plane, namespace, name):
        self._plane, self._where = plane, ("--namespace", namespace, name)

    def command(self, *words):
        return [str(self._plane.binaries / "kubectl"), f"--kubeconfig={self._plane.kubeconfig}", "exec", "--stdin",
                *self._where, "--", *map(str, words)]  # fmt: skip

    def run(self, script, *words):
        """What a script says, from JSON."""
        source = (FOLDER / "scripts" / f"{script}.py").read_text(encoding="utf-8")
        done = subprocess.run(
            self.command("python", "-", *words), input=source, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def asking(self, *words):
        """Have the script `ask` run meanwhile; yields a list that has what it said in the end."""
        source = (FOLDER / "scripts" / "ask.py").read_text(encoding="utf-8")
        subprocess.run(self.command("rm", "-f", "/tmp/stop"), check=True)
        said = []
        with subprocess.Popen(
            self.command("python", "-", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdin.write(source)
            process.stdin.close()
            try:
                yield said
            finally:
                subprocess.run(self.command("touch", "/tmp/stop"), check=True)
                said += [json.loads(line) for line in process.stdout]
                process.wait(300)


@pytest.fixture(scope="session")
def peers(plane, cluster):
    """All of `PEERS`, on the first node."""
    for namespace in {namespace for namespace, _ in PEERS.values()} - {NAMESPACE, KUBERAY}:
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    template = yaml.safe_load((FOLDER / "peer.yaml").read_text(encoding="utf-8"))
    for name, (namespace, labels) in PEERS.items():
        plane.apply(template | {"metadata": {"name": name, "namespace": namespace, "labels": labels}})
    for name, (namespace, _) in PEERS.items():
        plane.kubectl("wait", "--for=condition=Ready", "pod", name, "-n", namespace, "--timeout=240s")
    return {name: Peer(plane, namespace, name) for name, (namespace, _) in PEERS.items()}


@pytest.fixture(scope="session")
def inside(plane):
    """Makes a peer of a pod of the deployment."""
    return lambda pod: Peer(plane, NAMESPACE, pod["metadata"]["name"])


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """What the store and the head show each other, as objects of the team."""
    authority = Authority(tmp_path_factory.mktemp("store"), dt.datetime.now(dt.UTC))
    pairs = {"store-server": authority.service("store", NAMESPACE), "store-client": authority.client("ray")}
    known = {"ca.crt": authority.pair.certificate.read_text()}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "store-authority", "namespace": NAMESPACE},
            "data": known,
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "stringData": {"tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text()},
            }
            for name, pair in pairs.items()
        ),
    ]


@pytest.fixture(scope="session")
def serving(plane, cluster, peers, certificates):
    """The tiny sample, with one worker, and a head that keeps what it knows in a store, over an encrypted connection."""
    plane.apply(*certificates)
    plane.kubectl("apply", "--server-side", "--filename", str(FOLDER / "store.yaml"))
    plane.kubectl("wait", "--for=condition=Ready", "pod", "store", "--timeout=240s")
    sample = yaml.safe_load((FOLDER.parents[1] / "manifests/samples/tiny-cpu.yaml").read_text(encoding="utf-8"))
    # As many replicas as a test asks for, whatever the load.
    sample["spec"]["scaling"] |= {"minReplicas": 1, "maxReplicas": 1}
    sample["spec"] |= {
        "access": {"from": [{"namespace": TEAM, "podLabels": {"app": "assistant"}}]},
        "headStore": {
            "address": "store.default.svc:6379",
            "tls": {"authority": {"configMap": "store-authority"}, "clientSecret": "store-client"},
            "passwordSecret": {"name": "store"},
        },
    }
    plane.apply(sample)
    cluster.until(lambda: cluster.is_ready(NAME), seconds=START_SECONDS, what="the deployment to be Ready")
    return cluster
