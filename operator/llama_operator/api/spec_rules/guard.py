"""Cross-field rules of the guard. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.guard import GuardSpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_serving.config import RequestPath
from llama_serving.contract.guard import GuardFailure

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
