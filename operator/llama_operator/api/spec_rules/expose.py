"""Cross-field rules of `spec.endpoint.expose`. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.expose import SAFE_ANNOTATIONS, ExposeSpec, IngressSettings

EXPOSE_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=ExposeSpec,
        field="gateway",
        cel="has(self.gateway) != has(self.ingress)",
        holds=lambda expose: (expose.gateway is None) != (expose.ingress is None),
        message="or ingress must be set, and not both: gateway where the cluster has Gateway API, else ingress; ingress: {} takes "
        "the default class",
    ),
    Rule(
        model=IngressSettings,
        field="annotations",
        cel=f"!has(self.annotations) || self.annotations.all(name, name in {list(SAFE_ANNOTATIONS)})",
        holds=lambda ingress: set(ingress.annotations) <= set(SAFE_ANNOTATIONS),
        message="has a name that is not allowed here; docs/way-in.md lists those that are. Who may write Ingresses can set any "
        "other on the Ingress itself, and the operator leaves it there",
    ),
)
