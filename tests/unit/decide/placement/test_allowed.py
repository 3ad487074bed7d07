"""What a team may not set: refused with the field, what is allowed, and whom to ask."""

import json

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.pods import PodsSpec
from llama_operator.decide.placement.allowed import matches, refused
from llama_operator.decide.placement.platform_pods import PodRules
from support.pod_settings import ALLOWED, REFUSED, RULES


def pods(written):
    return PodsSpec.model_validate_json(json.dumps(written))


@pytest.mark.parametrize("written", ALLOWED.values(), ids=ALLOWED)
def test_what_the_platform_lists_is_let_through(written):
    assert refused(pods(written), RULES) is None


@pytest.mark.parametrize(("written", "named"), REFUSED.values(), ids=REFUSED)
def test_all_else_is_refused_with_its_field_and_the_next_step(written, named):
    problem = refused(pods(written), RULES)
    assert problem is not None
    assert problem.reason is Reason.POD_SETTING_NOT_ALLOWED
    assert problem.invalid
    assert problem.field.startswith("spec.pods")
    assert named in problem.text
    assert "chart value" in problem.message or "no key that Kubernetes takes" in problem.message


def test_all_that_is_refused_is_named_at_once():
    problem = refused(pods({**REFUSED["account"][0], **REFUSED["variable"][0], **REFUSED["field"][0]}), RULES)
    for field in ("spec.pods.env", "spec.pods.hostAliases", "spec.pods.serviceAccountName"):
        assert field in problem.text


def test_without_the_platforms_lists_only_that_is_refused_which_no_list_allows():
    """A plan on a laptop does not know them, and must not claim that a service account is not allowed."""
    assert refused(pods({"serviceAccountName": "any", **REFUSED["variable"][0]}), None) is None
    assert refused(pods(REFUSED["variable of Python"][0]), None) is not None
    assert refused(pods(REFUSED["key"][0]), None) is not None


def test_the_usual_rules_give_a_team_all_but_the_scheduler_accounts_and_devices():
    usual = PodRules()
    assert refused(pods({"runtimeClassName": "nvidia", "priorityClassName": "models"}), usual) is None
    for written in (
        {"schedulerName": "volcano"},
        {"serviceAccountName": "weights-reader"},
        {"workers": {"resources": {"extended": {"rdma/hca": 1}}}},
    ):
        assert refused(pods(written), usual) is not None


@pytest.mark.parametrize(
    ("name", "patterns", "found"),
    [("AB", ("AB",), True), ("AB", ("A*",), True), ("AB", ("*B",), True), ("AB", ("B*", "A", "AB_*"), False)],
)
def test_a_star_stands_for_the_rest(name, patterns, found):
    assert matches(name, patterns) is found
