"""What a change of each field of the spec does: the one table. Read by `revision`, `diff`, `rollback` and the reference.

A row stands for its path and everything below it, except where a longer path has a row of its own. A field without a row
restarts, so that a field that the table forgets can never change what runs unseen.

The names of revisions follow from the table, and another name restarts every model that runs. So these edits are safe for
all revisions that do not set the field in question, and no other edit is:

- a Live row below the row of a section: the section is then named without that field, which is as if it were not set;
- a Restart row for a field that had none: it goes under its own path with and without the row;
- a Restart row below a Live one: the field goes under its own path, the section stays out.

A new section needs a row from its first day: a Live row below a section *without* one would split it into its fields.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from llama_operator.api import paths, readings


class FieldClass(StrEnum):
    """What a change of a field does."""

    RESTART = "Restart"
    """New engines are needed: a new revision."""
    LIVE = "Live"
    """Changed in place, engines go on."""


@dataclass(frozen=True, slots=True)
class Part:
    """Entries of a live list that restart all the same.

    Attributes:
        restarts: Whether an entry, as JSON, restarts.
    """

    restarts: Callable[[Mapping[str, Any]], bool]

    def of(self, entries: Any) -> list[Any]:
        """Return the entries that restart."""
        return [dict(entry) for entry in readings.mappings(entries) if self.restarts(entry)]

    def joined(self, live: Any, pinned: Any) -> list[Any]:
        """Return the live entries of one list, and those of another that restart."""
        return [*(dict(entry) for entry in readings.mappings(live) if not self.restarts(entry)), *self.of(pinned)]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """The class of a field, or of a section."""

    path: str
    """API path below `spec`."""
    kind: FieldClass
    why: str
    part: Part | None = None
    """Entries of a live list that restart; None if none do."""
    whole: bool = False
    """Whether fields below it mean nothing without it: a rollback to a revision that has none leaves them out."""


class FieldTable:
    """Rows, and what follows from them.

    Args:
        rows: The rows; no path twice.
    """

    def __init__(self, rows: Iterable[FieldRow]) -> None:
        self.rows = tuple(rows)
        self._by_path = {row.path: row for row in self.rows}
        parts = (row.path.split(".") for row in self.rows)
        self._sections = frozenset(".".join(part[:length]) for part in parts for length in range(1, len(part)))
        self._parts = tuple((row.path, row.part) for row in self.rows if row.part is not None)
        self._last: tuple[BaseModel, dict[str, Any]] | None = None
        self._nested = any(row.kind is FieldClass.RESTART and self._splits(row.path) for row in self.rows)

    def row(self, path: str) -> FieldRow | None:
        """Return the row that stands for the field at `path`; None if the table forgot it."""
        parts = path.split(".")
        above = (self._by_path.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
        return next((row for row in above if row is not None), None)

    def class_of(self, path: str) -> FieldClass:
        """Return the class of the field at `path` below `spec`."""
        row = self.row(path)
        return FieldClass.RESTART if row is None else row.kind

    def class_of_change(self, path: str, old: Any, new: Any) -> FieldClass:
        """Return the class of a change of the field at `path` below `spec`."""
        part = dict(self._parts).get(path)
        restarts = part is not None and part.of(old) != part.of(new)
        return FieldClass.RESTART if restarts else self.class_of(path)

    def restart_values(self, spec: BaseModel) -> dict[str, Any]:
        """Return what the user wrote into the fields of `spec` that restart, as JSON by path.

        Only what differs from its default counts as written. A section that restarts is one value.
        """
        # A pass names the revision of one spec three times; specs are frozen.
        last = self._last
        if last is None or last[0] is not spec:
            last = self._last = spec, self._restart_values(spec)
        return dict(last[1])

    def _restart_values(self, spec: BaseModel) -> dict[str, Any]:
        written = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        parts = {path: part.of(paths.at(written, path)) for path, part in self._parts}
        for path in self._live(written):
            written = paths.without(written, path)
        if self._nested:
            # What is left of a section that restarts may be its default now.
            rest = type(spec).model_validate_json(json.dumps(written))
            written = rest.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {**dict(self._values(written, "")), **{path: part for path, part in parts.items() if part}}

    def rolled_back(self, spec: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return `spec` with `inputs` in place of all its fields that restart; both as JSON."""
        gone = tuple(f"{row.path}." for row in self.rows if row.whole and paths.at(inputs, row.path) is None)
        live = {path: paths.at(spec, path) for path in self._live(spec) if not path.startswith(gone)}
        for path, part in self._parts:
            joined = part.joined(paths.at(spec, path), paths.at(inputs, path))
            inputs = paths.without(inputs, path)
            live = {name: value for name, value in live.items() if name != path} | ({path: joined} if joined else {})
        rolled: dict[str, Any] = paths.merged(paths.nested(live), inputs)
        return rolled

    def _live(self, written: Mapping[str, Any]) -> tuple[str, ...]:
        """Paths of what is live in `written`: whole sections, unless there are rows for parts of them."""
        rows = {path: self.row(path) for path in paths.leaves(written)}
        live = {path: row.path for path, row in rows.items() if row is not None and row.kind is FieldClass.LIVE}
        return tuple(dict.fromkeys(path if self._splits(section) else section for path, section in live.items()))

    def _splits(self, path: str) -> bool:
        """Whether fields below `path` have rows of their own."""
        return path in self._sections

    def _values(self, written: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in written.items():
            path = f"{prefix}{name}"
            row = self._by_path.get(path)
            if self._splits(path) and (row is None or row.kind is FieldClass.LIVE):
                yield from self._values(value, f"{path}.")
            elif self.class_of(path) is FieldClass.RESTART:
                yield path, value


_RESTART, _LIVE = FieldClass.RESTART, FieldClass.LIVE

FIELDS = FieldTable(
    (
        FieldRow("model", _RESTART, "other weights are loaded"),
        FieldRow("context", _RESTART, "the engine sizes its KV cache when it starts"),
        FieldRow("hardware.accelerator", _RESTART, "pods move to other nodes"),
        FieldRow("hardware.gpusPerNode", _RESTART, "replicas are cut into other pods"),
        FieldRow("hardware.maxGPUs", _LIVE, "a limit for the plan; what runs is checked against it"),
        FieldRow("parallelism", _RESTART, "weights are sharded when they are loaded"),
        FieldRow("engine", _RESTART, "vLLM takes its arguments when it starts"),
        FieldRow("objectives", _RESTART, "another plan may reach them"),
        FieldRow("image", _RESTART, "pods start from it"),
        FieldRow("scaling", _LIVE, "Serve takes new bounds and targets while replicas run"),
        FieldRow("replicas", _LIVE, "Serve adds or removes replicas, the others go on"),
        FieldRow("endpoint", _RESTART, "another application answers in the pods"),
        FieldRow("endpoint.aliases", _LIVE, "Serve hands the names to replicas while they run"),
        FieldRow("endpoint.expose", _LIVE, "a route beside the Service; engines do not see it"),
        FieldRow("access", _RESTART, "pods mount the keys, and Kubernetes changes no pod that runs"),
        FieldRow("access.from", _LIVE, "a network policy around the pods; engines do not see it"),
        FieldRow("access.revokedKeys", _LIVE, "Serve hands it to replicas while they run"),
        FieldRow("tenants", _LIVE, "Serve hands the limits to replicas while they run"),
        FieldRow("otherTenants", _LIVE, "as tenants"),
        FieldRow("adapterSlots", _RESTART, "vLLM makes room for adapters when it starts, and pods mount the claim"),
        FieldRow(
            "adapters",
            _LIVE,
            "replicas load and unload adapters while they run; an adapter of the Hub needs new engines, whose pods may reach it",
            Part(lambda adapter: "huggingFace" in readings.mapping(adapter.get("source"))),
        ),
        FieldRow(
            "guard", _RESTART, "a second engine starts beside the first, which waits for its verdicts", whole=True
        ),
        FieldRow("guard.mode", _LIVE, "Serve hands it to replicas while they run"),
        FieldRow("guard.failure", _LIVE, "as guard.mode"),
        FieldRow("guard.reason", _LIVE, "as guard.mode"),
        FieldRow("guard.categories", _LIVE, "as guard.mode"),
        FieldRow("guard.deadlineMilliseconds", _LIVE, "as guard.mode"),
        FieldRow("guard.replicas", _LIVE, "Serve adds or removes replicas of the guard, the others go on"),
        FieldRow("headStore", _RESTART, "Ray's head has its store from its start"),
        FieldRow("usageStore", _RESTART, "pods mount the credentials, and a replica has one ledger from its start"),
        FieldRow("license", _LIVE, "the license chain judges it; engines do not see it"),
        FieldRow("weights", _RESTART, "pods name the Secret; what is in it may change at any time"),
        FieldRow("weights.cache.retention", _LIVE, "an entry in the claim; pods do not see it"),
        FieldRow("pods", _RESTART, "Kubernetes changes no pod that runs"),
        FieldRow("rollout.strategy", _LIVE, "says how the next revision starts"),
        FieldRow("rollout.progressDeadlineSeconds", _LIVE, "only the operator watches it"),
        FieldRow("rollout.drainSeconds", _LIVE, "Serve takes a new time while replicas run"),
        FieldRow("rollout.revisionHistoryLimit", _LIVE, "only the operator keeps the history"),
        FieldRow("rollout.restartedAt", _RESTART, "asks for new engines, and for nothing else"),
        FieldRow("activation", _LIVE, "the same revision goes, and comes back"),
    )
)
"""The table for `LlamaDeployment.spec`."""
