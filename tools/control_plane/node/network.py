"""Addresses of a real node and its pods. Pure but for `free`, which looks at this machine's routes; used by `real_node`.

The node has a network namespace of its own, joined to the host by a pair of virtual interfaces; the pods hang on a
bridge inside. The host routes pods and cluster addresses to the node, so a request from the host to a Service takes
kube-proxy's rules as one from a pod does.
"""

import json
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

_CANDIDATES = range(88, 120)


class NoFreeNetworkError(Exception):
    """Every network that a node could use is routed already."""


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses under `10.<number>.0.0/16`.

    Attributes:
        number: Second byte of all addresses.
        services: Range of the cluster addresses, as the API server has it.
    """

    number: int
    services: IPv4Network

    @property
    def host(self) -> IPv4Address:
        """The host's end of the link; pods reach the API server here."""
        return IPv4Address(f"10.{self.number}.0.1")

    @property
    def node(self) -> IPv4Address:
        """The node's end of the link: its InternalIP, and where its DNS listens."""
        return IPv4Address(f"10.{self.number}.0.2")

    @property
    def pods(self) -> IPv4Network:
        """Range of the pods."""
        return IPv4Network(f"10.{self.number}.1.0/24")

    @property
    def gateway(self) -> IPv4Address:
        """Address of the bridge."""
        return self.pods[1]

    @property
    def host_interface(self) -> str:
        """Name of the host's end of the link."""
        return f"llama-node{self.number}"

    def interface_to(self, other: "Network") -> str:
        """Name of this node's end of its link to another node."""
        return f"node{other.number}"


def free(services: IPv4Network) -> Network:
    """Return a network that nothing on this machine uses.

    Raises:
        NoFreeNetworkError: There is none.
    """
    listing = subprocess.run(["ip", "-json", "route", "show", "table", "all"], check=True, capture_output=True)
    taken = [_network(route.get("dst", "")) for route in json.loads(listing.stdout)]
    for number in _CANDIDATES:
        wanted = IPv4Network(f"10.{number}.0.0/16")
        if not any(network.overlaps(wanted) for network in taken if network is not None and network.prefixlen > 0):
            return Network(number, services)
    raise NoFreeNetworkError("all of 10.88.0.0/16 to 10.119.0.0/16 are in use; remove a route, `ip route` shows them")


def _network(destination: str) -> IPv4Network | None:
    try:
        return IPv4Network(destination)
    except ValueError:
        return None  # "default", or IPv6
