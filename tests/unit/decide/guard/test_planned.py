"""The guard as a decision: planned on hardware of its own, under a license of its own, and nothing of it where none is asked for."""

from dataclasses import replace

import pytest
import yaml

from llama_operator.api.manifest import parse
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.access_check import Subject, check_access_to_all
from llama_operator.decide.bounds import live_settings
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import AccessCheckFacts, Settings
from llama_operator.decide.plan.status import label
from llama_operator.desired import objects
from llama_operator.observe.pods import pod_facts
from llama_serving.config import LiveSettings, RequestPath, ServingConfig
from llama_serving.contract.guard import GUARD_DEPLOYMENT, GuardMode
from llama_serving.contract.hub import AccessVerdict, HubAccess

GUARD = {"model": {"name": "llama-guard-3-8b"}, "accelerator": "L4-24GB"}
ACCEPTANCE = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LicenseAcceptance",
    "metadata": {"name": "acme"},
    "spec": {
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
    },
}
TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}}


def service_of(observed, known):
    built = objects.build(observed, decide(observed, known), Settings())
    return next(obj for obj in built.apply if obj["kind"] == "RayService")["spec"]


def groups_of(observed, known):
    groups = service_of(observed, known)["rayClusterConfig"]["workerGroupSpecs"]
    return {group["groupName"]: (group["minReplicas"], group["maxReplicas"]) for group in groups}


def test_a_guard_is_planned_on_its_own_card(observed, known):
    decision = decide(observed(guard=GUARD), known)
    assert decision.problem is None
    assert label(decision.plan_status.guard) == "BF16 L4-24GB TP1 PP1"
    assert decision.plan_status.chosen.accelerator == "L40S-48GB"
    assert decision.guard.gpus == 1


def test_a_guard_takes_the_card_of_the_model_if_none_is_named(observed, known):
    decision = decide(observed(guard={"model": {"name": "llama-guard-3-1b"}}), known)
    assert decision.plan_status.guard.accelerator == "L40S-48GB"


def test_a_guard_reads_as_much_as_its_model_and_its_own_words(observed, known):
    short = decide(observed(guard=GUARD, context={"maxModelLength": 4096}), known)
    assert short.plan_status.guard.max_model_length == 4096 + 2048
    tiny = decide(
        observed(**TINY, context={"maxModelLength": 2000}, guard={"model": {"name": "tiny-random-llama"}}), known
    )
    assert tiny.plan_status.guard.max_model_length == 2048, "no more than it was trained for"
    usual = decide(observed(guard=GUARD), known)
    assert usual.plan_status.guard.gpus_per_replica == 1, "a length that nobody named buys no card"


@pytest.mark.parametrize(
    ("guard", "spec", "reason", "field"),
    [
        ({"model": {"name": "llama-3.1-405b"}, "accelerator": "T4-16GB"}, {}, Reason.NOTHING_FITS, "spec.guard"),
        ({"model": {"name": "llama-gard"}}, {}, Reason.MODEL_UNKNOWN, "spec.guard.model.name"),
        (GUARD | {"accelerator": "L5"}, {}, Reason.ACCELERATOR_UNKNOWN, "spec.guard.accelerator"),
        (GUARD | {"model": {"name": "llama-guard-3-8b", "variant": "a/b"}}, {}, Reason.VARIANT_UNKNOWN, "spec.guard.model.variant"),
        (GUARD, {"hardware": {"accelerator": "L40S-48GB", "maxGPUs": 1}}, Reason.MAX_GPUS_EXCEEDED, "spec.hardware.maxGPUs"),
    ],
)  # fmt: skip
def test_a_guard_that_cannot_be_planned_is_told_with_its_field(observed, known, guard, spec, reason, field):
    decision = decide(observed(guard=guard, **spec), known)
    assert (decision.problem.reason, decision.problem.field) == (reason, field)
    assert "guard" in decision.problem.message
    assert decision.rollout is None


def test_max_gpus_has_to_hold_all_replicas_of_the_guard(observed, known):
    spec = {"hardware": {"accelerator": "L40S-48GB", "maxGPUs": 2}}
    assert decide(observed(guard=GUARD, **spec), known).problem is None
    assert decide(observed(guard=GUARD | {"replicas": 2}, **spec), known).problem.condition is ConditionType.PLANNED


def test_the_license_of_the_guard_is_judged_as_that_of_any_model(observed, known):
    """Nobody has accepted Llama 3.2, of which the guard is: the record of the model's own version does not cover it."""
    covered = parse(ACCEPTANCE)
    alone = decide(observed(acceptances=(covered,)), known)
    assert alone.license.allowed
    guarded = decide(observed(acceptances=(covered,), guard={"model": {"name": "llama-guard-3-1b"}}), known)
    assert not guarded.license.allowed
    assert "guard" in guarded.license.message
    assert guarded.problem.condition is ConditionType.LICENSE_ACCEPTED


def test_a_guard_has_its_own_pods_and_its_own_engine(observed, known):
    with_guard = observed(guard=GUARD | {"replicas": 2}, scaling={"minReplicas": 0, "maxReplicas": 3})
    assert groups_of(with_guard, known) == {"l40s-48gb": (0, 3), "guard-l4-24gb": (2, 2)}
    (application,) = (one for one in rendered(with_guard, known)["applications"] if one["name"] == "llama")
    config = ServingConfig.model_validate(application["args"])
    assert (config.guard.model_id, config.guard.path, config.guard.door) == (
        "llama-guard-3-8b",
        RequestPath.INGRESS,
        None,
    )
    assert application["deployments"][1] == {"name": GUARD_DEPLOYMENT, "num_replicas": 2}
    assert config.guard.license.families, "its own license files are checked and shown"


def rendered(observed, known):
    return yaml.safe_load(service_of(observed, known)["serveConfigV2"])


def test_how_a_guard_is_used_is_live(observed, known):
    before = decide(observed(guard=GUARD), known)
    for change in (
        {"mode": "Log"},
        {"failure": "Open", "reason": "a trial"},
        {"categories": ["S1"]},
        {"deadlineMilliseconds": 500},
        {"replicas": 3},
    ):
        after = observed(guard=GUARD | change)
        assert decide(after, known).revision == before.revision
        assert live_of(after) != live_of(observed(guard=GUARD))
    assert decide(observed(guard=GUARD | {"accelerator": "L40S-48GB"}), known).revision != before.revision


def live_of(observed) -> LiveSettings:
    return live_settings(observed.deployment.spec, 8, RequestPath.DIRECT, guarded=True)


def test_a_revision_without_a_guard_gets_nothing_of_one(observed, known):
    """The spec may ask for a guard that only the next revision has."""
    spec = observed(guard=GUARD).deployment.spec
    plain = observed().deployment.spec
    assert live_settings(spec, 8, RequestPath.DIRECT) == live_settings(plain, 8, RequestPath.DIRECT)
    assert live_settings(spec, 8, RequestPath.DIRECT, guarded=True).desk.guard.mode is GuardMode.BLOCK


def test_access_to_the_guards_weights_is_asked_too_and_no_answer_is_thrown_away(observed, known, now):
    variants = [known.model(name).default_variant("BF16") for name in ("llama-3.1-8b", "llama-guard-3-8b")]
    weights = {"tokenSecret": {"name": "hugging-face", "key": "token"}}
    asked = replace(observed(weights=weights, facts={"access_checks": ()}), now=now)
    token = asked.deployment.spec.weights.token_secret
    subjects = [Subject("r", one.repository, one.revision, token) for one in variants]
    jobs = [
        AccessCheckFacts(
            name=f"job-{subject.repository}",
            subject=subject.digest,
            attempt=1,
            finished=now,
            succeeded=True,
            verdict=AccessVerdict(access=HubAccess.ACCESSIBLE, repository="o/r", revision="main"),
        )
        for subject in subjects
    ]

    def step(*checks):
        return check_access_to_all(replace(asked, access_checks=checks), "r", variants)

    assert step().start == (subjects[0], 1)
    second = step(jobs[0])
    assert (second.start, second.obsolete, second.passed) == ((subjects[1], 1), (), False)
    done = step(*jobs)
    assert (done.passed, done.reason, done.obsolete) == (True, Reason.ACCESSIBLE, ())
    assert done.message == f"{variants[0].repository} may be downloaded", "as it is told of the revision later"


def policy(**tier):
    spec = {"tiers": [{"tier": "CommunityLlama31Plus"} | tier], "unlistedTiers": "Allowed"}
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicensePolicy",
            "metadata": {"name": "house"},
            "spec": spec,
        }
    )


@pytest.mark.parametrize(
    ("guard", "allowed"),
    [
        (None, False),
        (GUARD, True),
        (GUARD | {"mode": "Annotate"}, False),
        (GUARD | {"mode": "Log"}, False),
        ({"model": {"name": "llama-3.1-8b"}}, False),
    ],
)
def test_a_policy_may_require_a_guard_that_keeps_back_what_is_unsafe(observed, known, guard, allowed):
    spec = {} if guard is None else {"guard": guard}
    facts = {"policies": (policy(requireGuard="Required"),)}
    decision = decide(observed(facts=facts, **spec), known)
    assert decision.license.allowed is allowed, decision.license.message
    assert allowed or "spec.guard" in decision.license.message


@pytest.mark.parametrize(("most", "allowed"), [(1, False), (2, True)])
def test_a_limit_of_gpus_counts_those_of_the_guard(observed, known, most, allowed):
    facts = {"policies": (policy(maxGPUs=most),)}
    assert decide(observed(facts=facts, guard=GUARD), known).license.allowed is allowed


def test_a_second_copy_needs_a_second_guard(observed, known, service_facts):
    """maxGPUs that holds two copies of the model alone holds no second one with its guard."""
    old = service_facts("chat-old")
    spec = {"rollout": {}, "ray_services": (old,)}
    fits = {"hardware": {"accelerator": "L40S-48GB", "maxGPUs": 4}}
    short = {"hardware": {"accelerator": "L40S-48GB", "maxGPUs": 3}}
    assert decide(observed(guard=GUARD, **fits, **spec), known).rollout.strategy.kind == "BlueGreen"
    assert decide(observed(guard=GUARD, **short, **spec), known).rollout.strategy.kind == "Recreate"
    assert decide(observed(**short, **spec), known).rollout.strategy.kind == "BlueGreen"


@pytest.mark.parametrize(("group", "role"), [("guard-l4-24gb", "guard"), ("l4-24gb", "worker"), ("", "worker")])
def test_a_pod_of_the_guard_is_no_worker_of_the_model(group, role):
    pod = {"metadata": {"name": "p", "labels": {"ray.io/node-type": "worker", "ray.io/group": group}}, "spec": {}}
    assert pod_facts(pod).role == role
