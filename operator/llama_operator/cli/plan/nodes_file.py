"""Reads the hardware of a plan from a file: `plan --nodes FILE`, for a cluster that is elsewhere or not bought yet.

Three forms, as YAML or JSON: what `kubectl get nodes -o yaml` (or `-o json`) prints, Nodes one after the other, or a short
list of `{accelerator, gpusPerNode, count}`. With the Pods beside the Nodes (`kubectl get nodes,pods -A -o yaml`) what these hold
is not there. Called by `cli.plan.command`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import ApiModel
from llama_operator.api.readings import mapping, text
from llama_operator.catalog import Catalog, UnknownAcceleratorError
from llama_operator.cli.shared.documents import loaded, type_name
from llama_operator.decide.observed import NodeFacts
from llama_operator.decide.placement.requests import described_room
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object
from llama_operator.observe.nodes.facts import node_facts
from llama_operator.observe.nodes.free import ended, gives_way, held
from llama_operator.observe.unreadable import UnreadableError

_SIZE_LIMIT = 64 << 20
"""In characters: a thousand nodes as kubectl prints them, with the images that they hold."""

_MOST_NODES = 10_000
_USUAL_LABELS = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
_ENOUGH = {"cpu": "1k", "memory": "1Pi", "ephemeral-storage": "1Pi", "pods": "110"}
_WHOLE = "give the whole Node, as kubectl prints it"
_FORMS = (
    "give what `kubectl get nodes -o yaml` prints (with pods: `kubectl get nodes,pods -A -o yaml`), or a list of {accelerator, "
    "gpusPerNode, count}"
)


class _NodeGroup(ApiModel):
    """Equal nodes."""

    accelerator: Annotated[str, Field(min_length=1)]
    gpus_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    count: Annotated[int, Field(ge=0, le=_MOST_NODES)] = 1


def read(path: str, catalog: Catalog) -> tuple[NodeFacts, ...]:
    """Read the nodes of a file; those that take no new pods are left out, as the operator does.

    Raises:
        InvalidManifestError: If the file cannot be read, or an entry is neither a Node nor a group of nodes; names all
            fields that are wrong.
    """
    nodes: list[NodeFacts] = []
    pods: list[Object] = []
    problems: list[FieldProblem] = []
    for where, entry in _entries(path):
        if entry.get("kind") == kinds.POD.kind:
            pods.append(entry)
            continue
        is_node = entry.get("kind") == kinds.NODE.kind or "metadata" in entry
        try:
            nodes += (_node if is_node else _group)(where, entry, catalog)
        except InvalidManifestError as error:
            problems += error.problems
    if problems:
        raise InvalidManifestError(path, problems)
    if not nodes:
        raise InvalidManifestError.of(path, "(file)", "has no node that takes pods", _FORMS)
    if len(nodes) > _MOST_NODES:
        raise InvalidManifestError.of(path, "(file)", f"has more than {_MOST_NODES:,} nodes", "give fewer")
    there: dict[str, list[Object]] = {}
    for pod in pods:
        there.setdefault(text(mapping(pod.get("spec")).get("nodeName")), []).append(pod)
    return tuple(_without(node, there.get(node.name, ())) for node in nodes)


def _entries(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry with the path at which it stands."""
    documents = (document for document in loaded(path, limit=_SIZE_LIMIT) if document is not None)
    for number, document in enumerate(documents, start=1):
        prefix = f"(document {number})" if number > 1 else ""
        items: Any = document
        if isinstance(document, dict):
            items = document.get("items", [document])
            prefix += ".items" if "items" in document else ""
        if not isinstance(items, list):
            where = prefix.removeprefix(".") or "(file)"
            raise InvalidManifestError.of(path, where, f"is {type_name(items)}", _FORMS)
        for index, entry in enumerate(items):
            where = f"{prefix}[{index}]".removeprefix(".")
            if not isinstance(entry, dict):
                raise InvalidManifestError.of(path, where, f"is {type_name(entry)}", _FORMS)
            yield where, entry


def _node(where: str, obj: Object, catalog: Catalog) -> list[NodeFacts]:
    if obj.get("kind", kinds.NODE.kind) != kinds.NODE.kind:
        raise InvalidManifestError.of(where, f"{where}.kind", f"is {obj['kind']}", "must be Node")
    name = (obj.get("metadata") or {}).get("name")
    if not isinstance(name, str):
        raise InvalidManifestError.of(where, f"{where}.metadata.name", "is not there", _WHOLE)
    if not (obj.get("status") or {}).get("allocatable"):
        raise InvalidManifestError.of(where, f"{where}.status.allocatable", "is not there", _WHOLE)
    try:
        facts = node_facts(_filled(obj), catalog)
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidManifestError.of(where, where, f"cannot be read as a Node: {error}", _WHOLE) from error
    return [facts] if facts is not None else []


def _without(node: NodeFacts, pods: Iterable[Object]) -> NodeFacts:
    """The node without what the pods on it hold; one that cannot be read holds all of it."""
    room = node.room
    for pod in pods:
        if room is not None and not ended(pod) and not gives_way(pod):
            try:
                room = room.less(held(pod))
            except UnreadableError:
                room = room.less(room.amounts, room.pods)
    return replace(node, room=room)


def _filled(node: Object) -> Object:
    """The Node with enough of what it says nothing about, and the usual processor: a kubelet tells both, and people do not."""
    status, metadata = node["status"], node["metadata"]
    labels = _USUAL_LABELS | (metadata.get("labels") or {})
    return node | {
        "metadata": metadata | {"labels": labels},
        "status": status | {"allocatable": _ENOUGH | status["allocatable"]},
    }


def _group(where: str, entry: Object, catalog: Catalog) -> list[NodeFacts]:
    try:
        group = parse_as(_NodeGroup, entry)
    except InvalidManifestError as error:
        problems = [replace(problem, path=f"{where}.{problem.path}") for problem in error.problems]
        raise InvalidManifestError(where, problems) from error
    try:
        accelerator = catalog.accelerator(group.accelerator)
    except UnknownAcceleratorError as error:
        raise InvalidManifestError.of(where, f"{where}.accelerator", str(error)) from error
    gpus = group.gpus_per_node or accelerator.gpus_per_node
    names = (f"{accelerator.name.lower()}-{where.strip('[]')}-{number}" for number in range(group.count))
    return [NodeFacts(name, accelerator.name, gpus, room=described_room(name, accelerator, gpus)) for name in names]
