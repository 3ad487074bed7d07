"""What the deployment writes into objects that it shares with others: claims with weights, and their Jobs. Called by `desired.objects`."""

from dataclasses import dataclass
from typing import Any

from llama_operator.decide.copies.facts import ClaimFacts, CopyJobFacts
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.weights.claims import ClaimPlan
from llama_operator.desired import weights_claim, weights_job
from llama_operator.desired.contents import expected


@dataclass(frozen=True, slots=True)
class Shared:
    """What to write, in this order.

    Attributes:
        manager: Field manager of this deployment's own entries.
        entries: Entries in claims, under that manager.
        memories: What claims remember, under the operator's field manager.
        jobs: Jobs to start, unless somebody else has.
        done: Jobs that nobody needs any more.
        released: Entries to take away, under the deployment's manager; written last.
        removed: Claims to delete, if nobody has taken them up meanwhile; after that.
    """

    manager: str = ""
    entries: tuple[dict[str, Any], ...] = ()
    memories: tuple[dict[str, Any], ...] = ()
    jobs: tuple[dict[str, Any], ...] = ()
    done: tuple[CopyJobFacts, ...] = ()
    released: tuple[dict[str, Any], ...] = ()
    removed: tuple[ClaimFacts, ...] = ()


def build(observed: Observed, decision: Decision, settings: Settings) -> Shared:
    """Build what is to be written.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        settings: Settings of the operator.
    """
    deployment, plan, copying = observed.deployment, decision.claims, decision.copying
    states = () if copying is None else copying.states
    erase = () if decision.erasing is None else decision.erasing.states
    if not states and not erase and plan == ClaimPlan():
        return Shared()
    return Shared(
        manager=weights_claim.manager(deployment),
        entries=tuple(weights_claim.entry(deployment, hold) for hold in plan.hold),
        memories=(
            *(weights_claim.memory(deployment, one.claim, one.copied, None) for one in plan.remember),
            *(
                weights_claim.memory(deployment, state.claim, None, state.erased)
                for state in erase
                if state.remember and state.claim is not None
            ),
        ),
        jobs=(
            *(
                weights_job.copying(
                    deployment,
                    state.copy,
                    state.start,
                    decision.revision.name,
                    expected(decision, state.copy),
                    settings,
                    observed.platform,
                )
                for state in states
                if state.start is not None
            ),
            *(
                weights_job.erasing(deployment, state.copy, state.start, settings, observed.platform)
                for state in erase
                if state.start is not None
            ),
        ),
        done=(*(job for state in states for job in state.obsolete), *plan.stray_jobs),
        released=tuple(weights_claim.entry(deployment, hold) for hold in plan.release),
        removed=plan.remove,
    )
