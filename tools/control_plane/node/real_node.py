"""A real node: boots it, joins it to a control plane, and ends it. Called by tests/e2e.

It works with any control plane on this machine, on loopback too, whose service range the caller names.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import yaml

from control_plane import binaries as programs
from control_plane.node import configuration, image, machine
from control_plane.node.configuration import PAUSE_IMAGE, SOCKET, Paths
from control_plane.node.machine import NodeFailedError, Step
from control_plane.node.network import Network, free
from control_plane.node.relay import relay

_BOOT_SECONDS = 240.0
_POLL_SECONDS = 0.1
_NAMESPACE = "k8s.io"
"""Where containerd keeps what belongs to Kubernetes."""
_PROGRAMS = ("containerd", "ctr", "runc", "nft", "ip", "sysctl", "unshare")
_OF_FIREWALL = ("iptables", "iptables-save", "iptables-restore", "ipset")


class Plane(Protocol):
    """What a node needs of a control plane."""

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator."""
        ...

    def kubeconfig_for(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Kubeconfig of `user`."""
        ...

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator."""
        ...


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What kind of node it is.

    Attributes:
        name: Name of the Node.
        images: References under which an image with this machine's Python environment can be used.
        whole: OCI layouts of images that are whole, by the reference under which each can be used; their pods need a RuntimeClass with
            the handler `configuration.WHOLE`.
        promised: Capacity that the Node reports, beyond what the machine has: pods ask for what a real model needs.
        programs: Programs of this machine that are images by themselves, statically linked, by the reference under which each can be used.
        firewall: Whether NetworkPolicies are enforced, by kube-router.
        mounts_images: Whether pods can mount images as volumes: by a containerd that is built for it, as Debian's is too old.
    """

    name: str
    images: tuple[str, ...]
    promised: Mapping[str, str]
    whole: Mapping[str, Path] = field(default_factory=dict)
    programs: Mapping[str, Path] = field(default_factory=dict)
    firewall: bool = False
    mounts_images: bool = False


@dataclass(frozen=True, slots=True)
class RealNode:
    """A node that runs pods.

    Attributes:
        settings: What it was asked to be.
        network: Its addresses.
        folder: Logs and configuration.
        process: Id of its first process, to enter its namespaces.
    """

    settings: NodeSettings
    network: Network
    folder: Path
    process: int
    ended: Callable[[], bool]

    def ask_registry_at(self, name: str, url: str) -> None:
        """Have images of a registry pulled from elsewhere, from the next pull on.

        Args:
            name: Registry, as references name it.
            url: Where it is, as the node sees it; without TLS if the scheme is http.
        """
        configuration.write_registry(self.folder, name, url)

    def pod_logs(self) -> Iterator[Path]:
        """Log files of all containers of pods that exist."""
        return (self.folder / "podlogs").glob("*/*/*.log")


def missing(*, firewall: bool = False) -> str:
    """Say why no real node can run here, or none that enforces NetworkPolicies; empty when it can."""
    if os.geteuid() != 0:
        return "a real node needs root"
    absent = [program for program in (*_PROGRAMS, *(_OF_FIREWALL if firewall else ())) if not _found(program)]
    return f"a real node needs {', '.join(absent)} (make e2e installs them on Debian)" if absent else ""


@contextlib.contextmanager
def real_node(
    plane: Plane,
    binaries: Path,
    parent: Path,
    settings: NodeSettings,
    services: IPv4Network,
    *,
    beside: Sequence[RealNode] = (),
) -> Iterator[RealNode]:
    """Run a node until the end of the context; nothing of it stays but the logs in `parent`/node.

    Args:
        plane: The control plane that it joins.
        binaries: Folder with kubelet, kube-proxy, coredns and cni/.
        parent: An existing folder.
        settings: What kind of node.
        services: Range of cluster addresses of the control plane.
        beside: Nodes of the same control plane that run already; the host reaches cluster addresses through the first of all.

    Raises:
        NodeFailedError: It did not come up; the message has the end of the logs.
    """
    network = free(services)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(machine.folder(parent / "node"))
        group = stack.enter_context(machine.control_group(f"llama-node-{secrets.token_hex(4)}"))
        plan = folder / "boot.json"
        outer = machine.start(plan, folder / "boot.log")
        stack.callback(machine.unlink, network)
        stack.callback(machine.stop, outer)
        process = _await(lambda: machine.first_process(outer), outer, folder, "its first process")
        machine.link(network, process, services=not beside)
        api = urlsplit(_server(plane.kubeconfig))
        port = stack.enter_context(relay(str(network.host), (str(api.hostname), int(api.port or 443))))
        plane.kubectl("delete", "node", settings.name, "--ignore-not-found")  # of an earlier life: it would look Ready
        if not beside:
            _publish_api(plane, network, port)
        paths = Paths(folder, binaries, group)
        plan.write_text(json.dumps([step.plan(folder) for step in _steps(plane, paths, network, settings, port)]))
        for other in beside:
            machine.join((other.network, other.process), (network, process))
        if outer.stdin is not None:
            outer.stdin.write("go\n")
            outer.stdin.flush()
        _await(lambda: _ready(plane, settings.name), outer, folder, "the Node to be Ready")
        _promise(plane, settings)
        yield RealNode(settings, network, folder, process, lambda: outer.poll() is not None)


def _steps(plane: Plane, paths: Paths, network: Network, settings: NodeSettings, port: int) -> list[Step]:
    folder, binaries = paths.folder, paths.binaries
    server = f"https://{network.host}:{port}"
    users = {
        "kubelet": plane.kubeconfig_for(f"system:node:{settings.name}", ("system:nodes",)),
        "kube-proxy": plane.kubeconfig_for("system:kube-proxy"),
        "coredns": plane.kubeconfig,
        "kube-router": plane.kubeconfig,
    }
    own = {name: configuration.through(path, server, folder / f"{name}.kubeconfig") for name, path in users.items()}
    ca = _certificate_authority(plane.kubeconfig)
    configuration.write(paths, network, client_ca=ca, dns_kubeconfig=own["coredns"])
    archives, runtime = _images(folder, settings), _of_runtime(settings)
    kubelet = (
        *(binaries / "kubelet", "--config", folder / "kubelet.yaml", "--kubeconfig", own["kubelet"]),
        *(f"--hostname-override={settings.name}", f"--node-ip={network.node}"),
        *(f"--root-dir={folder / 'kubelet'}", f"--cert-dir={folder / 'certificates'}"),
    )
    return [
        *machine.network_steps(network),
        Step((*runtime, "containerd", "--config", folder / "containerd.toml"), name="containerd", until=SOCKET),
        *(Step((*runtime, "ctr", "-a", SOCKET, "-n", _NAMESPACE, "images", "import", archive)) for archive in archives),
        Step(kubelet, name="kubelet"),
        Step((binaries / "coredns", "-conf", folder / "Corefile"), name="coredns"),
        Step(_kube_proxy(binaries, own["kube-proxy"], network, settings), name="kube-proxy"),
        *(_firewall(binaries, own["kube-router"], network, settings) if settings.firewall else ()),
    ]


def _of_runtime(settings: NodeSettings) -> tuple[object, ...]:
    """Words before the programs of containerd: which one it is. It looks for its shim on the PATH too."""
    if not settings.mounts_images:
        return ()
    path = os.environ.get("PATH", os.defpath)
    return ("env", f"PATH={programs.ensure_apart('containerd')}:{path}")


def _firewall(binaries: Path, kubeconfig: Path, network: Network, settings: NodeSettings) -> Iterator[Step]:
    """NetworkPolicies, also between pods on one bridge: the kernel shows bridged packets to the packet filter."""
    yield Step(("sysctl", "--quiet", "--write", "net.bridge.bridge-nf-call-iptables=1"))
    # It ends where it does not find its Node, which the kubelet makes a moment later.
    node = f"node/{settings.name}"
    yield Step((binaries / "kubectl", f"--kubeconfig={kubeconfig}", "wait", "--for=create", "--timeout=120s", node))
    command = (
        *(programs.ensure_apart("kube-router") / "kube-router", f"--kubeconfig={kubeconfig}"),
        *("--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false"),
        *(f"--hostname-override={settings.name}", f"--service-cluster-ip-range={network.services}"),
        *("--enable-ipv6=false", "--iptables-sync-period=5m", "--health-port=0", "--metrics-port=0"),
    )
    yield Step(command, name="kube-router")


def _kube_proxy(binaries: Path, kubeconfig: Path, network: Network, settings: NodeSettings) -> tuple[object, ...]:
    return (
        *(binaries / "kube-proxy", f"--kubeconfig={kubeconfig}", f"--hostname-override={settings.name}"),
        *("--proxy-mode=nftables", f"--cluster-cidr={network.pods}"),
        # Pods on one bridge would answer each other directly, past the rules that translate the address back. Where the packet filter
        # sees what is bridged they do not, and it has to see who asks, on the node of the one that is asked too.
        *(() if settings.firewall else ("--masquerade-all",)),
        *("--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249"),
        # Limits of connection tracking belong to the machine, not to this node.
        *("--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s"),
        "--conntrack-tcp-timeout-close-wait=0s",
    )


def _images(folder: Path, settings: NodeSettings) -> list[Path]:
    (folder / "images").mkdir()
    path = f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    # containerd leaves our mounts out of the container that holds a pod's namespaces: its image has to be whole.
    sleep = Path("/usr/bin/sleep")
    pause = image.Image(name=PAUSE_IMAGE, command=(str(sleep), "infinity"), copies=image.with_libraries(sleep))
    wanted = [
        pause,
        *(
            image.Image(name=image.full_reference(name), path=path, kept=_known_to_vllm(Path.home()))
            for name in settings.images
        ),
        *(
            image.Image(name=image.full_reference(name), command=(str(program),), copies=(program,))
            for name, program in settings.programs.items()
        ),
    ]
    written = [image.write(each, folder / "images" / f"{index}.tar") for index, each in enumerate(wanted)]
    return written + [
        image.archive(layout, image.full_reference(name), folder / "images" / f"whole-{index}.tar")
        for index, (name, layout) in enumerate(settings.whole.items())
    ]


def _known_to_vllm(home: Path) -> dict[str, bytes]:
    """What vLLM has found out about classes of models on this machine, if it ran here: each look costs a pod 10 s of CPU.

    vLLM compares it with the code that it has, and looks again if that is another one.
    """
    kept = Path(".cache/vllm/modelinfos")
    return {str(kept / file.name): file.read_bytes() for file in sorted((home / kept).glob("*.json"))}


def _publish_api(plane: Plane, network: Network, port: int) -> None:
    """Make the Service `kubernetes` lead to the API server from within pods, as it would in a whole cluster."""
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [str(network.host)], "conditions": {"ready": True}}],
    }
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(endpoint_slice))


def _promise(plane: Plane, settings: NodeSettings) -> None:
    amounts = dict(settings.promised)
    patch = json.dumps({"status": {"capacity": amounts, "allocatable": amounts}})
    plane.kubectl("patch", "node", settings.name, "--subresource=status", "--type=merge", "-p", patch)


def _ready(plane: Plane, name: str) -> int:
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return plane.kubectl("get", "node", name, "-o", path, check=False).stdout == "True"


def _await(value: Callable[[], int], outer: subprocess.Popen[str], folder: Path, what: str) -> int:
    end = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < end:
        if found := value():
            return found
        if outer.poll() is not None:
            break
        time.sleep(_POLL_SECONDS)
    raise NodeFailedError(f"the node waits for {what}, in vain:\n{_tails(folder)}")


def _tails(folder: Path) -> str:
    logs = sorted(folder.glob("*.log"))
    return "\n".join(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-8:]) for log in logs)


def _server(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])


def _certificate_authority(kubeconfig: Path) -> str:
    cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    if "certificate-authority" in cluster:
        return Path(cluster["certificate-authority"]).read_text()
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def _found(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is not None
