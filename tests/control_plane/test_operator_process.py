"""The operator as processes on a real API server: who leads, what a death costs, and that only the leader writes."""

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from control_plane import audit

pytestmark = pytest.mark.control_plane

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "manifests" / "samples" / "tiny-cpu.yaml"
PATIENCE = 240.0
QUIET = 8.0
"""For so long nobody writes who is done: a pass that waits for its turn on a busy machine is not."""
KINDS = "llamadeployments.llama-operator.io,rayservices.ray.io,services,networkpolicies,controllerrevisions"
CHILDREN = "services,networkpolicies,controllerrevisions"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def eventually(look, what):
    """Wait until `look` returns something; returns it."""
    until = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < until, f"never came true: {what}"
        time.sleep(0.3)
    return found


class Replica:
    """One operator process, which nobody starts again.

    Its Lease is shorter than the default, and yet so long that a busy machine does not make it lose it.
    """

    def __init__(self, name, kubeconfig, namespace, logs, *flags, lease=(9, 7, 1)):
        self.name = name
        self.port = free_port()
        self.log = logs / f"{name}.log"
        duration, renew, retry = lease
        command = [
            sys.executable,
            "-m",
            "llama_operator.main",
            f"--kubeconfig={kubeconfig}",
            f"--namespace={namespace}",
        ]
        command += [f"--identity={name}", f"--lease-namespace={namespace}", f"--lease-duration-seconds={duration}"]
        command += [
            f"--lease-renew-seconds={renew}",
            f"--lease-retry-seconds={retry}",
            "--serving-status=Off",
            "--weights-preflight=Disabled",
        ]
        command += [f"--probe-port={self.port}", "--probe-host=127.0.0.1", *flags]
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT)

    def ask(self, path):
        """Status and text of a probe; None when nobody answers."""
        try:
            found = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)
        except httpx.TransportError:
            assert self.process.poll() is None, self.log.read_text()
            return None
        return found.status_code, found.text

    def ready(self):
        return self.ask("/readyz") is not None and self.ask("/readyz")[0] == 200

    def role(self):
        found = self.ask("/readyz")
        return json.loads(found[1])["details"]["role"] if found else "does not answer"

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=120)

    def __enter__(self):
        eventually(self.ready, f"{self.name} is ready")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # Shown when the test failed.
        print(f"--- {self.name}\n{self.log.read_text(encoding='utf-8')[-4000:]}")


class Scene:
    """A namespace with a license accepted, and replicas in it; the API server knows each by its name."""

    def __init__(self, plane, namespace, logs):
        self.plane, self.namespace, self.logs = plane, namespace, logs

    def replica(self, name, *flags, **options):
        kubeconfig = self.plane.kubeconfig_for(name, ("system:masters",))
        return Replica(name, kubeconfig, self.namespace, self.logs, *flags, **options)

    def writes(self, name):
        """What the API server did for the replica so far, the Lease aside."""
        return [
            (write.verb, write.resource, write.name)
            for write in audit.writes(self.plane.audit_log, name)
            if write.namespace == self.namespace and write.status < 300 and write.resource != "leases"
        ]

    @contextmanager
    def pair(self, *flags, **options):
        """The leader and its standby."""
        with self.replica("one", *flags, **options) as one:
            eventually(lambda: one.role() == "leader", "the first replica leads")
            with self.replica("two", *flags, **options) as two:
                yield one, two

    def create(self, *names):
        sample = next(each for each in yaml.safe_load_all(SAMPLE.read_text()) if each["kind"] == "LlamaDeployment")
        objects = [sample | {"metadata": {"name": name, "namespace": self.namespace}} for name in names]
        self.plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kinds):
        return self.plane.api.list(kinds, namespace=self.namespace)

    def served(self, *names):
        """Whether each has its RayService, Service and a status for its generation."""
        found = {
            (obj["kind"], obj["metadata"]["name"].rpartition("-")[0] or obj["metadata"]["name"])
            for obj in self.get("rayservices.ray.io")
        }
        services = {obj["metadata"]["name"] for obj in self.get("services")}
        told = {
            obj["metadata"]["name"]
            for obj in self.get("llamadeployments.llama-operator.io")
            if (obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"]
        }
        return all(("RayService", name) in found and name in services and name in told for name in names)

    def told_of_pods(self):
        """Whether each deployment that has a RayService tells what the scheduler said of its pods."""
        told = {
            obj["metadata"]["name"]
            for obj in self.get("llamadeployments.llama-operator.io")
            for condition in (obj.get("status") or {}).get("conditions") or ()
            if condition["reason"] == "PodsUnschedulable"
        }
        owners = {obj["metadata"]["name"].rpartition("-")[0] for obj in self.get("rayservices.ray.io")}
        return owners <= told

    def holder(self):
        lease = self.plane.api.find("lease", "llama-operator", namespace=self.namespace)
        return lease["spec"].get("holderIdentity", "") if lease else ""

    def told_of_lists(self):
        lease = self.plane.api.find("lease", "llama-operator", namespace=self.namespace)
        told = lease["metadata"].get("annotations") or {}
        return {"llama-operator.io/listed-at", "llama-operator.io/lists-again-at"} <= told.keys()

    def written(self):
        """What the operator owns, and when it last changed it: others may write beside it."""
        return {
            (obj["kind"], obj["metadata"]["name"]): (
                obj["metadata"]["uid"],
                [each for each in obj["metadata"]["managedFields"] if each["manager"] == "llama-operator"],
            )
            for obj in self.get(KINDS)
        }

    def settled(self):
        """Wait until the operator has nothing left to write; returns what it wrote.

        There are no nodes here: the last word of others that it tells is the scheduler's, about the pods that KubeRay makes.
        """
        eventually(self.told_of_pods, "the scheduler's word about the pods is told")
        last, since = self.written(), time.monotonic()
        until = time.monotonic() + PATIENCE
        while time.monotonic() - since < QUIET:
            time.sleep(0.5)
            if (now := self.written()) != last:
                last, since = now, time.monotonic()
            assert time.monotonic() < until, "the operator does not stop writing"
        return last


@pytest.fixture
def scene(plane, namespace, tmp_path):
    return Scene(plane, namespace, tmp_path)


def test_one_of_two_leads_and_a_deployment_gets_its_children_and_its_status(scene):
    with scene.pair() as (one, two):
        scene.create("chat")
        eventually(lambda: scene.served("chat"), "chat has children and a status")
        assert (one.role(), two.role()) == ("leader", "standby")
        assert scene.holder() == "one"
        assert one.ask("/healthz")[0] == two.ask("/healthz")[0] == 200
        assert "llama_operator_leader 1.0" in one.ask("/metrics")[1]
        assert "llama_operator_leader 0.0" in two.ask("/metrics")[1]
        assert 'llama_operator_cache_objects{kind="RayService"} 1.0' in two.ask("/metrics")[1], "the standby is warm"
        assert 'verb="apply"' not in two.ask("/metrics")[1], "the standby writes nothing"
        assert "llama_operator_queue_depth 0.0" in two.ask("/metrics")[1], "the standby piles nothing up"
        listed = 'llama_operator_list_last_success_time_seconds{kind="LlamaDeployment"} '
        for replica in (one, two):
            (line,) = [each for each in replica.ask("/metrics")[1].splitlines() if each.startswith(listed)]
            assert 0 <= time.time() - float(line.removeprefix(listed)) < PATIENCE
        eventually(scene.told_of_lists, "the Lease says when everything was listed")


@pytest.mark.nightly
def test_after_the_death_of_the_leader_the_standby_takes_over_and_changes_nothing_that_is_right(scene):
    with scene.pair() as (one, two):
        scene.create("before")
        eventually(lambda: scene.served("before"), "before is served")
        before = scene.settled()
        one.end(signal.SIGKILL)
        scene.create("after")
        eventually(lambda: two.role() == "leader", "the standby leads")
        eventually(lambda: scene.served("before", "after"), "the new leader works")
        after = scene.settled()
        assert {key: value for key, value in after.items() if key in before} == before
        assert scene.holder() == "two"


def test_a_leader_that_was_stopped_past_its_lease_begins_no_write_and_ends(scene):
    names = [f"chat{number}" for number in range(12)]
    with scene.pair("--workers=1") as (one, two):
        scene.create(*names)
        eventually(lambda: scene.get("rayservices.ray.io"), "the first RayService exists")
        one.process.send_signal(signal.SIGSTOP)
        eventually(lambda: two.role() == "leader", "the standby leads")
        # Work for the first one: what it finds when it goes on is not what it knew.
        eventually(lambda: scene.served(*names), "the new leader finished the work")
        before = scene.writes("one")
        assert before, "it wrote as long as it led"
        one.process.send_signal(signal.SIGCONT)
        assert one.process.wait(timeout=120) == 1
        assert "Lease" in one.log.read_text()
        after = scene.writes("one")
        assert after[: len(before)] == before
        # Its one worker may have been sending a request when it was stopped. The rest of that goes out when it goes on.
        assert len(after) - len(before) <= 1, after[len(before) :]
        assert (two.role(), scene.holder()) == ("leader", "two")


def test_a_leader_that_is_asked_to_stop_hands_over_at_once_and_ends_well(scene):
    # With such a long lease only giving it back makes the other lead in time.
    with scene.pair(lease=(300, 200, 1)) as (one, two):
        scene.create("chat")
        eventually(lambda: scene.served("chat"), "chat is served")
        assert one.end() == 0
        eventually(lambda: two.role() == "leader", "the standby leads")
        scene.create("next")
        eventually(lambda: scene.served("next"), "the new leader works")


def test_a_standby_that_is_asked_to_stop_ends_well_and_leaves_the_lease_alone(scene):
    with scene.pair() as (one, two):
        assert two.end() == 0
        assert (one.role(), scene.holder()) == ("leader", "one")


@pytest.mark.nightly
def test_a_restart_changes_no_object(scene):
    with scene.replica("one") as one:
        scene.create("chat", "code")
        eventually(lambda: scene.served("chat", "code"), "both are served")
        before = scene.settled()
        versions = {obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"] for obj in scene.get(CHILDREN)}
        assert one.end() == 0
    with scene.replica("again") as again:
        eventually(lambda: again.role() == "leader", "it leads")
        assert scene.settled() == before
        assert {obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"] for obj in scene.get(CHILDREN)} == versions


MANAGED = "app.kubernetes.io/managed-by"


def content(obj):
    """What of an object is the operator's: spec or data, labels and owner."""
    return {name: obj["metadata"].get(name) for name in ("labels", "ownerReferences")} | {
        name: obj[name] for name in ("spec", "data") if name in obj
    }


def children(scene):
    found = {
        (obj["kind"], obj["metadata"]["name"]): content(obj) for obj in scene.get(f"rayservices.ray.io,{CHILDREN}")
    }
    ours = {kind: name for kind, name in found if kind in {"RayService", "ControllerRevision"} or name == "chat"}
    for kind, name in list(found):
        if ours.get(kind) != name:
            del found[kind, name]
    # The server gives a Service that is made again another address.
    for address in ("clusterIP", "clusterIPs"):
        found.get(("Service", "chat"), {}).get("spec", {}).pop(address, None)
    return found


def edit(scene, obj, spec):
    scene.plane.api.apply({**obj, "metadata": obj["metadata"] | {"namespace": scene.namespace}, "spec": spec})


@pytest.mark.parametrize("spec", ["good", pytest.param("bad", marks=pytest.mark.nightly)])
def test_what_somebody_deletes_or_changes_comes_back(scene, spec):
    """A sample of the table in tests/transition/upkeep/test_repair.py, on a real API server with real watches.

    A bad spec is nightly: that table has it in each state, and watches bring the same.
    """
    with scene.replica("one"):
        scene.create("chat")
        eventually(lambda: scene.served("chat"), "chat is served")
        scene.settled()
        if spec == "bad":
            patch = json.dumps({"spec": {"model": {"name": "llama-9"}}})
            scene.plane.kubectl("patch", "lld", "chat", "-n", scene.namespace, "--type=merge", "-p", patch)
            scene.settled()
        expected = children(scene)
        assert len(expected) == 4
        names = [f"{kind.lower()}/{name}" for kind, name in expected]
        address = {
            "Service": {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"}},
            "NetworkPolicy": {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "chat"},
            },
        }

        def comes_back(verb):
            eventually(lambda: children(scene) == expected, f"everything is as it was after: {verb}")

        scene.plane.kubectl("delete", *names, "-n", scene.namespace, "--wait=false")
        eventually(lambda: scene.served("chat"), "chat is served again")
        comes_back("delete")
        edit(scene, address["Service"], {"selector": {"app": "web"}})
        edit(scene, address["NetworkPolicy"], {"podSelector": {"matchLabels": {"app": "web"}}})
        comes_back("edit")
        scene.plane.kubectl("label", *names, "-n", scene.namespace, f"{MANAGED}-")
        comes_back("take the label by which they are watched")
        scene.plane.kubectl("label", *names, "-n", scene.namespace, "--overwrite", f"{MANAGED}=Helm")
        comes_back("replace that label")
        owners = json.dumps({"metadata": {"ownerReferences": None}})
        scene.plane.kubectl("patch", *names, "-n", scene.namespace, "--type=merge", "-p", owners)
        comes_back("take the owner")
