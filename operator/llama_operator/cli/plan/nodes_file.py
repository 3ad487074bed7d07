"""Reads the hardware of a plan from a file: `plan --nodes FILE`, for a cluster that is elsewhere or not bought yet.

Three forms, as YAML or JSON: what `kubectl get nodes -o yaml` (or `-o json`) prints, Nodes one after the other, or a short
list of `{accelerator, gpusPerNode, count}`. Called by `cli.plan.command`.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import yaml
from pydantic import Field

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import ApiModel
from llama_operator.catalog import Catalog, UnknownAcceleratorError
from llama_operator.cli.shared import files
from llama_operator.decide.observed import NodeFacts
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Object
from llama_operator.observe.capacity import node_facts

_SIZE_LIMIT = 64 << 20
"""A thousand nodes as kubectl prints them, with the images that they hold."""

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
    found: list[NodeFacts] = []
    problems: list[FieldProblem] = []
    for where, entry in _entries(path):
        if entry.get("kind") == kinds.NODE.kind or "metadata" in entry:
            facts, wrong = _node(where, entry, catalog)
        else:
            facts, wrong = _group(where, entry, catalog)
        found += facts
        problems += wrong
    if problems:
        raise InvalidManifestError(path, problems)
    if not found:
        raise InvalidManifestError(path, [FieldProblem("(file)", "has no node that takes pods", _FORMS)])
    if len(found) > _MOST_NODES:
        raise InvalidManifestError(path, [FieldProblem("(file)", f"has more than {_MOST_NODES:,} nodes", "give fewer")])
    return tuple(found)


def _entries(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every entry with the path at which it stands."""
    for number, document in enumerate(_documents(path), start=1):
        prefix = f"(document {number})" if number > 1 else ""
        items: Any = document
        if isinstance(document, dict):
            items = document.get("items", [document])
            prefix += ".items" if "items" in document else ""
        if not isinstance(items, list):
            raise InvalidManifestError(
                path, [FieldProblem(prefix.removeprefix(".") or "(file)", f"is a {_type(items)}", _FORMS)]
            )
        for index, entry in enumerate(items):
            where = f"{prefix}[{index}]".removeprefix(".")
            if not isinstance(entry, dict):
                raise InvalidManifestError(path, [FieldProblem(where, f"is a {_type(entry)}", _FORMS)])
            yield where, entry


def _documents(path: str) -> Iterator[Any]:
    text = files.text(path)
    if len(text) > _SIZE_LIMIT:
        raise InvalidManifestError(
            path, [FieldProblem("(file)", f"is larger than {_SIZE_LIMIT:,} bytes", "give fewer nodes")]
        )
    if text.lstrip()[:1] in {"{", "["}:
        # Ten times as fast as YAML, of which it is a part; what only looks like it is left to the other reader.
        try:
            yield json.loads(text)
        except ValueError:
            pass
        else:
            return
    try:
        yield from (document for document in files.loaded(text) if document is not None)
    except yaml.YAMLError as error:
        problem = f"is not YAML: {' '.join(str(error).split())}"
        raise InvalidManifestError(path, [FieldProblem("(file)", problem)]) from error


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
        return [], [replace(found, path=f"{where}.{found.path}") for found in error.problems]
    try:
        accelerator = catalog.accelerator(group.accelerator)
    except UnknownAcceleratorError as error:
        return [], [FieldProblem(f"{where}.accelerator", str(error))]
    gpus = group.gpus_per_node or accelerator.gpus_per_node
    names = (f"{accelerator.name.lower()}-{where.strip('[]')}-{number}" for number in range(group.count))
    return [NodeFacts(name, accelerator.name, gpus) for name in names], []


def _type(value: Any) -> str:
    return {list: "list", str: "text", int: "number", float: "number", bool: "boolean"}.get(type(value), "mapping")
