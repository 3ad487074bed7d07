"""One control plane for the session, a namespace for each test. Nothing of them outlives the session."""

import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
import yaml

from control_plane import binaries, kuberay, nodes, saved_planes
from llama_operator.cli.shared.documents import documents

COMMAND = "make control-plane"
FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SAMPLES = ROOT / "manifests" / "samples"
PATIENCE = 240.0
CHILDREN = "rayservices.ray.io,services,networkpolicies,controllerrevisions.apps"


LONGEST = (
    "test_store_put_back.py",
    "test_incidents.py",
    "test_operator_process.py",
    "test_flows.py",
    "test_leader_killed.py",
    "test_versions.py",
    "test_rollout_flows.py",
    "test_node_autoscaling.py",
    "test_diagnosis.py",
    "test_license_flows.py",
    "test_deeds.py",
    "test_plane.py",
    "test_cli.py",
)
"""Files that take longest, in the order in which they start: no worker shall wait for another's at the end.

Measured; `pytest --durations=0` shows what to change.
"""


def pytest_collection_modifyitems(items):
    items.sort(key=_place)
    for group, marker in (("core", "control_plane"), ("karpenter", "karpenter")):
        if not (absent := binaries.missing((group,))):
            continue
        skip = pytest.mark.skip(reason=f"{absent[0]} is not built: {COMMAND}")
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(skip)


def _place(item):
    if item.path.parent != FOLDER:
        # What one worker has to run as a whole takes longer than any file of ours.
        return -1
    return LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    """All CRDs, KWOK without nodes, KubeRay, and simulated dashboards; who writes what is logged."""
    with saved_planes.control_plane(tmp_path_factory.mktemp("plane"), audit=True) as running:
        nodes.start_kwok(running)
        kuberay.start(running)
        yield running


@pytest.fixture
def kubeconfig(plane):
    """Of the administrator."""
    return plane.kubeconfig


@pytest.fixture
def namespace(plane):
    """A fresh one; what the test left in it goes."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    plane.api.delete("namespace", name)


def until(look, what, patience=PATIENCE):
    """Wait until `look` returns something true; returns it. What takes long is looked at less often."""
    end, pause = time.monotonic() + patience, 0.2
    while not (found := look()):
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(pause)
        pause = min(1.0, pause * 1.2)
    return found


class User:
    """What somebody with kubectl does and sees in one namespace."""

    def __init__(self, plane, namespace):
        self.plane, self.namespace = plane, namespace

    def kubectl(self, *arguments, **options):
        return self.plane.kubectl(*arguments, "-n", self.namespace, **options)

    def get(self, kinds, labels=""):
        """What `kubectl get KINDS -l LABELS` reads, without the kubectl: those who wait look often."""
        return self.plane.api.list(kinds, namespace=self.namespace, labels=labels)

    def one(self, kind, name):
        return self.plane.api.find(kind, name, namespace=self.namespace)

    def sample(self, sample, name="chat", **spec):
        """The manifest of a sample for this namespace, with other parts of its spec."""
        obj = yaml.safe_load((SAMPLES / f"{sample}.yaml").read_text(encoding="utf-8"))
        obj["metadata"] = {"name": name, "namespace": self.namespace}
        obj["spec"] |= spec
        return obj

    def apply(self, sample, name="chat", **spec):
        obj = self.sample(sample, name, **spec)
        if obj["spec"].get("license", {}).get("acceptance"):
            obj["spec"]["license"]["acceptance"] = self.namespace
        # As people do it: what a field manager of the tests' own had written would stay when they leave it out.
        self.kubectl("apply", "-f", "-", stdin=json.dumps(obj, default=str))

    def accept(self):
        """Record the acceptance of the samples' licenses by the entity of this namespace."""
        for number, obj in enumerate(documents(SAMPLES / "license-acceptance.yaml")):
            name = f"{self.namespace}-{number}" if number else self.namespace
            self.plane.apply(obj | {"metadata": {"name": name}, "spec": obj["spec"] | {"namespaces": [self.namespace]}})

    def conditions(self, name):
        """By type; empty where the status is not about the spec."""
        live = self.one("lld", name) or {}
        status = live.get("status") or {}
        current = status.get("observedGeneration") == live.get("metadata", {}).get("generation")
        return {each["type"]: each for each in status.get("conditions", []) if current}

    def condition(self, name, kind):
        return self.conditions(name).get(kind, {"status": "", "reason": "", "message": ""})

    def ready(self, name="chat"):
        """Wait until the deployment answers with what its spec asks for."""
        until(lambda: self.serves(name), f"{name} is Ready and UpToDate")

    def serves(self, name="chat"):
        now = self.conditions(name)
        return all(kind in now and now[kind]["status"] == "True" for kind in ("Ready", "UpToDate"))

    def services(self, name="chat"):
        return {
            each["metadata"]["name"] for each in self.get("rayservices.ray.io", f"llama-operator.io/deployment={name}")
        }

    def traffic(self, name="chat"):
        return self.one("service", name)["spec"]["selector"]["llama-operator.io/revision"]

    def bounds(self, name):
        """Bounds of the worker groups of the deployment's RayClusters."""
        clusters = self.get("rayclusters.ray.io", f"llama-operator.io/deployment={name}")
        groups = (group for each in clusters for group in each["spec"]["workerGroupSpecs"])
        return [(group["minReplicas"], group["maxReplicas"]) for group in groups]

    def pods(self, role):
        """Pods of a role that nobody is deleting."""
        found = self.get("pods", f"ray.io/node-type={role}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def written(self, name=""):
        """What the operator owns, of one deployment or of all, and when it wrote it last."""
        return {
            (obj["kind"], obj["metadata"]["name"]): (
                obj["metadata"]["uid"],
                [each for each in obj["metadata"]["managedFields"] if each["manager"] == "llama-operator"],
            )
            for obj in self.get(f"{CHILDREN},lld")
            if f"{obj['metadata']['name']}-".startswith(f"{name}-" if name else "")
        }

    def wait_for_kuberay(self, name="chat", reconciles=1):
        """Wait until KubeRay has reconciled the RayServices of the deployment so often, from beginning to end."""
        looks = self.plane.dashboards.looks
        before = looks(self.namespace, f"{name}-")
        # The first look may belong to a reconcile that began before, and the last to one that has not ended.
        until(lambda: looks(self.namespace, f"{name}-") >= before + reconciles + 2, f"KubeRay looks after {name}")

    def at_rest(self, name="chat"):
        """Wait until the operator has nothing left to write; returns what it wrote."""
        until(lambda: self.condition(name, "Reconciling")["status"] == "False", f"{name} is at rest")
        last = None
        end = time.monotonic() + PATIENCE
        while (now := self.written(name)) != last:
            assert time.monotonic() < end, "the operator does not stop writing"
            last = now
            self.wait_for_kuberay(name)
        return now


class Operator:
    """The operator's process; like a kubelet, it starts one again that ended by itself, say because it lost its Lease."""

    def __init__(self, kubeconfig, namespace, log, *flags):
        self.command = [
            sys.executable, "-m", "llama_operator.main",
            f"--kubeconfig={kubeconfig}", f"--namespace={namespace}", f"--lease-namespace={namespace}",
            "--serving-status=Off", "--weights-preflight=Disabled", "--probe-port=0", *flags,
        ]  # fmt: skip
        self.log = log
        self.process = None
        self.wanted = False
        self.lock = threading.Lock()

    def start(self):
        self.wanted = True
        self.spawn()
        threading.Thread(target=self.tend, daemon=True).start()
        return self

    def spawn(self):
        with self.log.open("a") as stream:
            self.process = subprocess.Popen(self.command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT)

    def tend(self):
        while True:
            self.process.wait()
            with self.lock:
                if not self.wanted:
                    return
                self.spawn()
            # One that ends at once must not take the machine.
            time.sleep(1)

    def stop(self, with_signal=signal.SIGTERM):
        with self.lock:
            self.wanted = False
            process = self.process
        if process is not None and process.poll() is None:
            process.send_signal(with_signal)
            process.wait(120)


@pytest.fixture
def user(plane, namespace):
    found = User(plane, namespace)
    found.accept()
    yield found
    for name in (namespace, f"{namespace}-1"):
        plane.api.delete("licenseacceptance", name)


@pytest.fixture
def make_operator(kubeconfig, namespace, tmp_path):
    started = []

    def make(*flags):
        started.append(Operator(kubeconfig, namespace, tmp_path / f"operator-{len(started)}.log", *flags))
        return started[-1].start()

    yield make
    for each in started:
        each.stop()
        # Shown when the test failed.
        print(f"--- {each.log.name}\n{each.log.read_text(encoding='utf-8')[-4000:]}")


@pytest.fixture
def operator(make_operator):
    return make_operator()


@pytest.fixture
def eventually():
    return until


@pytest.fixture(scope="module")
def h100_nodes(plane):
    """Two nodes with eight H100 each."""
    names = nodes.add_nodes(plane, "h100-8", 2)
    yield names
    nodes.remove_nodes(plane, names)


@pytest.fixture
def eventual_holder(user):
    """Wait until somebody holds the Lease, somebody else than the one named; returns who."""

    def wait(other_than=""):
        def holder():
            lease = user.one("lease", "llama-operator") or {"spec": {}}
            found = lease["spec"].get("holderIdentity", "")
            return found if found != other_than else ""

        return until(holder, "somebody leads")

    return wait
