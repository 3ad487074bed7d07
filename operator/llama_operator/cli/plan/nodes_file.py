"""Reads the hardware of a plan from a file: `plan --nodes FILE`, for a cluster that is elsewhere or not bought yet.

Three forms, as YAML or JSON: what `kubectl get nodes -o yaml` (or `-o json`) prints, Nodes one after the other, or a short
list of `{accelerator, gpusPerNode, count}`. Called by `cli.plan.command`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import ApiModel
from llama_operator.catalog import Catalog, UnknownAcceleratorError
from llama_operator.cli.shared.documents import loaded, type_name
from llama_operator.decide.observed import NodeFacts
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object
from llama_operator.observe.capacity import node_facts

_SIZE_LIMIT = 64 << 20
"""In characters: a thousand nodes as kubectl prints them, with the images that they hold."""

_MOST_NODES = 10_000
_FORMS = "give what `kubectl get nodes -o yaml` prints, or a list of {accelerator, gpusPerNode, count}"


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
    problems: list[FieldProblem] = []
    for where, entry in _entries(path):
        if entry.get("kind") == kinds.NODE.kind or "metadata" in entry:
            facts, wrong = _node(where, entry, catalog)
        else:
            facts, wrong = _group(where, entry, catalog)
        nodes += facts
        problems += wrong
    if problems:
        raise InvalidManifestError(path, problems)
    if not nodes:
        raise InvalidManifestError(path, [FieldProblem("(file)", "has no node that takes pods", _FORMS)])
    if len(nodes) > _MOST_NODES:
        raise InvalidManifestError(path, [FieldProblem("(file)", f"has more than {_MOST_NODES:,} nodes", "give fewer")])
    return tuple(nodes)


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
            raise InvalidManifestError(
                path, [FieldProblem(prefix.removeprefix(".") or "(file)", f"is {type_name(items)}", _FORMS)]
            )
        for index, entry in enumerate(items):
            where = f"{prefix}[{index}]".removeprefix(".")
            if not isinstance(entry, dict):
                raise InvalidManifestError(path, [FieldProblem(where, f"is {type_name(entry)}", _FORMS)])
            yield where, entry


def _node(where: str, obj: Object, catalog: Catalog) -> tuple[list[NodeFacts], list[FieldProblem]]:
    if obj.get("kind", kinds.NODE.kind) != kinds.NODE.kind:
        return [], [FieldProblem(f"{where}.kind", f"is {obj['kind']}", "must be Node")]
    name = (obj.get("metadata") or {}).get("name")
    if not isinstance(name, str):
        return [], [FieldProblem(f"{where}.metadata.name", "is not there", "give the whole Node, as kubectl prints it")]
    if not (obj.get("status") or {}).get("allocatable"):
        return [], [
            FieldProblem(f"{where}.status.allocatable", "is not there", "give the whole Node, as kubectl prints it")
        ]
    try:
        facts = node_facts(obj, catalog)
    except (TypeError, ValueError, AttributeError) as error:
        return [], [
            FieldProblem(where, f"cannot be read as a Node: {error}", "give the whole Node, as kubectl prints it")
        ]
    return ([facts] if facts is not None else []), []


def _group(where: str, entry: dict[str, Any], catalog: Catalog) -> tuple[list[NodeFacts], list[FieldProblem]]:
    try:
        group = parse_as(_NodeGroup, entry)
    except InvalidManifestError as error:
        return [], [replace(problem, path=f"{where}.{problem.path}") for problem in error.problems]
    try:
        accelerator = catalog.accelerator(group.accelerator)
    except UnknownAcceleratorError as error:
        return [], [FieldProblem(f"{where}.accelerator", str(error))]
    gpus = group.gpus_per_node or accelerator.gpus_per_node
    names = (f"{accelerator.name.lower()}-{where.strip('[]')}-{number}" for number in range(group.count))
    return [NodeFacts(name, accelerator.name, gpus) for name in names], []
