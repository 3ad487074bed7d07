"""A real node by itself: its pods reach the world that they need, and it leaves nothing behind."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from control_plane import binaries
from control_plane.node.real_node import NodeSettings, real_node
from support.changing_folders import paths_below

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SETTINGS = NodeSettings(name="alone", images=("example/any:1",), promised={"cpu": "4"})


def test_pods_run_as_their_user_and_reach_the_api_server_by_name(plane, services, tmp_path, eventually):
    with real_node(plane, binaries.ensure(("node",)), tmp_path, SETTINGS, services) as node:
        url = "https://kubernetes.default.svc.cluster.local/version"
        plane.apply(pod("asks", f"id -u; wget --quiet --tries=20 --no-check-certificate -O- {url}"))
        eventually(lambda: phase(plane, "asks") in {"Succeeded", "Failed"})
        (log,) = node.pod_logs()
        text = log.read_text()
        plane.kubectl("delete", "pod", "asks", "--now")
        plane.kubectl("delete", "node", SETTINGS.name)
    assert "stdout F 1000\n" in text
    assert '"gitVersion"' in text


def cgroups():
    return set(paths_below(Path("/sys/fs/cgroup"), "llama-node-*"))


def test_nothing_of_a_node_outlives_it(plane, services, tmp_path, eventually):
    before = cgroups()
    with real_node(plane, binaries.ensure(("node",)), tmp_path, SETTINGS, services) as node:
        plane.apply(pod("sleeps", "sleep 600"))
        eventually(lambda: phase(plane, "sleeps") == "Running")
        assert processes_of(tmp_path)
        os.kill(node.process, 9)  # no chance to tidy up
        eventually(node.ended)
    plane.kubectl("delete", "pod", "sleeps", "--force", "--grace-period=0")
    # Dead, and Ready for the control plane for some time yet: the next test's pods shall not be bound to it.
    plane.kubectl("delete", "node", SETTINGS.name)
    assert not processes_of(tmp_path)
    assert node.network.host_interface not in output("ip", "link")
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert cgroups() <= before
    assert not (tmp_path / "node" / "containerd").exists()


def pod(name, script):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": SETTINGS.name,
            "securityContext": {"runAsNonRoot": True},
            "containers": [{"name": "it", "image": "example/any:1", "command": ["/bin/bash", "-c", script]}],
        },
    }


def phase(plane, name):
    return json.loads(plane.kubectl("get", "pod", name, "--output", "json").stdout)["status"]["phase"]


def processes_of(folder):
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in _text(path)]


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _text(path):
    try:
        return path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
