"""Plays kube-proxy's part: writes into a Service where the revision that it selects is answered on this machine.

Called by `runtime`. The address of a real Service leads to pods; here each revision's Ray cluster has a port of its
own, so the Service's load balancer status names that port, and the reconcile reads the URL from there.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, NotFoundError, Object
from llama_operator.local.ports import LOOPBACK


def selected_revision(service: Object) -> str | None:
    """The revision that a Service selects; None if it is not one of ours."""
    revision = ((service.get("spec") or {}).get("selector") or {}).get(LABEL_REVISION)
    return str(revision) if revision else None


async def publish(cluster: Cluster, endpoints: Mapping[tuple[str, str], int]) -> None:
    """Bring every Service that selects a revision up to date; write only where something changed.

    Args:
        cluster: Where the Services are, with KubeRay's field manager.
        endpoints: (namespace, revision) -> port that is answered now.
    """
    listing = await cluster.list(kinds.SERVICE)
    for service in listing.items:
        revision = selected_revision(service)
        if revision is None:
            continue
        port = endpoints.get((service["metadata"].get("namespace", ""), revision))
        wanted = ingress(port)
        if (service.get("status") or {}).get("loadBalancer", {}).get("ingress", []) == wanted:
            continue
        status: dict[str, Any] = {"loadBalancer": {"ingress": wanted} if wanted else {}}
        with contextlib.suppress(NotFoundError):
            await cluster.apply_status(kinds.identity(service) | {"status": status})


def ingress(port: int | None) -> list[dict[str, Any]]:
    """The load balancer ingress for a port on this machine; empty for None."""
    return [] if port is None else [{"ip": LOOPBACK, "ports": [{"port": port, "protocol": "TCP"}]}]
