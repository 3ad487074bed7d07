"""What applying a manifest would do, as a value. Made by `cli.diff.command`, shown by `cli.diff.table`."""

from dataclasses import dataclass
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.cli.diff import effect as diff_effect
from llama_operator.cli.shared.changes import Change
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout.revision import revision_of


@dataclass(frozen=True, slots=True)
class Difference:
    """What applying would do."""

    before: LlamaDeployment | None
    """The live object; None if there is none yet."""
    after: LlamaDeployment
    changed: tuple[Change, ...]
    observed: Observed
    """The world with the spec as it would be."""
    unknown: tuple[str, ...]
    """What of that world may not be read."""
    decision: Decision

    @property
    def running(self) -> ChosenPlan | None:
        """The plan of what runs now."""
        status = self.before.status if self.before else None
        return status.plan.chosen if status and status.plan else None

    @property
    def effect(self) -> str:
        """What would happen, in one sentence."""
        return diff_effect.effect(self.before, self.changed, self.observed, self.decision, seen=not self.unknown)


def document(found: Difference) -> dict[str, Any]:
    """The difference as JSON; a stable interface, documented in docs/cli.md."""
    decision, metadata = found.decision, found.after.metadata
    record = found.observed.record(decision.revision.name)
    chosen = decision.chosen
    rollout, problem = decision.rollout, decision.problem
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "exists": found.before is not None,
        "changes": [change.to_json() for change in found.changed],
        "revision": {
            "name": decision.revision.name,
            "running": revision_of(found.before).name if found.before else "",
            "exists": None if found.unknown else record is not None,
            "number": record.number if record else None,
        },
        "plan": {
            "running": found.running.to_api() if found.running else None,
            "new": chosen.to_api() if chosen else None,
        },
        "strategy": {"name": str(rollout.strategy.kind), "reason": rollout.strategy.reason} if rollout else None,
        "effect": found.effect,
        "unknown": list(found.unknown),
        "problem": None
        if problem is None
        else {
            "condition": problem.condition,
            "field": problem.field,
            "reason": problem.reason,
            "message": problem.message,
        },
    }
