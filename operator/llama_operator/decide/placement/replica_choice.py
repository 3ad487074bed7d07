"""Which way of choosing a replica suits a spec, and why, as advice: the spec decides. Pure; `plan` and `explain` show it.

The rules are those of docs/data-plane.md, each with the number that it rests on. What only clients know (whether they name
conversations, how much of their prompts is common) is said as the condition under which a rule holds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, ObjectivesSpec, PrefixCaching
from llama_operator.decide.bounds import most_replicas
from llama_serving.config import RequestPath
from llama_serving.contract.routing import Routing

LEAST_PREFIX_TOKENS: Final = 512
"""Common tokens of prompts below which it costs little to read them again."""
_LOST_PERCENT: Final = 20
"""Share of all prompt tokens that has to be at stake for `PrefixAware`."""


class Holds(StrEnum):
    """Whether a rule speaks for its way here."""

    YES = "Yes"
    IF = "If"
    """Under the condition that its words name."""
    NO = "No"


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """One rule.

    Attributes:
        number: Its place in docs/data-plane.md.
        routing: What it speaks for.
        holds: Whether it does so here.
        why: With the number that it rests on.
    """

    number: int
    routing: Routing
    holds: Holds
    why: str


@dataclass(frozen=True, slots=True)
class RoutingAdvice:
    """What the spec says, and what the rules say of it.

    Attributes:
        routing: What the spec says.
        rules: In their order, as far as one decides.
    """

    routing: Routing
    rules: tuple[RoutingRule, ...]

    @property
    def words(self) -> str:
        """The rule about what the spec says, for people."""
        about = next((rule for rule in self.rules if rule.routing is self.routing), self.rules[0])
        return f"{self.routing}; rule {about.number}: {about.why}"

    @property
    def others(self) -> tuple[str, ...]:
        """What speaks for another way, for people."""
        return tuple(
            f"{rule.routing}, rule {rule.number}: {rule.why}"
            for rule in self.rules
            if rule.routing is not self.routing and rule.holds is not Holds.NO
        )


def routing_advice(spec: LlamaDeploymentSpec) -> RoutingAdvice:
    """Judge `spec` by the rules."""
    return RoutingAdvice(spec.endpoint.routing, tuple(_rules(spec, most_replicas(spec))))


def _rules(spec: LlamaDeploymentSpec, replicas: int) -> tuple[RoutingRule, ...]:
    least = Routing.LEAST_CONNECTIONS
    if replicas == 1:
        return (RoutingRule(1, least, Holds.YES, "1 replica at most, so there is nothing to choose from"),)
    if spec.endpoint.path is not RequestPath.DIRECT:
        return (RoutingRule(2, least, Holds.YES, "the path Ingress has no other way"),)
    if spec.engine.arguments.prefix_caching is PrefixCaching.DISABLED:
        return (RoutingRule(2, least, Holds.YES, "no KV cache is kept, so 0 % of a prompt can be found anywhere"),)
    lost = 100 - round(100 / replicas)
    return (
        RoutingRule(
            2, least, Holds.YES, f"{replicas} replicas at most, evenly filled; right where prompts share little"
        ),
        RoutingRule(
            3,
            Routing.CONSISTENT_HASH,
            Holds.IF,
            f"if clients name their conversations: a turn finds the cache of the turn before, which the fewest connections miss in "
            f"about {lost} % of cases with {replicas} replicas",
        ),
        _prefix_rule((spec.objectives or ObjectivesSpec()).prompt_tokens, replicas, lost),
    )


def _prefix_rule(prompt_tokens: int, replicas: int, lost: int) -> RoutingRule:
    if prompt_tokens <= LEAST_PREFIX_TOKENS:
        why = (
            f"prompts of {prompt_tokens} tokens (objectives.promptTokens) have no common beginning of more than "
            f"{LEAST_PREFIX_TOKENS}"
        )
        return RoutingRule(4, Routing.PREFIX_AWARE, Holds.NO, why)
    # hits x (1 - 1/replicas) > 20 %
    needed = -(-_LOST_PERCENT * replicas // (replicas - 1))
    why = (
        f"if more than {LEAST_PREFIX_TOKENS} of about {prompt_tokens} tokens (objectives.promptTokens) begin alike, and one replica "
        f"would find more than {needed} % of all prompt tokens in its cache: with {replicas} replicas {lost} % of that is at stake"
    )
    return RoutingRule(4, Routing.PREFIX_AWARE, Holds.IF, why)
