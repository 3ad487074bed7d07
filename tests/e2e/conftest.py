"""A whole cluster on this machine: control plane, a node that runs pods, KubeRay, and the operator from its chart.

The pods that the operator makes run unmodified: only what stands in for the images, and what the node promises, is
ours. NetworkPolicies are stored and not enforced: the bridge that joins the pods knows nothing of them.
"""

import contextlib
import os
import time
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from control_plane import binaries, kuberay, saved_planes
from control_plane.node import configuration
from control_plane.node.real_node import NodeSettings, missing, real_node
from control_plane.plane import SERVICE_RANGE
from llama_operator import __version__
from llama_operator.decide.observed import Settings
from support.nodes.real_cluster import OPERATOR_SECONDS, Cluster, Endpoint, install

OPERATOR_IMAGE = f"llama-operator/llama-operator:{__version__}"
BUILT = os.environ.get("LLAMA_OPERATOR_TEST_OPERATOR_IMAGE")
"""Folder with the OCI layout of the operator's image, which `make e2e` builds; without it an image of this machine stands in."""
NODE = NodeSettings(
    name="real",
    images=(Settings().image, *(() if BUILT else (OPERATOR_IMAGE,))),
    whole={OPERATOR_IMAGE: Path(BUILT)} if BUILT else {},
    # One revision with two replicas and the operator fit, two revisions do not: an upgrade has to free its hardware.
    promised={"cpu": "8", "memory": "32Gi"},
)


def pytest_collection_modifyitems(items):
    absent = binaries.missing(("core", "node"))
    why = missing() or (f"{absent[0]} is not built: make e2e" if absent else "")
    if why:
        for item in items:
            if item.get_closest_marker("e2e"):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def services():
    return IPv4Network(SERVICE_RANGE)


@pytest.fixture
def eventually():
    """Waits until a probe returns something true, and returns that; the test's timeout bounds it."""

    def wait(probe):
        while not (value := probe()):
            time.sleep(0.2)
        return value

    return wait


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    with saved_planes.control_plane(tmp_path_factory.mktemp("plane")) as running:
        kuberay.start(running, simulated=False)
        yield running


@pytest.fixture(scope="session")
def node_settings():
    return NODE


@pytest.fixture(scope="session")
def node(plane, services, node_settings, tmp_path_factory):
    folder = binaries.ensure(("node",))
    with real_node(plane, folder, tmp_path_factory.mktemp("node"), node_settings, services) as running:
        yield running


@pytest.fixture
def chart_values():
    """Options of Helm, beside those of the image."""
    return ()


@pytest.fixture
def cluster(plane, node, chart_values, tmp_path_factory):
    """With the operator as users install it: two replicas from the chart, in pods, with the chart's rights."""
    install(plane, "llama-operator", *(_of_whole_image(plane) if BUILT else ()), *chart_values)
    found = Cluster(plane, (node,), tmp_path_factory.mktemp("logs"))
    found.until(found.operator_is_available, seconds=OPERATOR_SECONDS, what="the operator")
    return found


@pytest.fixture
def endpoint(cluster):
    with contextlib.ExitStack() as stack:

        def connect(name):
            address = cluster.json("service", name)["spec"]["clusterIP"]
            found = Endpoint(address)
            stack.callback(found.close)
            return found

        yield connect


def _of_whole_image(plane):
    plane.kubectl("apply", "--server-side", "--filename", str(configuration.RUNTIME_CLASS))
    return ("--set", f"runtimeClassName={configuration.WHOLE}")
