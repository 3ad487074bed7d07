"""Cross-field rules of the endpoint: its keys, its tenants, and the way in from outside. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.access import AccessMode, AccessPeer, KeysSource
from llama_operator.api.v1alpha1.endpoint import SAFE_ANNOTATIONS, EndpointSpec, ExposeSpec, IngressSettings
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, PrefixCaching
from llama_operator.api.v1alpha1.tenants import Limits
from llama_serving.config import RequestPath
from llama_serving.contract.routing import Routing
from llama_serving.contract.tenants import ANONYMOUS


def _known(spec: LlamaDeploymentSpec) -> bool:
    return spec.access.mode is not AccessMode.OPEN or all(tenant.name == ANONYMOUS for tenant in spec.tenants)


def _cache_is_there(spec: LlamaDeploymentSpec) -> bool:
    return (
        spec.endpoint.routing is Routing.LEAST_CONNECTIONS
        or spec.engine.arguments.prefix_caching is PrefixCaching.ENABLED
    )


def _day_within_month(tenant: Limits) -> bool:
    day, month = tenant.tokens_per_day, tenant.tokens_per_month
    return day is None or month is None or day <= month


def _answer_within_minute(tenant: Limits) -> bool:
    answer, minute = tenant.max_output_tokens, tenant.tokens_per_minute
    return answer is None or minute is None or answer <= minute


ENDPOINT_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=AccessPeer,
        field="namespace",
        cel="has(self.namespace) != has(self.cidr)",
        holds=lambda peer: (peer.namespace is None) != (peer.cidr is None),
        message="or cidr must be set, and not both; pods of the deployment's own namespace need no entry",
    ),
    Rule(
        model=AccessPeer,
        field="podLabels",
        cel="!has(self.podLabels) || self.podLabels.size() == 0 || !has(self.cidr)",
        holds=lambda peer: not peer.pod_labels or peer.cidr is None,
        message="must not be set beside cidr: addresses have no labels",
    ),
    Rule(
        model=KeysSource,
        field="configMap",
        cel="has(self.configMap) != has(self.secret)",
        holds=lambda keys: (keys.config_map is None) != (keys.secret is None),
        message="must be set, or secret in its place, and not both; name the one object that holds the keys, or leave keys out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="access.keys",
        cel="!has(self.access.keys) || self.access.mode != 'Open'",
        holds=lambda spec: spec.access.keys is None or spec.access.mode is not AccessMode.OPEN,
        message="may be set only when access.mode is Keys or Auto: an open endpoint asks for no key; set the mode to Keys, or leave "
        "keys out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="tenants",
        cel=f"!has(self.tenants) || self.tenants.size() == 0 || self.endpoint.path == '{RequestPath.DIRECT}'",
        holds=lambda spec: not spec.tenants or spec.endpoint.path is RequestPath.DIRECT,
        message="may be set only when endpoint.path is Direct: nothing counts the tokens of a tenant on the other path; set "
        "endpoint.path to Direct, which starts new engines, or leave tenants out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="otherTenants",
        cel=f"!has(self.otherTenants) || self.endpoint.path == '{RequestPath.DIRECT}'",
        holds=lambda spec: spec.other_tenants is None or spec.endpoint.path is RequestPath.DIRECT,
        message="may be set only when endpoint.path is Direct: nothing counts the tokens of a tenant on the other path; set "
        "endpoint.path to Direct, which starts new engines, or leave otherTenants out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="usageStore",
        cel=f"!has(self.usageStore) || self.endpoint.path == '{RequestPath.DIRECT}'",
        holds=lambda spec: spec.usage_store is None or spec.endpoint.path is RequestPath.DIRECT,
        message="may be set only when endpoint.path is Direct: nothing counts what tenants use on the other path; set endpoint.path "
        "to Direct, which starts new engines, or leave usageStore out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="tenants",
        cel=f"!has(self.tenants) || self.access.mode != 'Open' || self.tenants.all(t, t.name == '{ANONYMOUS}')",
        holds=_known,
        message=f"may have only the tenant {ANONYMOUS} when access.mode is Open: without keys nobody is another tenant; set access.mode "
        f"to Keys, or name the tenant {ANONYMOUS}",
    ),
    Rule(
        model=EndpointSpec,
        field="routing",
        cel=f"self.routing == '{Routing.LEAST_CONNECTIONS}' || self.path == '{RequestPath.DIRECT}'",
        holds=lambda endpoint: endpoint.routing is Routing.LEAST_CONNECTIONS or endpoint.path is RequestPath.DIRECT,
        message=f"must be {Routing.LEAST_CONNECTIONS} when path is Ingress: only HAProxy, which the path Direct has, chooses replicas "
        "in another way; set path to Direct, or leave routing out",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="endpoint.routing",
        cel=f"self.endpoint.routing == '{Routing.LEAST_CONNECTIONS}' || self.engine.arguments.prefixCaching == 'Enabled'",
        holds=_cache_is_there,
        message=f"must be {Routing.LEAST_CONNECTIONS} when engine.arguments.prefixCaching is Disabled: the other ways only lead a "
        "request to the replica with its KV cache, and none is kept; set prefixCaching to Enabled, or leave routing out",
    ),
    Rule(
        model=EndpointSpec,
        field="aliases",
        cel=f"!has(self.aliases) || self.aliases.size() == 0 || self.path == '{RequestPath.DIRECT}'",
        holds=lambda endpoint: not endpoint.aliases or endpoint.path is RequestPath.DIRECT,
        message="may be set only when endpoint.path is Direct: the other path knows one name; set endpoint.path to Direct, which "
        "starts new engines, or leave aliases out",
    ),
    Rule(
        model=Limits,
        field="tokensPerDay",
        cel="!has(self.tokensPerDay) || !has(self.tokensPerMonth) || self.tokensPerDay <= self.tokensPerMonth",
        holds=_day_within_month,
        message="must be at most tokensPerMonth, or it limits nothing; lower it, or raise tokensPerMonth",
    ),
    Rule(
        model=Limits,
        field="maxOutputTokens",
        cel="!has(self.maxOutputTokens) || !has(self.tokensPerMinute) || self.maxOutputTokens <= self.tokensPerMinute",
        holds=_answer_within_minute,
        message="must be at most tokensPerMinute: a longer answer would never be let in; lower it, or raise tokensPerMinute",
    ),
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
