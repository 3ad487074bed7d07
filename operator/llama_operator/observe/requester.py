"""Who asks for a deployment: read from its metadata, for the evidence of license decisions. Pure; called by `gather`."""

from llama_operator.api import readings
from llama_operator.api.meta import GROUP
from llama_operator.decide.observed import Requester
from llama_operator.kube.port import Object

ANNOTATION_REQUESTED_BY = f"{GROUP}/requested-by"
"""Set by what knows the person: a pipeline, a portal. The operator copies it and never relies on it."""


def requester(live: Object) -> Requester:
    """Who last wrote the spec of `live`."""
    writers = [
        entry
        for entry in readings.mappings(live["metadata"].get("managedFields"))
        if not entry.get("subresource") and "f:spec" in readings.mapping(entry.get("fieldsV1"))
    ]
    latest = max(writers, key=lambda entry: str(entry.get("time") or ""), default={})
    return Requester(
        user=readings.annotations(live).get(ANNOTATION_REQUESTED_BY, ""),
        manager=str(latest.get("manager") or ""),
    )
