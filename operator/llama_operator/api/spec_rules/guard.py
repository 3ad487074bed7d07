"""Cross-field rules of the guard. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.guard import GuardPlacement, GuardSpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.api.v1alpha1.scaling import ScalingMode
from llama_serving.config import RequestPath
from llama_serving.contract.guard import GuardFailure

_SHARED: Final = f"has(self.guard) && self.guard.placement == '{GuardPlacement.SHARED}'"
_QUEUE_DEPTH: Final = f"self.scaling.mode == '{ScalingMode.QUEUE_DEPTH}'"


def _shares(spec: LlamaDeploymentSpec) -> bool:
    return spec.guard is not None and spec.guard.placement is GuardPlacement.SHARED


def _has_shares(spec: LlamaDeploymentSpec) -> bool:
    """Whether each replica of a guard on shared cards has a replica of the model beside it, at every hour."""
    if not _shares(spec) or spec.guard is None:
        return True
    scaling, least = spec.scaling, spec.guard.replicas
    if scaling.mode is not ScalingMode.QUEUE_DEPTH and spec.replicas is not None:
        return spec.replicas == 0 or spec.replicas >= least
    windows = () if scaling.schedule is None else scaling.schedule.windows
    bounds = (scaling.min_replicas, *(one.min_replicas for one in windows if one.min_replicas is not None))
    return min(bounds) >= least


GUARD_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=GuardSpec,
        field="reason",
        cel=f"has(self.reason) == (self.failure == '{GuardFailure.OPEN}')",
        holds=lambda guard: (guard.reason is not None) == (guard.failure is GuardFailure.OPEN),
        message="must be set if failure is Open, and only then: it tells those who read the status why text may pass that nobody "
        "judged; set it, or set failure to Closed",
    ),
    Rule(
        model=GuardSpec,
        field="accelerator",
        cel=f"self.placement != '{GuardPlacement.SHARED}' || !has(self.accelerator)",
        holds=lambda guard: guard.placement is not GuardPlacement.SHARED or guard.accelerator is None,
        message="may be set only when placement is Own: with Shared the guard is on the cards of the model; leave accelerator out, or set "
        "placement to Own",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="context.maxModelLength",
        cel=f"!({_SHARED}) || has(self.context.maxModelLength)",
        holds=lambda spec: not _shares(spec) or spec.context.max_model_length is not None,
        message="must be set if guard.placement is Shared: model and guard divide the memory of a card between them, and what each of them "
        "needs follows from it; set it, or set guard.placement to Own",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="guard.replicas",
        cel=f"!({_SHARED}) || (!({_QUEUE_DEPTH}) && has(self.replicas) ? "
        "self.replicas == 0 || self.replicas >= self.guard.replicas : self.scaling.minReplicas >= self.guard.replicas && "
        "(!has(self.scaling.schedule) || !has(self.scaling.schedule.windows) || "
        "self.scaling.schedule.windows.all(w, !has(w.minReplicas) || w.minReplicas >= self.guard.replicas)))",
        holds=_has_shares,
        message="must be at most the replicas of the model, at all hours, if guard.placement is Shared: each replica of the guard is on a "
        "card of another one of the model, so at zero replicas it has none; raise scaling.minReplicas (or spec.replicas), also in the windows "
        "of its schedule, lower guard.replicas, or set guard.placement to Own",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="guard",
        cel=f"!has(self.guard) || self.endpoint.path == '{RequestPath.DIRECT}'",
        holds=lambda spec: spec.guard is None or spec.endpoint.path is RequestPath.DIRECT,
        message="may be set only when endpoint.path is Direct: nothing holds answers on the other path; set endpoint.path to Direct, or "
        "leave guard out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="license.guardModel",
        cel="!has(self.guard) || !has(self.license.guardModel) || self.license.guardModel == self.guard.model.name",
        holds=lambda spec: (
            spec.guard is None or spec.license.guard_model is None or spec.license.guard_model == spec.guard.model.name
        ),
        message="must be the model of spec.guard where there is one: the guard that runs is the one whose license is judged; leave "
        "guardModel out",
    ),
)
