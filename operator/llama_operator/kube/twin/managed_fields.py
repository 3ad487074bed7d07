"""Server-side apply as functions: (object, who owns what, what is applied, by whom) -> (object, who owns what).

Pure, and free of any idea of a server: `twin.cluster` calls it for every write. The rules are those that Kubernetes documents
(https://kubernetes.io/docs/reference/using-api/server-side-apply/) and structured-merge-diff implements;
docs/designs/0002-in-memory-twin.md says what is left out.

"Content" is an object without its identity (apiVersion, kind, name, namespace) and without the fields that the server writes
(uid, resourceVersion, ...): no manager can own those.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from typing_extensions import override

from llama_operator.kube.twin.fields import KEY_DEFAULTS, Merging, Names, Path, compare, describe, members

Content: TypeAlias = Mapping[str, Any]
Ownership: TypeAlias = Mapping["Manager", frozenset[Path]]
"""The fields of each manager. A field may have several owners, who then agree on its value, or none."""


class Operation(Enum):
    """How a manager wrote: declaring what it wants, or changing what is there."""

    APPLY = "Apply"
    UPDATE = "Update"


@dataclass(frozen=True, slots=True)
class Manager:
    """One line of `metadata.managedFields`: the same name owns apart what it wrote in another way or subresource."""

    name: str
    operation: Operation
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """A write that may happen."""

    content: dict[str, Any]
    ownership: dict[Manager, frozenset[Path]]
    changed: frozenset[Path]
    """Fields that are new, different or gone; empty when at most the ownership changed."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """An apply that must not happen without force: others own these fields with another value."""

    fields: Mapping[Manager, frozenset[Path]]

    @override
    def __str__(self) -> str:
        """Every manager and field, and what to do."""
        conflicts = [
            f'conflict with "{manager.name}"'
            + (f" with subresource {manager.subresource!r}" if manager.subresource else "")
            + f": {', '.join(sorted(map(describe, paths)))}"
            for manager, paths in sorted(self.fields.items(), key=lambda pair: pair[0].name)
        ]
        return f"{'; '.join(conflicts)}. Leave these fields out, send the values that they have, or apply with force"


def apply(
    live: Content, ownership: Ownership, applied: Content, manager: Manager, *, merging: Merging, force: bool
) -> Merged | Conflicts:
    """Apply: fields that are sent get their value and become ours; those sent before and not now go, unless another owns them.

    Raises:
        InvalidError: If items of a list map in `applied` lack their key or have it twice.
    """
    mine = frozenset(members(applied, merging))
    others = {other: paths for other, paths in ownership.items() if other != manager}
    kept = mine.union(*others.values())
    dropped = ownership.get(manager, frozenset()) - kept
    content = _prune(_merge_map(live, applied, (), merging), dropped, kept, merging)
    difference = compare(live, content, merging)
    conflicts = {other: taken for other, paths in others.items() if (taken := paths & difference.changed)}
    if conflicts and not force:
        return Conflicts(conflicts)
    remaining = _without(others, difference.changed | difference.removed)
    if mine:
        remaining[manager] = mine
    return Merged(content, remaining, difference.fields)


def update(live: Content, ownership: Ownership, content: Content, manager: Manager, *, merging: Merging) -> Merged:
    """Replace the object by `content`: the writer owns the fields that it changed. Never a conflict."""
    difference = compare(live, content, merging)
    touched = difference.changed | difference.removed
    remaining = _without({other: paths for other, paths in ownership.items() if other != manager}, touched)
    mine = (ownership.get(manager, frozenset()) - difference.removed) | difference.changed
    if mine:
        remaining[manager] = mine
    return Merged(dict(content), remaining, difference.fields)


def _without(ownership: Ownership, paths: frozenset[Path]) -> dict[Manager, frozenset[Path]]:
    return {manager: rest for manager, owned in ownership.items() if (rest := owned - paths)}


def _merge(live: Any, applied: Any, names: Names, merging: Merging) -> Any:
    if merging.granular_map(names, applied):
        return _merge_map(live if isinstance(live, Mapping) else {}, applied, names, merging)
    if isinstance(applied, list) and merging.keyed(names):
        return _merge_list(live if isinstance(live, list) else [], applied, names, merging)
    return applied


def _merge_map(live: Content, applied: Content, names: Names, merging: Merging) -> dict[str, Any]:
    merged = dict(live)
    for name, value in applied.items():
        inside = (*names, name)
        merged[name] = _merge(live.get(name), value, inside, merging)
        if merged[name] == [] and merging.keyed(inside):
            # A list without items has nothing that anybody could own.
            del merged[name]
    return merged


def _merge_list(live: list[Any], applied: list[Any], names: Names, merging: Merging) -> list[Any]:
    old, new = merging.index(names, live), merging.index(names, applied)
    return [
        _merge_item(old.get(element), new[element], names, merging) if element in new else old[element]
        for element in _order(list(old), list(new))
    ]


def _merge_item(live: Any, applied: Any, names: Names, merging: Merging) -> Any:
    if not merging.granular_map(names, applied):
        return applied
    merged = _merge_map(live or {}, applied, names, merging)
    for name in merging.list_maps[names]:
        merged.setdefault(name, KEY_DEFAULTS.get(name))
    return merged


def _order(live: list[str], applied: list[str]) -> list[str]:
    """Order of a merged list: applied items in the order of `applied`, live ones that are not applied where they stood.

    live `a X b`, applied `b N a` give `X b N a`: `a` comes after `b` as applied, so what stood before `b` goes first.
    """
    known, wanted = set(live), set(applied)
    shared = [element for element in applied if element in known]
    ordered: list[str] = []
    placed = 0
    for element in live:
        if element not in wanted:
            ordered.append(element)
        elif shared and element == shared[0]:
            # With it go the new ones that `applied` has before it.
            upto = applied.index(element) + 1
            ordered += applied[placed:upto]
            placed = upto
            shared.pop(0)
    return ordered + applied[placed:]


def _prune(
    content: dict[str, Any], dropped: frozenset[Path], kept: frozenset[Path], merging: Merging
) -> dict[str, Any]:
    """Remove the paths in `dropped`, and objects and lists that this leaves empty unless they are in `kept`."""
    if not dropped:
        return content
    pruned: dict[str, Any] = _Pruning(dropped, kept, merging).of_map(content, (), ())
    return pruned


@dataclass(frozen=True, slots=True)
class _Pruning:
    dropped: frozenset[Path]
    kept: frozenset[Path]
    merging: Merging

    def of(self, value: Any, path: Path, names: Names) -> Any:
        if self.merging.granular_map(names, value):
            return self.of_map(value, path, names)
        if isinstance(value, list) and self.merging.keyed(names):
            return self.of_list(value, path, names)
        return value

    def of_map(self, value: Content, path: Path, names: Names) -> dict[str, Any]:
        left = {}
        for name, child in value.items():
            inside, inside_names = (*path, f"f:{name}"), (*names, name)
            pruned = self.of(child, inside, inside_names)
            if self._stays(inside, child, pruned, container=self._is_container(inside_names, child)):
                left[name] = pruned
        return left

    def _stays(self, path: Path, child: Any, pruned: Any, *, container: bool) -> bool:
        """Whether a field is left: not if it was dropped, or lost all that it held and is not owned itself."""
        if container and pruned:
            # In an object that was dropped, what remains belongs to others.
            return True
        if path in self.dropped:
            return False
        emptied = container and bool(child)
        return not emptied or path in self.kept

    def _is_container(self, names: Names, child: Any) -> bool:
        return self.merging.granular_map(names, child) or self.merging.keyed(names)

    def of_list(self, items: list[Any], path: Path, names: Names) -> list[Any]:
        left = []
        for element, item in self.merging.index(names, items).items():
            inside = (*path, element)
            if inside not in self.dropped:
                left.append(self.of_map(item, inside, names) if self.merging.granular_map(names, item) else item)
        return left
