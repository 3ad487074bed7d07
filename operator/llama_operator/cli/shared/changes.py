"""What differs between two specs, and what each difference does. Pure; called by `diff`, `history` and `rollback`."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.decide.rollout.revision import FIELD_CLASSES, FieldClass
from llama_operator.kube.port import Object

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OURS = frozenset({"llama-operator", "kubectl-llama"})

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that changes."""

    field: str
    """API path: `spec.scaling.maxReplicas`."""
    before: Any
    """Old value as JSON; None for a field that was not set."""
    after: Any
    """New value as JSON; None for a field that gets removed."""
    kind: FieldClass

    def to_json(self) -> dict[str, Any]:
        """Render for programs."""
        return {"field": self.field, "from": self.before, "to": self.after, "class": str(self.kind)}


def between(before: LlamaDeploymentSpec | None, after: LlamaDeploymentSpec) -> tuple[Change, ...]:
    """Fields that differ, in the order of the API. A field at its default is the same as one that is not written."""
    old = {} if before is None else _leaves(before.to_api())
    return _differing(old, _leaves(after.to_api()))


def of_inputs(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Restart fields that differ between two revisions."""
    return _differing(_leaves(before or {}), _leaves(after))


def class_of(path: str) -> FieldClass:
    """Class of a field of the spec, by the one table; what the table does not have needs a restart."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        if (found := FIELD_CLASSES.get(".".join(parts[:length]))) is not None:
            return found
    return FieldClass.RESTART


def after_apply(live: Object, manifest: Object) -> Object:
    """The spec of `live` once `manifest` is applied to it, as kubectl merges the two.

    What the manifest does not name and somebody else wrote stays (`kubectl scale` writes spec.replicas); what an
    earlier apply wrote and this manifest no longer names goes.
    """
    spec: Object = copy.deepcopy(live.get("spec") or {})
    wanted = manifest.get("spec") or {}
    named = _leaves(wanted)
    for path in _applied_before(live):
        if path not in named:
            _remove(spec, path)
    return _merged(spec, wanted)


def _differing(old: Mapping[Path, Any], new: Mapping[Path, Any]) -> tuple[Change, ...]:
    paths = [*new, *(path for path in old if path not in new)]
    return tuple(
        Change(f"spec.{'.'.join(path)}", old.get(path), new.get(path), class_of(".".join(path)))
        for path in paths
        if old.get(path) != new.get(path)
    )


def _leaves(values: Mapping[str, Any], prefix: Path = ()) -> dict[Path, Any]:
    found: dict[Path, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, (*prefix, name))
        else:
            found[*prefix, name] = value
    return found


def _applied_before(live: Object) -> Iterator[Path]:
    """Fields of the spec that an earlier apply wrote: by kubectl's own record, else by the server's."""
    metadata = live.get("metadata") or {}
    record = (metadata.get("annotations") or {}).get(_LAST_APPLIED)
    if record is not None:
        try:
            yield from _leaves(json.loads(record).get("spec") or {})
        except (ValueError, AttributeError):
            return
        return
    for entry in metadata.get("managedFields") or ():
        appliers = entry.get("operation") == "Apply" and not entry.get("subresource")
        if appliers and entry.get("manager") not in _OURS:
            yield from _owned((entry.get("fieldsV1") or {}).get("f:spec") or {})


def _owned(fields: Mapping[str, Any], prefix: Path = ()) -> Iterator[Path]:
    for name, below in fields.items():
        if not name.startswith("f:"):
            continue
        path = (*prefix, name.removeprefix("f:"))
        if any(child.startswith("f:") for child in below):
            yield from _owned(below, path)
        else:
            yield path


def _remove(values: Object, path: Path) -> None:
    *parents, last = path
    for parent in parents:
        values = values.get(parent) or {}
    values.pop(last, None)


def _merged(base: Object, over: Mapping[str, Any]) -> Object:
    found = dict(base)
    for name, value in over.items():
        inner = found.get(name)
        found[name] = _merged(inner if isinstance(inner, dict) else {}, value) if isinstance(value, Mapping) else value
    return found
