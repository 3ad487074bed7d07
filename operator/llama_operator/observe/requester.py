"""Who asks for a deployment: read from its metadata, for the evidence of license decisions. Pure; called by `gather`.

The annotation names who wrote the spec. A later `kubectl scale` writes the spec too, through a subresource that no annotation
comes with: then the annotation names somebody else than the last writer, and says nothing.
"""

from llama_operator.api import readings
from llama_operator.api.meta import GROUP
from llama_operator.decide.observed import Requester
from llama_operator.kube.port import Object

SCALE = "scale"
"""The subresource that `kubectl scale` and autoscalers write."""
ANNOTATION_REQUESTED_BY = f"{GROUP}/requested-by"
"""Set by what knows the person: a pipeline, a portal. The operator copies it and never relies on it."""


def requester(live: Object) -> Requester:
    """Who last wrote the spec of `live`."""
    writers = [
        entry
        for entry in readings.mappings(live["metadata"].get("managedFields"))
        if readings.text(entry.get("subresource")) in {"", SCALE}
        and "f:spec" in readings.mapping(entry.get("fieldsV1"))
    ]
    latest = max(writers, key=lambda entry: str(entry.get("time") or ""), default={})
    scaled = latest.get("subresource") == SCALE
    return Requester(
        user="" if scaled else readings.annotations(live).get(ANNOTATION_REQUESTED_BY, ""),
        manager=str(latest.get("manager") or ""),
    )
