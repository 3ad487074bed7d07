"""Status as `kubectl get lld` shows it, with the conditions below. Used by `cli.run.command`."""

from rich.console import Console

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.shared import output
from llama_operator.kube.port import Ref

_COLORS = {ConditionStatus.TRUE: "green", ConditionStatus.FALSE: "red", ConditionStatus.UNKNOWN: "yellow"}
_ABNORMAL = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that are good news when they are False."""


def show(console: Console, ref: Ref, status: LlamaDeploymentStatus) -> None:
    """Print the two tables."""
    said = {condition.type: condition for condition in status.conditions}
    ready, rollout = said.get(ConditionType.READY), said.get(ConditionType.UP_TO_DATE)
    chosen = status.plan.chosen if status.plan else None
    headings = ("NAME", "MODEL", "REPLICAS", "READY", "REASON", "ROLLOUT", "QUEUE", "URL")
    summary = output.table(*headings, whole=headings)
    summary.add_row(
        ref.name,
        chosen.model if chosen else "",
        f"{status.ready_replicas}/{status.replicas}",
        ready.status if ready else "",
        ready.reason if ready else "",
        rollout.reason if rollout else "",
        "" if status.queue_depth is None else str(status.queue_depth),
        status.url,
    )
    details = output.table("CONDITION", "STATUS", "REASON", "MESSAGE", whole=("CONDITION", "STATUS", "REASON"))
    for condition in status.conditions:
        good = condition.type not in _ABNORMAL
        color = _COLORS[condition.status] if good else "dim"
        details.add_row(condition.type, f"[{color}]{condition.status}[/]", condition.reason, condition.message)
    output.show_table(console, summary)
    output.show_table(console, details)
