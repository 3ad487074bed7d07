"""Routes of a deployment, and what their controllers say of them. Called by `observe.gather`."""

from collections.abc import Mapping
from typing import Any

from llama_operator.api import readings
from llama_operator.api.readings import mapping, mappings, text
from llama_operator.decide.routes import ROUTE_KINDS, ParentFacts, RouteFacts
from llama_operator.kube.port import Object
from llama_operator.observe.children import conditions


def route_facts(obj: Object) -> RouteFacts:
    """What an HTTPRoute or an Ingress says."""
    metadata, status = obj["metadata"], mapping(obj.get("status"))
    kind = next(one for one in ROUTE_KINDS if one.kind == obj["kind"])
    generation = readings.whole(metadata.get("generation")) or 0
    entries = mappings(mapping(status.get("loadBalancer")).get("ingress"))
    addresses = (text(entry.get("ip")) or text(entry.get("hostname")) for entry in entries)
    return RouteFacts(
        kind,
        metadata["name"],
        metadata.get("uid", ""),
        tuple(_parent(entry, metadata.get("namespace", ""), generation) for entry in mappings(status.get("parents"))),
        tuple(address for address in addresses if address),
        "deletionTimestamp" in metadata,
    )


def _parent(entry: Mapping[str, Any], namespace: str, generation: int) -> ParentFacts:
    reference = mapping(entry.get("parentRef"))
    return ParentFacts(
        text(reference.get("name")),
        text(reference.get("namespace")) or namespace,
        text(reference.get("sectionName")),
        conditions(
            one
            for one in mappings(entry.get("conditions"))
            if (readings.whole(one.get("observedGeneration")) or 0) >= generation
        ),
    )
