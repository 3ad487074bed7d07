"""The namespaces of a real node: made, joined to the host by a link, and gone without a trace. Used by `real_node`.

A node's processes live in process, mount and network namespaces of their own. Ending the first process ends them all,
containers included, and with them go mounts, bridge, addresses and packet filter rules, however the test ended. Only
the control groups and the folder on disk remain, and are removed here.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.node.network import Network

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_STOP_SECONDS = 20
_LINK_IN_NODE = "host0"


class NodeFailedError(Exception):
    """The node did not boot, or one of its daemons ended."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the boot: a command to run, or, with a `name`, a daemon to leave running.

    Attributes:
        command: Program and arguments.
        name: Name of the daemon; its log is `<name>.log` in the node's folder.
        until: Path whose existence shows that the daemon is up; the next step waits for it.
    """

    command: Sequence[object]
    name: str = ""
    until: Path | None = None

    def plan(self, folder: Path) -> dict[str, Any]:
        """Build the entry of the boot plan that `init` reads."""
        command = [str(part) for part in self.command]
        if not self.name:
            return {"run": command}
        until = None if self.until is None else str(self.until)
        return {"name": self.name, "spawn": command, "log": str(folder / f"{self.name}.log"), "until": until}


def network_steps(network: Network) -> list[Step]:
    """Steps that bring the node's network up; its own /run comes first, as container runtimes keep their state there."""
    return [
        Step(("mount", "-t", "tmpfs", "tmpfs", "/run")),
        Step(("ip", "link", "set", "lo", "up")),
        Step(("ip", "address", "add", f"{network.node}/30", "dev", _LINK_IN_NODE)),
        Step(("ip", "link", "set", _LINK_IN_NODE, "up")),
        Step(("ip", "route", "add", "default", "via", network.host)),
        Step(("sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1")),
    ]


def start(plan: Path, output: Path) -> subprocess.Popen[str]:
    """Start a node's first process in new namespaces; it waits for a line before it boots.

    Args:
        plan: The boot plan, JSON.
        output: Where it says what goes wrong, and `ready`.
    """
    # The interpreter's own process is the node's first: it must not need anything that the boot hides.
    command = [
        *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
        *(sys.executable, str(Path(__file__).with_name("init.py")), str(plan)),
    ]
    with output.open("w") as log:
        # A session of its own: Ctrl-C reaches the test, which then stops the node in order.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True
        )


def first_process(outer: subprocess.Popen[str]) -> int:
    """Process id of the node's first process, as the host sees it; 0 while it is not there."""
    with contextlib.suppress(FileNotFoundError, IndexError):
        return int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
    return 0


def link(network: Network, process: int, *, services: bool = True) -> None:
    """Join the host and the network namespace of `process`, and route pods there; cluster addresses too, to one node of all."""
    _run("ip", "link", "add", network.host_interface, "type", "veth", "peer", _LINK_IN_NODE, "netns", str(process))
    _run("ip", "address", "add", f"{network.host}/30", "dev", network.host_interface)
    _run("ip", "link", "set", network.host_interface, "up")
    for routed in (network.pods, *((network.services,) if services else ())):
        _run("ip", "route", "add", str(routed), "via", str(network.node))


def join(one: tuple[Network, int], other: tuple[Network, int]) -> None:
    """Link two nodes, each a network and the process in its namespace: their pods reach each other without the host."""
    (here, process), (there, peer) = one, other
    ends = (here.interface_to(there), there.interface_to(here))
    _run("ip", "link", "add", ends[0], "netns", str(process), "type", "veth", "peer", ends[1], "netns", str(peer))
    for end, (own, inside), (far, _) in ((ends[0], one, other), (ends[1], other, one)):
        for command in (
            ("address", "add", f"{own.node}/32", "dev", end),
            ("link", "set", end, "up"),
            ("route", "add", f"{far.node}/32", "dev", end, "src", str(own.node)),
            ("route", "add", str(far.pods), "via", str(far.node), "dev", end, "onlink", "src", str(own.node)),
        ):
            _run("nsenter", f"--net=/proc/{inside}/ns/net", "ip", *command)


def unlink(network: Network) -> None:
    """Remove the link, which usually has gone with the node already."""
    subprocess.run(["ip", "link", "delete", network.host_interface], check=False, capture_output=True)


def stop(outer: subprocess.Popen[str]) -> None:
    """End the node: its first process sees the end of its input, and the kernel ends the rest."""
    with contextlib.suppress(OSError):
        if outer.stdin is not None:
            outer.stdin.close()
    try:
        outer.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        outer.kill()
        outer.wait()


@contextlib.contextmanager
def control_group(name: str) -> Iterator[str]:
    """Make a control group for the node's pods under every controller; remove it and all below it at the end."""
    roots = [hierarchy / name for hierarchy in _hierarchies()]
    for root in roots:
        root.mkdir(exist_ok=True)
    try:
        yield f"/{name}"
    finally:
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Make `path`; at the end remove what containers left in it, and keep the logs."""
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        for large in ("containerd", "kubelet", "images"):
            shutil.rmtree(path / large, ignore_errors=True)


def _hierarchies() -> list[Path]:
    if (_CONTROL_GROUPS / "cgroup.controllers").exists():
        return [_CONTROL_GROUPS]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NodeFailedError(f"{' '.join(command)}: {done.stderr.strip()}")
