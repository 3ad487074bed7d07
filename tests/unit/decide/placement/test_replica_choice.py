"""The advice about the way of choosing a replica: rules with their numbers. The spec decides."""

import json

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.decide.placement.replica_choice import routing_advice


def advice(**fields):
    return routing_advice(LlamaDeploymentSpec.model_validate_json(json.dumps({"model": {"name": "m"}} | fields)))


THREE = {"scaling": {"maxReplicas": 3}}


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"scaling": {"maxReplicas": 1}}, [(1, "Yes")]),
        (THREE | {"endpoint": {"path": "Ingress"}}, [(2, "Yes")]),
        (THREE | {"engine": {"arguments": {"prefixCaching": "Disabled"}}}, [(2, "Yes")]),
        (THREE | {"objectives": {"promptTokens": 512}}, [(2, "Yes"), (3, "If"), (4, "No")]),
        (THREE | {"objectives": {"promptTokens": 513}}, [(2, "Yes"), (3, "If"), (4, "If")]),
        ({"replicas": 2, "scaling": {"mode": "Manual"}}, [(2, "Yes"), (3, "If"), (4, "If")]),
    ],
)
def test_a_rule_holds_by_what_the_spec_says(fields, rules):
    assert [(rule.number, rule.holds.value) for rule in advice(**fields).rules] == rules


@pytest.mark.parametrize(("replicas", "lost", "needed"), [(2, 50, 40), (3, 67, 30), (4, 75, 27), (10, 90, 23)])
def test_the_numbers_follow_from_the_replicas(replicas, lost, needed):
    conversations, prefixes = advice(scaling={"maxReplicas": replicas}).others
    assert f"about {lost} % of cases with {replicas} replicas" in conversations
    assert f"more than {needed} % of all prompt tokens" in prefixes


@pytest.mark.parametrize("routing", ["LeastConnections", "ConsistentHash", "PrefixAware"])
def test_the_words_are_about_what_the_spec_says(routing):
    said = advice(**THREE, endpoint={"routing": routing})
    assert said.words.startswith(f"{routing}; rule ")
    assert routing not in "".join(said.others)
    alone = advice(scaling={"maxReplicas": 1}, endpoint={"routing": routing})
    assert alone.words == f"{routing}; rule 1: 1 replica at most, so there is nothing to choose from"
