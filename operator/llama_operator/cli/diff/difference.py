"""What applying a manifest would do, as a value. Made by `cli.diff.command`, shown by `cli.diff.table`."""

from dataclasses import dataclass
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.cli.diff import effect as diff_effect
from llama_operator.cli.plan import document as plan_json
from llama_operator.cli.shared import world
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
    decision: Decision
    """What the operator would decide."""
    later: Decision
    """What follows once the Hub lets the weights be read: the same, if it is not asked."""

    @property
    def running(self) -> ChosenPlan | None:
        """The plan of what runs now."""
        status = self.before.status if self.before else None
        return status.plan.chosen if status and status.plan else None

    @property
    def effect(self) -> str:
        """What would happen, in one sentence."""
        text = diff_effect.effect(self.before, self.changed, self.observed, self.later, seen=not self.unseen)
        waits = self.later is not self.decision and (self.changed or self.before is None)
        return f"{text}; it starts when the Hub lets its weights be read" if waits else text

    @property
    def unseen(self) -> tuple[str, ...]:
        """Why it is not known what runs; empty if it is."""
        return world.unseen(self.observed)


def document(difference: Difference) -> dict[str, Any]:
    """The difference as JSON; a stable interface, documented in docs/cli.md."""
    decision, metadata = difference.decision, difference.after.metadata
    pinned = difference.observed.pinned(decision.revision.name)
    chosen, running = decision.chosen, difference.running
    rollout = difference.later.rollout
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "exists": difference.before is not None,
        "changes": [change.to_json() for change in difference.changed],
        "revision": {
            "name": decision.revision.name,
            "running": revision_of(difference.before, difference.observed.revisions).name if difference.before else "",
            "exists": None if difference.unseen else pinned is not None,
            "number": pinned.number if pinned else None,
        },
        "plan": {
            "running": running.to_api() if running else None,
            "new": chosen.to_api() if chosen else None,
        },
        "strategy": {"name": str(rollout.strategy.kind), "reason": rollout.strategy.reason} if rollout else None,
        "effect": difference.effect,
        "unknown": list(world.whys(difference.observed.unknown)),
        "problem": plan_json.problem(decision.problem),
    }
