"""A node that has the serving image as it was built, and nothing of this machine under its name."""

import os
import subprocess
from pathlib import Path

import pytest

from control_plane import binaries
from control_plane.node import configuration
from control_plane.node.configuration import SOCKET
from control_plane.node.image import archive, full_reference
from control_plane.node.real_node import NodeSettings, real_node
from llama_operator import __version__
from llama_operator.decide.observed import Settings

BUILT = os.environ.get("LLAMA_OPERATOR_TEST_SERVING_IMAGE", "")
"""Folder with the OCI layout of the CPU serving image, which `make e2e-images` builds."""
SETTINGS = NodeSettings(
    name="real", images=(f"llama-operator/llama-operator:{__version__}",), promised={"cpu": "8", "memory": "32Gi"}
)
IMPORT_SECONDS = 1500


@pytest.fixture(scope="session")
def built():
    return Path(BUILT)


@pytest.fixture(scope="session")
def node(plane, services, built, tmp_path_factory):
    folder = binaries.ensure(("node",))
    with real_node(plane, folder, tmp_path_factory.mktemp("node"), SETTINGS, services) as running:
        # Beside the node's boot, which has a deadline: it is 3 GB, and 6 when it is unpacked.
        whole = archive(built, full_reference(Settings().image), running.folder / "serving.tar")
        inside = ("nsenter", "--all", f"--target={running.process}")
        command = (*inside, "ctr", f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", whole)
        subprocess.run([str(part) for part in command], check=True, timeout=IMPORT_SECONDS)
        whole.unlink()
        yield running


@pytest.fixture
def chart_values(plane):
    """All pods of deployments bring what they need."""
    plane.kubectl("apply", "--server-side", "--filename", str(configuration.RUNTIME_CLASS))
    return ("--set", f"podDefaults.runtimeClassName={configuration.WHOLE}")
