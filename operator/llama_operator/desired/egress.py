"""What Ray pods reach: their own, DNS, and the ports of what they were told to read from. Called by `desired.network`.

A NetworkPolicy knows no names of hosts. So what is left open are ports: that of HTTPS, and those of the addresses that stand in the
pods themselves, as pinned. A pod that was told of nothing else reaches nothing else, whatever a request asks of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llama_operator.api.readings import mapping, mappings, text
from llama_operator.decide.observed import RevisionFacts, Settings
from llama_operator.decide.serve_application import arguments

_HTTPS: Final = 443
_HTTP: Final = 80
_DNS: Final = (53, 5353)
"""OpenShift's DNS pods listen on the second; some network plugins judge by the port behind a Service."""
_URL: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@\s]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^/:@\s\[\]]+)(?::([0-9]{1,5}))?(?:[/?#]|$)"
)
_HOST_AND_PORT: Final = re.compile(r"[A-Za-z0-9.-]+:([0-9]{1,5})")
_DEFAULT_PORTS: Final = {"http": _HTTP, "https": _HTTPS, "redis": 6379, "rediss": 6379, "grpc": 4317}
_LINK_LOCAL: Final = "169.254.0.0/16"
_IDENTITY_V6: Final = "fd00:ec2::/32"
"""Where nodes of a cloud hand out credentials and facts about themselves."""
_IDENTITY_PORTS: Final = (_HTTP, 988)
"""The second one is where GKE's own server listens, behind its address."""
_CREDENTIALS: Final = frozenset({"AWS_ACCESS_KEY_ID", "AZURE_CLIENT_SECRET", "GOOGLE_APPLICATION_CREDENTIALS"})
_LAST_PORT: Final = 65_535


def rules(own: Mapping[str, Any], pinned: Iterable[RevisionFacts], settings: Settings) -> list[dict[str, Any]]:
    """Rules for all pods of a deployment.

    Args:
        own: Peer that stands for these pods.
        pinned: Revisions that run.
        settings: Settings of the operator.
    """
    known = tuple(pinned)
    ports = {_HTTPS, *_ports_in(settings.hub_endpoint), *(port for one in known for port in _told(one))}
    return [
        {"to": [dict(own)]},
        {"ports": [{"protocol": protocol, "port": port} for port in _DNS for protocol in ("UDP", "TCP")]},
        {"ports": [_tcp(port) for port in sorted(ports - {_HTTP})]},
        *([{"to": _without_nodes(), "ports": [_tcp(_HTTP)]}] if _HTTP in ports else []),
        *([_identity()] if any(map(_takes_identity, known)) else []),
    ]


def _told(pinned: RevisionFacts) -> Iterator[int]:
    """Ports of all addresses that the pods of a revision have in their environment and their arguments."""
    for container in _containers(pinned):
        for variable in mappings(container.get("env")):
            yield from _ports_in(text(variable.get("value")))
    ledger = mapping(arguments(pinned.serve_config).get("store")).get("address")
    of_head = text(mapping(pinned.cluster.get("gcsFaultToleranceOptions")).get("redisAddress"))
    yield from _ports_in(of_head)
    for found in (_HOST_AND_PORT.fullmatch(address) for address in (text(ledger), of_head)):
        yield from () if found is None else _valid(found.group(1))


def _containers(pinned: RevisionFacts) -> Iterator[Mapping[str, Any]]:
    for group in (pinned.cluster["headGroupSpec"], *pinned.cluster["workerGroupSpecs"]):
        yield from mappings(mapping(mapping(mapping(group).get("template")).get("spec")).get("containers"))


def _ports_in(written: str) -> Iterator[int]:
    for part in re.split(r"[\s,]+", written):
        found = _URL.match(part)
        if found is None:
            continue
        scheme, port = found.groups()
        yield from _valid(port or str(_DEFAULT_PORTS.get(scheme.lower(), 0)))


def _valid(port: str) -> Iterator[int]:
    if 1 <= int(port) <= _LAST_PORT:
        yield int(port)


def _takes_identity(pinned: RevisionFacts) -> bool:
    """Whether its workers read an object store as who they are, and not with a Secret: the node tells them their credentials."""
    if mapping(arguments(pinned.serve_config).get("source")).get("kind") != "ObjectStore":
        return False
    named = {text(variable.get("name")) for one in _containers(pinned) for variable in mappings(one.get("env"))}
    return not named & _CREDENTIALS


def _without_nodes() -> list[dict[str, Any]]:
    """All addresses but those by which nodes tell of themselves; some network plugins take no pods for addresses."""
    return [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [_LINK_LOCAL]}},
        {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", _IDENTITY_V6]}},
        {"namespaceSelector": {}},
    ]


def _identity() -> dict[str, Any]:
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in (_LINK_LOCAL, _IDENTITY_V6)]
    return {"to": blocks, "ports": [_tcp(port) for port in _IDENTITY_PORTS]}


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}
