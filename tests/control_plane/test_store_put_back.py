"""An etcd that is put back to an older state under an operator that goes on: a real etcd and API server, without KubeRay."""

import sys
import time
from pathlib import Path

import pytest
import yaml

from control_plane import saved_planes

pytestmark = [pytest.mark.control_plane, pytest.mark.nightly, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "manifests" / "samples" / "tiny-cpu.yaml"
TEAM = "put-back"
PATIENCE = 240.0
QUIET = 5.0
OURS = "rayservices.ray.io,services,networkpolicies,controllerrevisions.apps"
FLAGS = (
    *(f"--namespace={TEAM}", f"--lease-namespace={TEAM}", "--identity=one", "--probe-port=0"),
    *("--serving-status=Off", "--weights-preflight=Disabled"),
)


class World:
    """A plane, and an operator that is started again when it ends, as a kubelet does."""

    def __init__(self, plane):
        self.plane = plane
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})

    def tend(self):
        if not self.plane.processes.runs("operator"):
            self.plane.processes.stop("operator")
            command = [sys.executable, "-m", "llama_operator.main", f"--kubeconfig={self.plane.kubeconfig}", *FLAGS]
            self.plane.processes.start("operator", command)

    def create(self, name, **spec):
        sample = next(each for each in yaml.safe_load_all(SAMPLE.read_text()) if each["kind"] == "LlamaDeployment")
        sample |= {"metadata": {"name": name, "namespace": TEAM}}
        self.plane.apply(sample | {"spec": sample["spec"] | spec})

    def children(self):
        """Uid of each object of ours, by kind and name."""
        listed = self.plane.api.list(OURS, namespace=TEAM)
        return {(obj["kind"], obj["metadata"]["name"]): obj["metadata"]["uid"] for obj in listed}

    def of(self, name):
        """What a deployment has, by kind; only once its status is about its spec."""
        (live,) = [
            each
            for each in self.plane.api.list("llamadeployments.llama-operator.io", namespace=TEAM)
            if each["metadata"]["name"] == name
        ]
        told = (live.get("status") or {}).get("observedGeneration") == live["metadata"]["generation"]
        return {key: uid for key, uid in self.children().items() if key[1].startswith(name)} if told else {}

    def eventually(self, look, what):
        until = time.monotonic() + PATIENCE
        while not (seen := look()):
            self.tend()
            assert time.monotonic() < until, f"never came true: {what}; {self.children()}"
            time.sleep(0.3)
        return seen

    def stays(self, wanted):
        """The objects of ours come to be these, and nothing else is made for a while."""
        since = time.monotonic()
        until = since + PATIENCE
        while time.monotonic() - since < QUIET:
            self.tend()
            time.sleep(0.3)
            if (seen := self.children()) != wanted:
                since = time.monotonic()
            assert time.monotonic() < until, f"{seen} and not {wanted}"


def kinds(objects):
    return sorted(kind for kind, _ in objects)


def test_after_a_restore_nothing_is_made_twice_and_everything_is_tended(tmp_path):
    with saved_planes.control_plane(tmp_path / "plane", bare=True) as plane:
        world = World(plane)
        world.create("kept")
        whole = world.eventually(lambda: len(world.of("kept")) >= 4 and world.of("kept"), "kept has its children")
        plane.save_store(tmp_path / "older")

        world.create("lost")
        world.eventually(lambda: kinds(world.of("lost")) == kinds(whole), "lost has its children")
        plane.kubectl("delete", "service", "kept", "-n", TEAM)
        again = lambda: world.of("kept").get(("Service", "kept"), "") not in {"", whole["Service", "kept"]}  # noqa: E731
        world.eventually(again, "the Service is back, as another one")

        plane.put_store_back(tmp_path / "older")
        world.stays(whole)
        world.create("after")
        world.eventually(lambda: kinds(world.of("after")) == kinds(whole), "a new one gets its children")
        (name,) = [name for kind, name in whole if kind == "RayService"]
        plane.kubectl("delete", "rayservice", name, "-n", TEAM)
        world.eventually(lambda: ("RayService", name) in world.of("kept"), "what is deleted comes back")
