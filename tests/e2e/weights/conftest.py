"""A Hub and a registry on the host, which the node reaches by name, and disks of the node that an administrator has made volumes of."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from control_plane import binaries
from control_plane.processes import Processes, answers, free_port
from support.model_hub import Repository, serving
from support.nodes.license_ends import end_license
from support.nodes.real_cluster import NAMESPACE, ROOT
from support.serving.weight_copies import NAME, TOKEN, model

FOLDER = Path(__file__).resolve().parent
CLASS = "node-disk"
HUB, STORAGE = "hub", "storage"
REGISTRY = "registry.acme.example"
REPOSITORY = f"{REGISTRY}/models/acme-chat"
SHARDS = 4


def pytest_collection_modifyitems(items):
    absent = binaries.missing(("containerd",))
    why = f"{absent[0]} is not built: make e2e-weights" if absent else ""
    if shutil.which("buildah") is None:
        why = "an image with weights needs buildah: make e2e-weights installs it on Debian"
    if why:
        for item in items:
            if FOLDER in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def node_settings(node_settings):
    return dataclasses.replace(node_settings, mounts_images=True)


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


@dataclasses.dataclass(frozen=True)
class WeightsImage:
    """An image with weights in a registry that nodes know by name: its reference, and what its folder has."""

    reference: str
    files: dict


@pytest.fixture(scope="session")
def weights_image(node, tmp_path_factory):
    """Made by the recipe of docs/weights.md, and pushed with the digest that the push told."""
    folder = tmp_path_factory.mktemp("image")
    files = model(folder / "made", SHARDS) | {"USE_POLICY.md": b"The policy.\n"}
    for path, content in files.items():
        (folder / "models" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / path).write_bytes(content)
    recipe = _recipe()
    (folder / "Containerfile").write_text(recipe)
    address, processes = f"{node.network.host}:{free_port()}", Processes(folder)
    crane = binaries.ensure_apart("containerd") / "crane"
    processes.start("registry", [crane, "registry", "serve", "--address", address, "--disk", _made(folder / "blobs")])
    try:
        processes.await_("registry", lambda: answers(f"http://{address}/v2/"))
        node.ask_registry_at(REGISTRY, f"http://{address}")
        name, digest = f"{address}/models/acme-chat:1", folder / "digest"
        _buildah(folder, "build", "--layers", "--file", folder / "Containerfile", "--tag", name, folder)
        _buildah(folder, "push", "--tls-verify=false", "--disable-compression", "--digestfile", digest, name)
        chosen = {path: content for path, content in files.items() if _is_copied(path, recipe)}
        yield WeightsImage(f"{REPOSITORY}@{digest.read_text().strip()}", chosen)
    finally:
        processes.stop("registry")


def _recipe():
    return re.search(r"```dockerfile\n(.+?)```", (ROOT / "docs/weights.md").read_text(encoding="utf-8"), re.DOTALL)[1]


def _is_copied(path, recipe):
    patterns = [word.removeprefix("models/") for word in recipe.split() if word.startswith("models/")]
    return "/" not in path and any(Path(path).match(pattern) for pattern in patterns)


def _made(folder):
    folder.mkdir()
    return folder


def _buildah(folder, *arguments):
    """Without a daemon, and without what other builds on this machine left."""
    store = ("--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs")
    done = subprocess.run(["buildah", *map(str, (*store, *arguments))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
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
    """The model, its deployment and its license as JSON for kubectl, under another name and with other parts of the spec if wanted."""

    def build(name=None, **spec):
        acceptance, model, deployment = yaml.safe_load_all((FOLDER / "copied.yaml").read_text(encoding="utf-8"))
        name = name or deployment["metadata"]["name"]
        # Each deployment has a licensee of its own, whose license a test may end.
        acceptance["spec"]["legalEntity"] = f"Acme {name}"
        acceptance["metadata"]["name"] = deployment["metadata"]["name"] = deployment["spec"]["license"][
            "acceptance"
        ] = name
        for section, values in spec.items():
            here = deployment["spec"].get(section)
            deployment["spec"][section] = here | values if isinstance(here, dict) else values
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": [acceptance, model, deployment]}, default=str)

    return build


@pytest.fixture(autouse=True)
def licensee_leaves(cluster):
    """Two licensees may not share a namespace: the license of a test's deployment ends with the test."""
    yield
    for acceptance in cluster.items("licenseacceptances"):
        end_license(cluster, acceptance["metadata"]["name"])


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
def llama(plane):
    """What `kubectl llama` says."""

    def call(*words):
        command = [Path(sys.prefix) / "bin" / "kubectl-llama", *words, "--kubeconfig", plane.kubeconfig]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

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
