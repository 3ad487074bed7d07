"""A RayService that is in a queue of Kueue, once it exists. Called by `reconcile.writes`.

Kueue writes into its pods where and whether they may run, and takes that away again when it needs the quota for others. Worker
groups are one atomic list, so an apply of ours would wipe it out. What the operator changes of a RayService that exists is
the Serve config only: that is patched, with the labels and the owner by which the RayService is ours, and all else is Kueue's. While
it is suspended nothing reads that config, and it stays as it is: Kueue 0.17 makes two Workloads of a RayService that changes just when
Kueue sees it first, and then admits neither.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from llama_operator.api.readings import labels, mapping
from llama_operator.decide.placement.queue import LABEL_QUEUE
from llama_operator.kube import json_patch, kinds
from llama_operator.kube.port import JsonPatch, Object

_SERVE_CONFIG = "serveConfigV2"


def is_kept(live: Object) -> bool:
    """Whether Kueue writes into it too."""
    return kinds.find(live.get("apiVersion"), live.get("kind")) == kinds.RAY_SERVICE and LABEL_QUEUE in labels(live)


def changes(wanted: Object, live: Object) -> tuple[JsonPatch, ...]:
    """Return what makes `live` what is wanted of it; nothing if it is that already."""
    operations = tuple(_changes(wanted, live))
    return (JsonPatch("test", "/metadata/uid", live["metadata"]["uid"]), *operations) if operations else ()


def _changes(wanted: Object, live: Object) -> Iterator[JsonPatch]:
    config, spec = wanted["spec"][_SERVE_CONFIG], mapping(live.get("spec"))
    if not mapping(spec.get("rayClusterConfig")).get("suspend") and spec.get(_SERVE_CONFIG) != config:
        yield JsonPatch("add", f"/spec/{_SERVE_CONFIG}", config)
    there = labels(live)
    for name, value in _own(wanted["metadata"]["labels"]).items():
        if there.get(name) != value:
            yield JsonPatch("add", f"/metadata/labels/{json_patch.segment(name)}", value)
    owners = wanted["metadata"].get("ownerReferences")
    if owners and not live["metadata"].get("ownerReferences"):
        yield JsonPatch("add", "/metadata/ownerReferences", owners)


def _own(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Labels that are ours; those of the queue are not changed while pods run."""
    return {name: value for name, value in wanted.items() if not name.startswith("kueue.")}
