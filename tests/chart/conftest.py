"""Helm, and a control plane without nodes on which the charts are installed."""

import json
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "llama-operator"
CRD_CHART = ROOT / "charts" / "llama-operator-crds"
NAMESPACE = "llama-system"
NEEDS = "needs Helm and a control plane: make control-plane"


@pytest.fixture(scope="session")
def binaries():
    """Folder with helm, kubectl and the control plane."""
    return pytest.importorskip("control_plane.binaries", reason=NEEDS).ensure()


@pytest.fixture(scope="session")
def helm(binaries, tmp_path_factory):
    """Run Helm with nothing of the user's own configuration; returns the finished process."""
    home = tmp_path_factory.mktemp("helm")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}

    def run(*arguments, check=True):
        done = subprocess.run(
            [str(binaries / "helm"), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def render(helm, tmp_path):
    """Objects of the chart, rendered with the values given as a dictionary."""

    def run(values=None, *, chart=CHART, release="llama-operator", namespace=NAMESPACE):
        path = tmp_path / "values.json"
        path.write_text(json.dumps(values or {}))
        done = helm("template", release, chart, "--namespace", namespace, "--values", path)
        return [found for found in yaml.safe_load_all(done.stdout) if found]

    return run


@pytest.fixture
def refusal(helm, tmp_path):
    """What Helm says when it refuses values."""

    def run(values):
        path = tmp_path / "refused.json"
        path.write_text(json.dumps(values))
        done = helm("template", "llama-operator", CHART, "--values", path, check=False)
        assert done.returncode != 0, "these values must be refused"
        return done.stderr

    return run


@pytest.fixture(scope="session")
def with_definitions(root):
    """Give a plane our CRDs, which a module before may have uninstalled; returns the plane."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted((root / "manifests" / "crds").glob("*.yaml"))]
    names = [crd["metadata"]["name"] for crd in crds]

    def have(plane):
        plane.apply(*crds)
        plane.kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=240s")
        # Established is not yet served: this waits until it is.
        plane.api.list(",".join(names))
        return plane

    return have


class Furnished:
    """What stands on the bare server. Modules that want the same follow each other: it stays until one wants something else."""

    def __init__(self):
        self._what, self._value, self._ends = "", None, ExitStack()

    def with_(self, what, begin):
        """Return what the context that `begin` makes gives; it is entered unless it stands there as `what` already."""
        if what != self._what:
            self.clear()
            self._value, self._what = self._ends.enter_context(begin()), what
        return self._value

    def clear(self):
        self._what = ""
        self._ends.close()


@pytest.fixture(scope="session")
def furnished(bare_server):
    found = Furnished()
    yield found
    found.clear()


@pytest.fixture(scope="module")
def bare_plane(bare_server, with_definitions, furnished):
    """A control plane with our CRDs and KubeRay's, and nobody who acts on them."""
    furnished.clear()
    return with_definitions(bare_server)


@pytest.fixture
def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def eventually():
    """Ask again until the answer is true, or fail with what it was last."""

    def ask(question, seconds=240):
        end = time.monotonic() + seconds
        while not (answer := question()):
            assert time.monotonic() < end, f"still {answer!r} after {seconds} s"
            time.sleep(0.3)
        return answer

    return ask


@pytest.fixture(scope="session")
def licenses_are_held(eventually):
    """Wait until all license policies of a plane work: the API server tells them of new definitions every 30 seconds."""

    def wait(plane, namespace):
        def refusal(model):
            asked = {
                "apiVersion": "llama-operator.io/v1alpha1",
                "kind": "LlamaDeployment",
                "metadata": {"name": "asked", "namespace": namespace},
                "spec": {"model": {"name": model}},
            }
            return plane.api.refusal(asked, force=False)

        eventually(lambda: "must be accepted" in refusal("llama-3.3-70b-instruct"))
        eventually(lambda: not refusal("tiny-random-llama"))

    return wait
