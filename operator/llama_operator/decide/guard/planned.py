"""The guard of a deployment: which model, and how it is sharded on which card. Called by `decide.decision`.

On cards of its own it is planned as a deployment of its own would be: with its own model, and with the surroundings of this one. For
one on the model's cards see `share`.
"""

from dataclasses import dataclass, replace
from functools import partial

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.guard import GuardPlacement, GuardSpec
from llama_operator.api.v1alpha1.llamadeployment import (
    ContextSpec,
    EngineSpec,
    HardwareSpec,
    LlamaDeployment,
    ModelSpec,
    ParallelismSpec,
)
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.api.v1alpha1.scaling import ScalingMode, ScalingSpec
from llama_operator.catalog import Catalog
from llama_operator.catalog.models import Model
from llama_operator.decide.bounds import most_from, most_replicas
from llama_operator.decide.copies.needed import caches
from llama_operator.decide.find_model import find_model
from llama_operator.decide.license.gather import gpus_of
from llama_operator.decide.observed import Observed
from llama_operator.decide.placement import requests
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.plan.candidate import Candidate, Plan
from llama_operator.decide.plan.request import find_plan, nothing_fits
from llama_operator.decide.plan.status import plan_status
from llama_operator.decide.problem import Problem

FIELD = "spec.guard"
_OWN_WORDS = 2048
"""Tokens of the guard's own prompt, with its categories, and some more: its tokenizer may be another one."""


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """The guard of a revision that is about to be made.

    Attributes:
        deployment: What its plan was made from: the deployment, with the guard in place of the model.
        model: The guard's model.
        plan: Its plan; one candidate is chosen.
        chosen: The plan as users read it.
        shapes: Its pods; None where it is in those of the model.
    """

    deployment: LlamaDeployment
    model: Model
    plan: Plan
    best: Candidate
    chosen: ChosenPlan
    shapes: PodShapes | None

    @property
    def shared(self) -> bool:
        """Whether it is on the model's cards."""
        return self.chosen.placement is GuardPlacement.SHARED

    @property
    def gpus(self) -> int:
        """Accelerators of all its replicas; none where they are the model's."""
        if self.shared:
            return 0
        return gpus_of(self.best.sharding.ranks, self.best.accelerator.name) * (
            self.deployment.spec.scaling.min_replicas
        )


def plan_guard(observed: Observed, catalog: Catalog, chosen: Candidate) -> GuardPlan | Problem | None:
    """Plan the guard on cards of its own; None if the spec asks for none.

    Args:
        observed: What is known.
        catalog: Models and accelerators.
        chosen: Plan of the model that it screens.
    """
    guard = observed.deployment.spec.guard
    if guard is None:
        return None
    model = find_model(guard.model.name, observed.models, catalog)
    if isinstance(model, Problem):
        return of_guard(model)
    if (beyond := _beyond_max_gpus(observed.deployment, guard, chosen)) is not None:
        return beyond
    hardware = _hardware(observed.deployment, guard, chosen)
    deployment = guard_deployment(observed.deployment, guard, hardware, context_of(observed.deployment, model))
    search = find_plan(replace(observed, deployment=deployment), model, catalog)
    if isinstance(search, Problem):
        return of_guard(search)
    request, plan = search
    if plan.chosen is None:
        # Of what would help only another card is a field of the guard.
        cards = tuple(
            replace(change, field=f"{FIELD}.accelerator")
            for change in plan.changes
            if change.field == "spec.hardware.accelerator"
        )
        return of_guard(nothing_fits(request, replace(plan, changes=cards)))
    mode = deployment.spec.weights.cache.mode
    status = plan_status(model, plan, max_model_length=request.max_model_length, mode=mode).chosen
    if status is None:
        raise ValueError("a plan with a candidate has a status")
    shape = partial(_shapes, observed, model)
    return GuardPlan(deployment, model, plan, plan.chosen, status, shape(plan.chosen))


def context_of(deployment: LlamaDeployment, model: Model) -> ContextSpec:
    """As much as its model may be asked and answer, where the spec says so; else what fits, because a default buys no hardware."""
    asked = deployment.spec.context.max_model_length
    if asked is None:
        return ContextSpec()
    return ContextSpec(
        max_model_length=min(asked + _OWN_WORDS, *(model.context_of(variant) for variant in model.variants))
    )


def _hardware(deployment: LlamaDeployment, guard: GuardSpec, chosen: Candidate) -> HardwareSpec:
    limit = deployment.spec.hardware.max_gpus
    # What the model may take at most is taken.
    left = None if limit is None else limit - chosen.sharding.ranks * most_replicas(deployment.spec)
    return HardwareSpec(accelerator=guard.accelerator or chosen.accelerator.name, max_gpus=left)


def guard_deployment(
    deployment: LlamaDeployment, guard: GuardSpec, hardware: HardwareSpec, context: ContextSpec
) -> LlamaDeployment:
    """The deployment with the guard in place of the model.

    Args:
        deployment: The deployment.
        guard: Its guard.
        hardware: What the guard may run on.
        context: What it reads.
    """
    own = deployment.spec.model_copy(
        update={
            "model": ModelSpec(name=guard.model.name, variant=guard.model.variant),
            "context": context,
            "hardware": hardware,
            "parallelism": ParallelismSpec(),
            "engine": EngineSpec(),
            "objectives": None,
            "scaling": ScalingSpec(mode=ScalingMode.MANUAL, min_replicas=guard.replicas, max_replicas=guard.replicas),
            "replicas": None,
            "guard": None,
            # Adapters are the model's.
            "adapter_slots": None,
            "adapters": (),
        }
    )
    return deployment.model_copy(update={"spec": own})


def _beyond_max_gpus(deployment: LlamaDeployment, guard: GuardSpec, chosen: Candidate) -> Problem | None:
    limit, most = deployment.spec.hardware.max_gpus, chosen.sharding.ranks * most_replicas(deployment.spec)
    if limit is None or limit > most:
        return None
    return Problem(
        ConditionType.PLANNED,
        Reason.MAX_GPUS_EXCEEDED,
        f"the model takes up to {most} of maxGPUs {limit}, which leaves none for the guard; raise it by at least {guard.replicas}, or "
        f"lower {most_from(deployment.spec)}",
        "spec.hardware.maxGPUs",
    )


def _shapes(observed: Observed, model: Model, chosen: Candidate) -> PodShapes:
    held = requests.Held(
        model,
        chosen.variant,
        chosen.accelerator,
        chosen.devices_per_pod,
        chosen.nodes,
        copied=caches(observed.deployment),
    )
    return requests.shapes(held, observed.pod_settings(chosen.accelerator))


def of_guard(problem: Problem) -> Problem:
    """The same problem, about the field of the guard."""
    section, _, rest = problem.field.removeprefix("spec.").partition(".")
    field = f"{FIELD}.model.{rest}" if section == "model" else FIELD
    if section == "hardware":
        field = f"{FIELD}.accelerator" if rest == "accelerator" else problem.field
    return replace(problem, message=f"the guard: {problem.message}", field=field)
