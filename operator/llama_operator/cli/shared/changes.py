"""What differs between two specs, and what each difference does. Pure; called by `diff`, `history` and `rollback`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.api import paths
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.decide.rollout.fields import FIELDS, FieldClass
from llama_operator.kube.port import Object

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OURS = frozenset({"llama-operator", "kubectl-llama"})


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
    return _differing({} if before is None else before.to_api(), after.to_api())


def of_inputs(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Restart fields that differ between two revisions."""
    return _differing(before or {}, after)


def after_apply(live: Object, manifest: Object) -> Object:
    """The spec of `live` once `manifest` is applied to it, as kubectl merges the two.

    What the manifest does not name and another writer wrote stays (`kubectl scale` writes spec.replicas); what an
    earlier apply wrote and this manifest no longer names goes.
    """
    spec: Object = live.get("spec") or {}
    wanted = manifest.get("spec") or {}
    for path in _given_up(live, wanted):
        spec = paths.without(spec, path)
    merged: Object = paths.merged(spec, wanted)
    return merged


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    old, new = paths.leaves(before), paths.leaves(after)
    return tuple(
        Change(f"spec.{path}", old.get(path), new.get(path), FIELDS.class_of_change(path, old.get(path), new.get(path)))
        for path in [*new, *(path for path in old if path not in new)]
        if old.get(path) != new.get(path)
    )


def _given_up(live: Object, wanted: Object) -> Iterator[str]:
    """Paths of what an earlier apply wrote and `wanted` does not name: by kubectl's own record, else by the server's."""
    metadata = live.get("metadata") or {}
    record = (metadata.get("annotations") or {}).get(_LAST_APPLIED)
    if record is not None:
        try:
            applied = json.loads(record).get("spec")
        except (ValueError, AttributeError):
            return
        yield from _absent(applied if isinstance(applied, Mapping) else {}, wanted, ())
        return
    entries = metadata.get("managedFields") or ()
    specs = [(entry, _owned((entry.get("fieldsV1") or {}).get("f:spec") or {})) for entry in entries]
    for entry, owned in specs:
        appliers = entry.get("operation") == "Apply" and not entry.get("subresource")
        if appliers and entry.get("manager") not in _OURS:
            yield from _absent(owned, wanted, [other for one, other in specs if one is not entry])


def _absent(
    applied: Mapping[str, Any], wanted: Mapping[str, Any], others: Iterable[Mapping[str, Any]], prefix: str = ""
) -> Iterator[str]:
    """Paths of `applied` that `wanted` does not have: whole sections, with their defaults, unless others own a part of one."""
    for name, below in applied.items():
        path, kept = f"{prefix}{name}", wanted.get(name)
        shared = [other[name] for other in others if isinstance(other.get(name), Mapping)]
        if name not in wanted and not shared:
            yield path
        elif isinstance(below, Mapping) and (name not in wanted or isinstance(kept, Mapping)):
            yield from _absent(below, kept or {}, shared, f"{path}.")


def _owned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a manager, nested as in the object."""
    return {name.removeprefix("f:"): _owned(below) for name, below in fields.items() if name.startswith("f:")}
