"""Renders the configuration of a real node's parts from the templates in files/. Called by `real_node`."""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

import yaml

from control_plane.node import runtime
from control_plane.node.network import Network

SOCKET = Path("/run/containerd.sock")
"""containerd's socket, in the node's own /run."""
PAUSE_IMAGE = "localhost/pause:1"
WHOLE = "whole"
"""Handler, for a RuntimeClass, of pods whose images bring all that they need."""

_REGISTRIES = "registries"
_PACKAGES = ("llama_operator", "llama_serving")
_FILES = Path(__file__).parent / "files"
RUNTIME_CLASS = _FILES / "runtime-class.yaml"
"""Manifest of the RuntimeClass for `WHOLE`."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the parts of a node are. `folder` holds all that it writes, but for /run, which is in memory."""

    folder: Path
    binaries: Path
    cgroup_root: str


def write(paths: Paths, network: Network, *, client_ca: str, dns_kubeconfig: Path) -> None:
    """Write containerd.toml, base-spec.json, whole-spec.json, runtime, kubelet.yaml, Corefile and cni/bridge.conflist into the node's folder."""
    folder = paths.folder
    (folder / "cni").mkdir()
    (folder / "ca.crt").write_text(client_ca)
    values = {
        "address": network.node,
        "base_spec": folder / "base-spec.json",
        "cgroup_root": paths.cgroup_root,
        "client_ca": folder / "ca.crt",
        "cni_binaries": paths.binaries / "cni",
        "cni_configuration": folder / "cni",
        "folder": folder,
        "gateway": network.gateway,
        "kubeconfig": dns_kubeconfig,
        "pause_image": PAUSE_IMAGE,
        "pods": network.pods,
        "registries": folder / _REGISTRIES,
        "root": folder / "containerd",
        "runtime": _runtime(folder / "runtime"),
        "socket": SOCKET,
        "whole": WHOLE,
        "whole_spec": folder / "whole-spec.json",
    }
    for name in ("containerd.toml", "kubelet.yaml", "Corefile"):
        (folder / name).write_text(_rendered(name, values))
    (folder / "cni" / "10-bridge.conflist").write_text(_rendered("bridge.conflist", values))
    (folder / "base-spec.json").write_text(json.dumps(base_spec(host_folders())))
    (folder / "whole-spec.json").write_text(json.dumps(base_spec([])))


def write_registry(folder: Path, name: str, url: str) -> None:
    """Write where containerd asks for the images of a registry; it reads that at each pull.

    Args:
        folder: The node's.
        name: Registry, as references name it.
        url: Where it is.
    """
    target = folder / _REGISTRIES / name
    target.mkdir(parents=True, exist_ok=True)
    (target / "hosts.toml").write_text(_rendered("hosts.toml", {"url": url}))


def _runtime(target: Path) -> Path:
    target.write_text(f"#!{sys.executable} -I\n{Path(runtime.__file__).read_text()}")
    target.chmod(0o755)
    return target


def _rendered(name: str, values: dict[str, Any]) -> str:
    return Template((_FILES / name).read_text()).substitute(values)


def host_folders() -> list[Path]:
    """Folders of this machine that containers need to run our code: system, Python, its packages, our own sources."""
    specs = [util.find_spec(package) for package in _PACKAGES]
    sources = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]
    wanted = [Path("/usr"), Path(sys.base_prefix), Path(sys.prefix), *sources]
    return [
        path for index, path in enumerate(wanted) if not any(path.is_relative_to(other) for other in wanted[:index])
    ]


def base_spec(folders: list[Path]) -> dict[str, Any]:
    """Build the runtime specification that containerd starts from: its own, and `folders` read-only at their place."""
    shown = subprocess.run(["ctr", "oci", "spec"], check=True, capture_output=True, text=True)
    spec: dict[str, Any] = json.loads(shown.stdout)
    spec["process"].pop("rlimits", None)  # the daemons' own limits hold, which root may not be allowed to raise
    spec["linux"].pop("cgroupsPath", None)
    spec["mounts"] += [
        {"destination": str(path), "source": str(path), "type": "bind", "options": ["rbind", "ro"]} for path in folders
    ]
    return spec


def through(kubeconfig: Path, server: str, target: Path) -> Path:
    """Write a copy of `kubeconfig` that reaches the API server at `server` (scheme, address and port)."""
    document = yaml.safe_load(kubeconfig.read_text())
    for entry in document["clusters"]:
        cluster = entry["cluster"]
        # The certificate was made for the address that the API server itself listens on.
        cluster["tls-server-name"] = urlsplit(cluster["server"]).hostname
        cluster["server"] = server
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(document))
    return target
