"""What is decided for a deployment. Made by the other modules of `decide.decision`, read by all that builds, writes and tells."""

from dataclasses import dataclass, field

from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, GivenUpStatus, PlanStatus
from llama_operator.catalog.models import Model
from llama_operator.decide.access import Door
from llama_operator.decide.access_check import AccessCheck
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.exposure import Exposure
from llama_operator.decide.guard.planned import GuardPlan
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.license.running import RevisionVerdict
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.plan.candidate import Plan
from llama_operator.decide.plan.cold_start import Stage
from llama_operator.decide.problem import Problem
from llama_operator.decide.rollout.ending import Ending
from llama_operator.decide.rollout.handover import Handover
from llama_operator.decide.rollout.move import Move
from llama_operator.decide.rollout.revision import Revision
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.decide.rollout.upkeep import Upkeep
from llama_operator.decide.weights.claims import ClaimPlan
from llama_operator.decide.weights.copying import Copying
from llama_operator.decide.weights.erasing import Erasing
from llama_serving.contract.tenants import HouseLimits


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall be. Later parts are None when an earlier one has a problem."""

    revision: Revision
    """Revision that the spec asks for."""
    model: Model | None = None
    license: LicenseVerdict | None = None
    """Verdict about the model that the spec asks for."""
    verdicts: tuple[RevisionVerdict, ...] = ()
    """Verdicts about revisions: the wanted one, where its model is known, and all others that run or may be gone back to."""
    plan: Plan | None = None
    """The search for a plan; None when the revision is pinned already, so that nothing was searched."""
    plan_status: PlanStatus | None = None
    """The plan as found or as pinned."""
    shapes: PodShapes | None = None
    """Its pods, as planned or as pinned; None without a plan, or where what is pinned does not tell."""
    cold_start: tuple[Stage, ...] = ()
    """What a start of one replica is predicted to take, and the copy before it; nothing without a plan."""
    guard: GuardPlan | None = None
    """The guard of a revision that is about to be made; None without one, and when the revision is pinned already."""
    door: Door | None = None
    """How requests reach the revision that the spec asks for, and who may send them; None while its model is not known."""
    problem: Problem | None = None
    """What stands in the way; with a problem nothing new is started, and what serves is kept as it is pinned. A wrong
    manifest comes before a refused license, and that before a lack of hardware."""
    access_check: AccessCheck | None = None
    """Whether the weights may be downloaded; None while something else stands in the way, or hardware is not wanted."""
    copying: Copying | None = None
    """How far the copies of the weights are; None if there are none to be, or while something else stands in the way."""
    erasing: Erasing | None = None
    """How far copies are erased whose license has ended; None if none has."""
    claims: ClaimPlan = field(default_factory=ClaimPlan)
    """What to write about claims with copies."""
    rollout: Rollout | None = None
    upkeep: Upkeep | None = None
    """What is kept while there is no rollout; None if there is one, or if nothing was ever made."""
    stopped: bool = False
    """Suspended, or scaled to zero by hand: no hardware is held."""
    ending: Ending | None = None
    """How revisions go to zero because an acceptance was terminated."""
    given_up: GivenUpStatus | None = None
    """Replicas that found no node in time, and are not asked for now, or were tried again; None for none."""
    handover: Handover | None = None
    """Bounds of a revision that takes over from another; None while none does."""
    next_bounds: float | None = None
    """Seconds until a schedule may have other bounds; None without one."""
    move: Move | None = None
    """Whether what serves is started a second time, because the node of its head is about to be emptied; None if nothing has to move."""
    exposure: Exposure = field(default_factory=Exposure)
    """The way in from outside; the same whatever becomes of revisions."""

    @property
    def copies(self) -> tuple[Copy, ...]:
        """Copies that the revision reads; none if it needs none, or while something stands in the way."""
        return () if self.copying is None else tuple(state.copy for state in self.copying.states)

    def verdict_of(self, revision: str) -> RevisionVerdict | None:
        """Verdict about `revision`; None if it was not judged."""
        return next((judged for judged in self.verdicts if judged.revision == revision), None)

    def may_start(self, revision: str) -> bool:
        """Whether `revision` may be started or given more hardware."""
        judged = self.verdict_of(revision)
        # Pods of a revision whose copies are not there would wait for them, with their hardware.
        lacks = revision == self.revision.name and self.copying is not None and not self.copying.passed
        return judged is not None and judged.verdict.allowed and not lacks

    def house_limits(self, revision: str) -> HouseLimits | None:
        """What house policy allows each tenant of `revision`; None if it says nothing."""
        judged = self.verdict_of(revision)
        return None if judged is None else judged.verdict.duties.house_limits

    @property
    def traffic(self) -> str | None:
        """Revision that the Service shall select; None while there is no Service."""
        if self.rollout is not None:
            return self.rollout.traffic
        return None if self.upkeep is None else self.upkeep.traffic

    @property
    def chosen(self) -> ChosenPlan | None:
        """The sharding that is used; None when none fits."""
        return None if self.plan_status is None else self.plan_status.chosen
