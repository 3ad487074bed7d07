"""From observed to decided: precedence of problems, precision, accelerators, revisions."""

import pytest

from llama_operator.api.manifest import parse
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.bounds import live_settings
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import NodeFacts
from llama_operator.decide.rollout.revision import revision_of
from llama_serving.config import RequestPath


def acceptance(**changes):
    spec = {
        "families": ["llama-3.1"],
        "versionDate": "2024-07-23",
        "textHashes": ["cdc25d6ea8173682a1021a4305adc2486cdb0bb3994a7e364f992225b3b2c434"],
        "legalEntity": "Acme GmbH",
        "domicile": "DE",
        "monthlyActiveUsers": {
            "month": "2024-06",
            "count": 120_000,
            "attestedBy": "Jo Doe",
            "attestedOn": "2026-03-02",
        },
        "acceptedBy": "Jo Doe",
        "acceptedOn": "2026-03-02",
        "namespaces": ["team-a"],
    }
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicenseAcceptance",
            "metadata": {"name": "acme"},
            "spec": spec | changes,
        }
    )


def test_an_accepted_model_that_fits_has_no_problem(observed, known):
    decision = decide(observed(acceptances=(acceptance(),)), known)
    assert decision.problem is None
    assert decision.license.reason is Reason.LICENSE_ALLOWED
    assert decision.rollout.wanted.startswith("chat-")


@pytest.mark.parametrize(
    ("license_spec", "records", "reason"),
    [
        ({}, (acceptance(),), Reason.ACCEPTANCE_MISSING),
        ({"acceptance": "acme"}, (), Reason.ACCEPTANCE_NOT_FOUND),
        ({"acceptance": "acme"}, (acceptance(state="Terminated"),), Reason.ACCEPTANCE_TERMINATED),
        ({"acceptance": "acme"}, (acceptance(namespaces=["team-b"]),), Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED),
        ({"acceptance": "acme"}, (acceptance(families=["llama-3"]),), Reason.ACCEPTANCE_FAMILY_NOT_COVERED),
    ],
)
def test_the_license_chain_refuses_and_tells_what_would_unblock(observed, known, license_spec, records, reason):
    decision = decide(observed(license=license_spec, acceptances=records), known)
    assert decision.problem.condition is ConditionType.LICENSE_ACCEPTED
    assert decision.problem.reason is reason
    assert "to unblock" in decision.problem.message
    assert decision.rollout is None, "nothing is started"
    assert decision.plan.chosen is not None, "the plan is still told"


def test_research_models_refuse_production(observed, known):
    model = {"name": "llama-1-7b"}
    production = {"acceptance": "acme", "purpose": "Production"}
    decision = decide(observed(model=model, license=production), known)
    assert decision.problem.reason is Reason.RESEARCH_ONLY
    research = {"acceptance": "acme", "purpose": "NonCommercialResearch"}
    assert decide(observed(model=model, license=research), known).problem is None


def test_a_generated_model_needs_no_acceptance(observed, known):
    decision = decide(observed(model={"name": "tiny-random-llama"}, license={}, hardware={"accelerator": "CPU"}), known)
    assert decision.problem is None
    assert decision.license.reason is Reason.LICENSE_NOT_NEEDED


def test_an_unknown_model_names_the_nearest(observed, known):
    problem = decide(observed(model={"name": "llama-3.1-80b"}), known).problem
    assert problem.reason is Reason.MODEL_UNKNOWN
    assert "llama-3.1-8b" in problem.message
    assert problem.field == "spec.model.name"


def test_a_wrong_manifest_is_told_before_a_refused_license(observed, known):
    spec = {"parallelism": {"mode": "Manual", "tensor": 3}, "license": {}}
    problem = decide(observed(**spec), known).problem
    assert (problem.reason, problem.field) == (Reason.HEADS_NOT_DIVISIBLE, "spec.parallelism.tensor")
    assert problem.invalid


def test_a_refused_license_is_told_before_a_lack_of_memory(observed, known):
    spec = {"model": {"name": "llama-3.1-405b"}, "hardware": {"accelerator": "L4-24GB", "maxGPUs": 1}, "license": {}}
    assert decide(observed(**spec), known).problem.reason is Reason.ACCEPTANCE_MISSING


def test_a_context_beyond_the_models_is_invalid(observed, known):
    problem = decide(observed(context={"maxModelLength": 200_000}), known).problem
    assert (problem.reason, problem.field) == (Reason.CONTEXT_TOO_LONG, "spec.context.maxModelLength")


def test_auto_precision_never_goes_below_fp8_by_itself(observed, known):
    spec = {"model": {"name": "llama-3.1-405b"}, "hardware": {"accelerator": "H100-80GB", "maxGPUs": 4}}
    decision = decide(observed(**spec), known)
    assert decision.problem.reason is Reason.NOTHING_FITS
    assert {r.candidate.variant.precision for r in decision.plan.rejected} <= {"BF16", "FP8"}


def test_an_unknown_variant_lists_those_that_exist(observed, known):
    problem = decide(observed(model={"name": "llama-3.1-8b", "variant": "some/body"}), known).problem
    assert problem.reason is Reason.VARIANT_UNKNOWN
    assert "BF16" in problem.message


def test_auto_accelerator_follows_the_nodes(observed, known):
    nodes = (NodeFacts("a", "CPU", 8), NodeFacts("b", "L4-24GB", 1))
    decision = decide(observed(hardware={}, context={"maxModelLength": 4096}, nodes=nodes), known)
    assert decision.plan.chosen.accelerator.name == "L4-24GB"


def test_auto_accelerator_without_nodes_asks_for_a_name(observed, known):
    assert decide(observed(hardware={}), known).problem.reason is Reason.ACCELERATOR_UNDECIDED


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        ({"scaling": {"maxReplicas": 7}}, False),
        ({"scaling": {"targetQueueDepth": 7}}, False),
        ({"rollout": {"drainSeconds": 7}}, False),
        ({"hardware": {"accelerator": "L40S-48GB", "maxGPUs": 4}}, False),
        ({"license": {"purpose": "Production"}}, False),
        ({"context": {"maxModelLength": 4096}}, True),
        ({"model": {"name": "llama-3.1-8b", "precision": "FP8"}}, True),
        ({"engine": {"arguments": {"maxNumSeqs": 3}}}, True),
        ({"hardware": {"accelerator": "H100-80GB"}}, True),
        ({"image": "acme/serving:2"}, True),
        # Writing a default down asks for nothing new.
        ({"engine": {"gpuMemoryUtilizationPercent": 92}}, False),
    ],
)
def test_only_restart_fields_make_a_new_revision(deployment, change, restarts):
    assert (revision_of(deployment(**change)) != revision_of(deployment())) is restarts


def test_equal_specs_of_two_deployments_are_two_revisions(deployment):
    assert revision_of(deployment(namespace="a")).name != revision_of(deployment(namespace="b")).name


def test_manual_scaling_fixes_the_bounds(deployment):
    live = live_settings(deployment(scaling={"mode": "Manual"}, replicas=3).spec, 16, RequestPath.INGRESS)
    assert (live.min_replicas, live.max_replicas) == (3, 3)


def test_a_replica_accepts_its_batch_and_its_target_queue(deployment):
    live = live_settings(deployment(scaling={"targetQueueDepth": 5, "maxReplicas": 2}).spec, 16, RequestPath.INGRESS)
    assert live.max_ongoing_requests == 21


def test_zero_replicas_by_hand_hold_no_hardware(observed, known):
    decision = decide(observed(scaling={"mode": "Manual"}, replicas=0), known)
    assert decision.stopped


def test_suspended_holds_no_hardware(observed, known):
    assert decide(observed(activation="Suspended"), known).stopped
