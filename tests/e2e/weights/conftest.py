"""A Hub on the host, which pods reach by name, and a disk of the node that an administrator has made a volume of."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.model_hub import Repository, serving
from support.nodes.real_cluster import NAMESPACE
from support.serving.weight_copies import NAME, TOKEN, model

FOLDER = Path(__file__).resolve().parent
CLASS = "node-disk"
HUB, STORAGE = "hub", "storage"
SHARDS = 4


class Hub:
    """A server that can be switched off and on again; its address stays."""

    def __init__(self, repository, address):
        self.repository = repository
        self._address = address
        self._port = 0
        self._running = contextlib.ExitStack()
        self.endpoint = ""

    def start(self):
        self.repository.ends.clear()
        names = {"hub_name": _name(HUB), "storage_name": _name(STORAGE)}
        self.endpoint = self._running.enter_context(serving(self.repository, self._address, self._port, **names))
        self._port = int(self.endpoint.rpartition(":")[2])

    def stop(self):
        self._running.close()

    @property
    def port(self):
        return self._port


@pytest.fixture(scope="session")
def hub(plane, node, tmp_path_factory):
    """The Hub, and the storage that it sends large files from, each by a name of the cluster."""
    files = model(tmp_path_factory.mktemp("model") / "made", SHARDS)
    address = str(node.network.host)
    running = Hub(Repository(NAME, files, token=TOKEN), address)
    running.start()
    try:
        for name in (HUB, STORAGE):
            for obj in _outside(name, address, running.port):
                plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(obj))
        yield running
    finally:
        running.stop()


def _name(service):
    return f"{service}.{NAMESPACE}.svc.cluster.local"


def _outside(name, address, port):
    """A name of the cluster for a server outside of it."""
    metadata = {"name": name, "namespace": NAMESPACE}
    ports = [{"name": "http", "port": port, "protocol": "TCP"}]
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": "None", "ports": ports}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }


@pytest.fixture(scope="session")
def disk(plane, node, tmp_path_factory):
    """A folder of the node, as a local PersistentVolume. Its root belongs to root, as that of a new disk does."""
    folder = tmp_path_factory.mktemp("disk")
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": folder.name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "20Gi"},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [_on(node)]}]}},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
        },
    }
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(volume))
    return folder


def _on(node):
    return {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.settings.name]}


@pytest.fixture
def manifest():
    """The model and its deployment as JSON for kubectl, under another name and with other parts of the spec if wanted."""

    def build(name=None, **spec):
        model, deployment = yaml.safe_load_all((FOLDER / "copied.yaml").read_text(encoding="utf-8"))
        deployment["metadata"]["name"] = name or deployment["metadata"]["name"]
        for section, values in spec.items():
            deployment["spec"][section] = deployment["spec"][section] | values
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": [model, deployment]})

    return build


@pytest.fixture
def chart_values(hub):
    """The platform owner's mirror of the Hub."""
    return ("--set", f"settings.hubEndpoint={hub.endpoint}")


@pytest.fixture
def token(plane):
    """The tenant's Secret."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", "namespace": NAMESPACE}}
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(secret | {"stringData": {"token": TOKEN}}))


@pytest.fixture
def follow(plane):
    """Runs `kubectl llama weights follow` meanwhile; gives a list that has its exit code and what it said in the end."""

    @contextlib.contextmanager
    def call():
        command = [Path(sys.prefix) / "bin" / "kubectl-llama", "weights", "follow", "--namespace", NAMESPACE]
        command += ["--kubeconfig", plane.kubeconfig]
        ended = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            yield ended
            said, _ = process.communicate(timeout=120)
            ended += [process.returncode, said]

    return call


@pytest.fixture
def kill(node):
    """Kills all processes of the node with these words in their command line, without a chance to tidy up; says how many."""

    def call(*words):
        found = [
            pid for pid, command in _processes() if all(word in command for word in words) and _is_below(node, pid)
        ]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    return call


def _processes():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield int(path.parent.name), path.read_bytes().decode(errors="replace").split("\0")


def _is_below(node, pid):
    """Whether a process descends from the node's first one."""
    while pid not in (0, node.process):
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return pid == node.process
