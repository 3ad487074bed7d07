"""One deployment as a row of a table or as JSON. Called by `cli.get.command`, `cli.get.watch` and `history`."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llama_operator.api.manifest import readable
from llama_operator.api.meta import Condition, rfc3339
from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, get_or_explain, list_or_explain
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_HEADINGS = (
    "NAME",
    "MODEL",
    "PLAN",
    "REPLICAS",
    "QUEUE",
    "READY",
    "REASON",
    "ROLLOUT",
    "REVISION",
    "ACCESS",
    "AGE",
    "URL",
)

SPARE = ("URL", "MODEL", "ACCESS", "PLAN", "AGE", "REVISION", "QUEUE", "ROLLOUT")
"""Columns that a narrow terminal leaves out, the first one first."""


@dataclass(frozen=True, slots=True)
class GetOptions:
    """What the user asked for on the command line."""

    name: str | None = None
    all_namespaces: bool = False
    as_json: bool = False
    watch: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One deployment, as far as the table and the JSON show it."""

    namespace: str
    name: str
    model: str
    created: datetime | None
    generation: int
    status: LlamaDeploymentStatus
    deleted: datetime | None = None
    """Since when it is being deleted: from then on nothing is told about it any more."""

    @property
    def ready(self) -> Condition | None:
        """The condition Ready; None before the operator wrote it."""
        return self._condition(ConditionType.READY)

    @property
    def up_to_date(self) -> Condition | None:
        """The condition UpToDate; None before the operator wrote it."""
        return self._condition(ConditionType.UP_TO_DATE)

    @property
    def behind(self) -> bool:
        """Whether the status is about an older spec than the one that is there."""
        return self.status.observed_generation < self.generation

    @property
    def reason(self) -> str:
        """Why it is Ready or not, for people."""
        if self.ready is None:
            return "NotSeenYet" if self.deleted is None else "(being deleted)"
        if self.deleted is not None:
            # To delete is a new generation, too, but no other spec.
            return f"{self.ready.reason} (being deleted)"
        return f"{self.ready.reason} (of an older spec)" if self.behind else self.ready.reason

    @property
    def rollout(self) -> str:
        """How far the spec is rolled out, for people."""
        return "" if self.up_to_date is None else self.up_to_date.reason

    def _condition(self, kind: ConditionType) -> Condition | None:
        return next((condition for condition in self.status.conditions if condition.type == kind), None)


async def read(connection: Connection, options: GetOptions) -> list[Row]:
    """Read the deployments that `options` names; raises ClusterError if a named one does not exist."""
    if options.name is not None:
        ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, options.name)
        return [row_of(await get_or_explain(connection.cluster, ref))]
    namespace = None if options.all_namespaces else connection.namespace
    listing = await list_or_explain(connection.cluster, kinds.LLAMA_DEPLOYMENT, namespace)
    return [row_of(item) for item in listing.items]


def row_of(obj: Object) -> Row:
    """What of an object is shown. Lenient: a deployment of another version is listed, with what can be read."""
    metadata = obj["metadata"]
    status = LlamaDeploymentStatus.model_validate(readable(LlamaDeploymentStatus, obj.get("status")) or {})
    return Row(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        model=str(((obj.get("spec") or {}).get("model") or {}).get("name", "")),
        created=output.moment(metadata.get("creationTimestamp")),
        generation=metadata.get("generation", 0),
        status=status,
        deleted=output.moment(metadata.get("deletionTimestamp")),
    )


def document(row: Row) -> dict[str, Any]:
    """One deployment as JSON; a stable interface, documented in docs/cli.md."""
    status = row.status
    chosen = status.plan.chosen if status.plan else None
    return {
        "namespace": row.namespace,
        "name": row.name,
        "model": row.model,
        "plan": chosen.to_api() if chosen else None,
        "replicas": {"ready": status.ready_replicas, "wanted": status.replicas},
        "queueDepth": status.queue_depth,
        "servingSilentSince": rfc3339(status.serving_silent_since) if status.serving_silent_since else None,
        "ready": _said(row.ready),
        "upToDate": _said(row.up_to_date),
        "downSince": rfc3339(status.down_since) if status.down_since else None,
        "revision": {
            "active": status.revisions.active if status.revisions else "",
            "pending": status.revisions.pending if status.revisions else "",
        },
        "generation": row.generation,
        "observedGeneration": status.observed_generation,
        "access": status.access.to_api() if status.access else None,
        "created": row.created.isoformat().replace("+00:00", "Z") if row.created else None,
        "deletedAt": rfc3339(row.deleted) if row.deleted else None,
        "url": status.url,
        "urls": list(status.urls or ()),
    }


def _said(condition: Condition | None) -> dict[str, str]:
    if condition is None:
        return {"status": "Unknown", "reason": "", "message": ""}
    return {"status": str(condition.status), "reason": condition.reason, "message": condition.message}


def table(rows: list[Row], *, namespaces: bool, now: datetime) -> "Table":
    """Build the table."""
    headings = (*(("NAMESPACE",) if namespaces else ()), *_HEADINGS)
    made = output.table(*headings, whole=tuple(heading for heading in headings if heading != "URL"))
    for row in rows:
        cells = _cells(row, now)
        made.add_row(*((row.namespace, *cells) if namespaces else cells))
    return made


def _cells(row: Row, now: datetime) -> "tuple[str | Text, ...]":
    status = row.status
    return (
        row.name,
        row.model,
        output.plan_label(status.plan.chosen if status.plan else None),
        f"{status.ready_replicas}/{status.replicas}",
        "" if status.queue_depth is None else str(status.queue_depth),
        _ready_cell(row),
        row.reason,
        row.rollout,
        _revision_cell(row),
        "" if status.access is None else status.access.mode,
        output.age(row.created, now),
        ", ".join(status.urls or ()) or status.url,
    )


def _ready_cell(row: Row) -> "Text":
    from rich.text import Text

    status = str(row.ready.status) if row.ready else "Unknown"
    return Text(status, style={"True": "green", "False": "red"}.get(status, "yellow"))


def _revision_cell(row: Row) -> str:
    """Revisions without the deployment's own name, which stands in the first column."""
    revisions = row.status.revisions
    if revisions is None:
        return ""
    active, pending = (name.removeprefix(f"{row.name}-") for name in (revisions.active, revisions.pending))
    return f"{active or '-'} → {pending}" if pending and pending != active else active
