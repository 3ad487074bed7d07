"""Addresses of fields, and which parts of an object can be owned: the base of server-side apply.

Pure. Called by `managed_fields` for the merge and by `store` for `metadata.managedFields`.

A path is a tuple of elements in the notation of Kubernetes' FieldsV1: `f:<name>` for a field, `k:{...}` for an item of a
list that merges by key, `v:<value>` for an item of a set. Notation and meaning:
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeAlias

from typing_extensions import override

from llama_operator.api.paths import copied
from llama_operator.kube.port import InvalidError

Path: TypeAlias = tuple[str, ...]
"""Address of one field or item, in FieldsV1 elements."""
Names: TypeAlias = tuple[str, ...]
"""Address of a field in a schema: field names from the root, list items left out."""

KEY_DEFAULTS: Final[Mapping[str, str]] = {"protocol": "TCP"}
"""Keys of list items that the API server fills in; no other key of a kind that we use has a default."""


_METADATA: Final[Path] = ("f:metadata",)
"""Every object has it: it is never new."""


class _Marker:
    """A value that no JSON has."""

    def __init__(self, name: str) -> None:
        self._name = name

    @override
    def __repr__(self) -> str:
        return self._name


ITEM: Final = _Marker("ITEM")
"""Value of the path of a list item itself: who owns it keeps the item alive."""
ABSENT: Final = _Marker("ABSENT")
"""Value of a path that an object does not have."""


@dataclass(frozen=True, slots=True)
class Merging:
    """How the lists and maps of a kind merge.

    Attributes:
        list_maps: Lists whose items have an identity (`x-kubernetes-list-type: map`), with the fields that are it. Lists
            in neither table are atomic: the writer owns them whole.
        list_sets: Lists of scalars, each item owned by itself.
        atomic_maps: Objects that are owned whole; the name of a list map here means its items.
    """

    list_maps: Mapping[Names, tuple[str, ...]] = field(default_factory=dict)
    list_sets: frozenset[Names] = frozenset()
    atomic_maps: frozenset[Names] = frozenset()

    def granular_map(self, names: Names, value: Any) -> bool:
        """Whether `value` is an object whose fields are owned one by one."""
        return isinstance(value, dict) and names not in self.atomic_maps

    def item_element(self, names: Names, item: Any) -> str:
        """Element that addresses `item` in the list map or set at `names`.

        Raises:
            InvalidError: If the item lacks a field of its key.
        """
        if names in self.list_sets:
            return f"v:{_compact(item)}"
        where = ".".join(names)
        if not isinstance(item, dict):
            raise InvalidError(f"{where}: every item must be an object, found {item!r}")
        keys = self.list_maps[names]
        values = [item.get(name, KEY_DEFAULTS.get(name)) for name in keys]
        if None in values:
            missing = keys[values.index(None)]
            raise InvalidError(f"{where}: an item lacks `{missing}`, which identifies it; set it")
        if any(isinstance(value, dict | list) for value in values):
            return f"k:{_compact(dict(zip(keys, values, strict=True)))}"
        return _element(keys, *values)

    def index(self, names: Names, items: list[Any]) -> dict[str, Any]:
        """Items of a list map or set by their elements, in order.

        Raises:
            InvalidError: If two items have the same key.
        """
        items_by_element: dict[str, Any] = {}
        for item in items:
            element = self.item_element(names, item)
            if element in items_by_element:
                raise InvalidError(f"{'.'.join(names)}: duplicate entries for {describe((element,))}; keep one")
            items_by_element[element] = item
        return items_by_element

    def keyed(self, names: Names) -> bool:
        """Whether the list at `names` is a list map or a set."""
        return names in self.list_maps or names in self.list_sets


def members(content: Mapping[str, Any], merging: Merging) -> dict[Path, Any]:
    """Every path of `content` that can be owned, with its value: leaves, atomic values, empty objects, list items."""
    return dict(_walk(content, (), (), merging))


def _walk(value: Any, path: Path, names: Names, merging: Merging) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and names not in merging.atomic_maps:
        if not value and path:
            yield path, {}
        for name, child in value.items():
            yield from _walk(child, (*path, f"f:{name}"), (*names, name), merging)
    elif isinstance(value, list) and merging.keyed(names):
        for element, item in merging.index(names, value).items():
            if merging.granular_map(names, item):
                yield (*path, element), ITEM
                for name, child in item.items():
                    yield from _walk(child, (*path, element, f"f:{name}"), (*names, name), merging)
            else:
                yield (*path, element), item
    else:
        yield path, value


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two states of an object."""

    changed: frozenset[Path]
    """Paths that are new or have another value; of objects and lists, those that are new."""
    removed: frozenset[Path]
    """Paths that are gone."""
    fields: frozenset[Path]
    """Of both, those that `members` lists: what a person would call changed."""


def compare(old: Mapping[str, Any], new: Mapping[str, Any], merging: Merging) -> Comparison:
    """Compare two states, field by field where fields are owned one by one."""
    # Most writes leave most parts of an object as they are.
    parts = [name for name in old.keys() | new.keys() if not same(old.get(name, ABSENT), new.get(name, ABSENT))]
    before, after = (members({name: one[name] for name in parts if name in one}, merging) for one in (old, new))
    # An object that is empty and one that has fields are the same thing as far as its own path goes.
    all_before, all_after = _containers(before) | before, _containers(after) | after
    changed, removed = set(), set()
    for path in all_before.keys() | all_after.keys():
        value = all_after.get(path, ABSENT)
        if value is ABSENT:
            removed.add(path)
        elif not same(all_before.get(path, ABSENT), value):
            changed.add(path)
    fields = (changed | removed) & (before.keys() | after.keys())
    return Comparison(frozenset(changed), frozenset(removed), frozenset(fields))


def _containers(paths: Mapping[Path, Any]) -> dict[Path, Any]:
    inside: dict[Path, Any] = {path[:length]: {} for path in paths for length in range(1, len(path))}
    inside.pop(_METADATA, None)
    return inside


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, `true` is not 1."""
    if left is right or isinstance(left, _Marker) or isinstance(right, _Marker):
        return left is right
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def encode(paths: frozenset[Path]) -> dict[str, Any]:
    """Render a set of paths as FieldsV1; `.` stands for an owned item or object that has owned fields inside."""
    rendered: dict[str, Any] = copied(_tree(paths))
    return rendered


# The same few ports, names and types come again and again. Typed: `true` is not 1.
@lru_cache(maxsize=4096, typed=True)
def _element(keys: tuple[str, ...], *values: str | float) -> str:
    return f"k:{_compact(dict(zip(keys, values, strict=True)))}"


# Objects are read far more often than somebody comes to own other fields of them.
@lru_cache(maxsize=4096)
def _tree(paths: frozenset[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    for path in paths:
        node = tree
        for element in path:
            node = node[element]
        if node:
            node["."] = {}
    return tree


def describe(path: Path) -> str:
    """Render a path as Kubernetes' messages do: `.spec.ports[port=80,protocol="TCP"].targetPort`."""
    parts = []
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            parts.append(f".{rest}")
        elif kind == "k":
            parts.append("[" + ",".join(f"{name}={_compact(value)}" for name, value in json.loads(rest).items()) + "]")
        else:
            parts.append(f"[={rest}]")
    return "".join(parts)


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
