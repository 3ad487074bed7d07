"""Status as `kubectl get lld` shows it, with the conditions below. Used by `cli.run.command`."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.kube.port import Ref

_COLORS = {ConditionStatus.TRUE: "green", ConditionStatus.FALSE: "red", ConditionStatus.UNKNOWN: "yellow"}
_ABNORMAL = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that are good news when they are False."""


def status_table(ref: Ref, status: LlamaDeploymentStatus) -> RenderableType:
    """Build the two tables."""
    ready = next((c for c in status.conditions if c.type == ConditionType.READY), None)
    chosen = status.plan.chosen if status.plan else None
    summary = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("NAME", "MODEL", "REPLICAS", "READY", "REASON", "QUEUE", "URL"):
        summary.add_column(heading, no_wrap=heading != "URL", overflow="fold")
    summary.add_row(
        ref.name,
        chosen.model if chosen else "",
        f"{status.ready_replicas}/{status.replicas}",
        ready.status if ready else "",
        ready.reason if ready else "",
        "" if status.queue_depth is None else str(status.queue_depth),
        status.url,
    )
    details = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("CONDITION", "STATUS", "REASON", "MESSAGE"):
        details.add_column(heading, no_wrap=heading != "MESSAGE")
    for condition in status.conditions:
        good = condition.type not in _ABNORMAL
        color = _COLORS[condition.status] if good else "dim"
        details.add_row(condition.type, f"[{color}]{condition.status}[/]", condition.reason, condition.message)
    return Group(summary, details)
