"""What the operator says about license records, and that saying it again changes nothing."""

import json
from datetime import timedelta

import pytest

from llama_operator.api.manifest import parse
from llama_operator.status import license_records
from llama_operator.status.license_records import Records, Use

GROUP = "llama-operator.io/v1alpha1"


def obj(kind, name, spec, status=None):
    found = {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "generation": 3}, "spec": spec}
    return parse(json.loads(json.dumps(found | ({"status": status} if status else {}))))


def acceptance(known, name="acme", family="llama-3.3", *, status=None, **spec):
    found = known.license_family(family)
    fields = {
        "families": [family],
        "versionDate": found.version_date,
        "textHashes": list(found.license_text_hashes[:1]),
        "legalEntity": "Acme",
        "domicile": "CH",
        "acceptedBy": "Jo",
        "acceptedOn": "2026-03-02",
        "namespaces": ["team-a", "team-b"],
    } | spec
    return obj("LicenseAcceptance", name, {k: v for k, v in fields.items() if v is not None}, status)


def model(name, *bases, **spec):
    fields = {
        "source": {"huggingFace": {"repository": f"acme/{name}", "revision": "a" * 40}},
        "digest": "0" * 64,
        "lineage": {"derivedFrom": [{"model": base, "kind": "Finetune"} for base in bases]},
        "servedName": f"Llama-{name}",
    }
    return obj("LlamaModel", name, fields | spec)


def world(known, now, *, models=(), acceptances=(), uses=()):
    return Records(known, tuple(models), tuple(acceptances), tuple(uses), now)


def condition(status, kind):
    return next(found for found in status.conditions if found.type == kind)


def test_an_acceptance_of_the_right_version_and_text_is_valid(known, now):
    record = acceptance(known)
    uses = (Use("acme", "team-a/chat"), Use("other", "team-a/more"), Use("acme", "team-b/chat"))
    status = license_records.of_acceptance(record, world(known, now, uses=uses))
    assert (condition(status, "Valid").status, condition(status, "Valid").reason) == ("True", "Recorded")
    assert status.deployments == 2
    assert status.observed_generation == 3
    assert [found.type for found in status.conditions] == ["Valid", "ReviewDue"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"families": ["llama-9"]}, "FamilyUnknown"),
        ({"versionDate": None}, "VersionMissing"),
        ({"versionDate": "2024-12-05"}, "VersionMismatch"),
        ({"textHashes": []}, "TextMissing"),
        ({"textHashes": ["0" * 64]}, "TextMissing"),
        ({"state": "Terminated"}, "Terminated"),
    ],
    ids=str,
)
def test_an_acceptance_that_fits_no_license_says_so(known, now, change, reason):
    status = license_records.of_acceptance(acceptance(known, **change), world(known, now))
    assert (condition(status, "Valid").status, condition(status, "Valid").reason) == ("False", reason)


def test_an_unknown_text_beside_a_known_one_is_strange(known, now):
    hashes = [*known.license_family("llama-3.3").license_text_hashes, "0" * 64]
    status = license_records.of_acceptance(acceptance(known, textHashes=hashes), world(known, now))
    assert condition(status, "Valid").reason == "TextUnknown"


def test_a_review_is_due_from_its_day_on(known, now):
    day = now.date()
    for due, expected in ((day + timedelta(days=1), "False"), (day, "True"), (day - timedelta(days=1), "True")):
        status = license_records.of_acceptance(acceptance(known, reviewDueOn=due.isoformat()), world(known, now))
        assert condition(status, "ReviewDue").status == expected


def test_a_terminated_acceptance_names_who_has_to_delete_what_and_claims_nothing(known, now):
    uses = (Use("acme", "team-a/chat", "meta-llama/Llama-3.3-70B-Instruct"), Use("other", "team-b/x", "others/weights"))
    status = license_records.of_acceptance(acceptance(known, state="Terminated"), world(known, now, uses=uses))
    found = condition(status, "WeightsDeleted")
    assert "meta-llama/Llama-3.3-70B-Instruct by team-a/chat" in found.message
    assert "others/weights" not in found.message
    assert found.status == "Unknown"
    assert "owners of team-a, team-b" in found.message


def test_an_acceptance_lists_the_added_models_under_its_license(known, now):
    models = (model("tuned", "llama-3.3-70b-instruct"), model("older", "llama-3.1-8b"), model("child", "tuned"))
    status = license_records.of_acceptance(acceptance(known), world(known, now, models=models))
    assert status.models == ("child", "tuned")


def test_a_model_says_its_lineage_and_that_it_can_be_planned(known, now):
    tuned = model("tuned", "llama-3.3-70b-instruct", licenseFamilies=["mit"])
    child = model("child", "tuned")
    status = license_records.of_model(child, world(known, now, models=(tuned, child)))
    assert status.tier == "CommunityLlama31Plus"
    assert set(status.license_families) == {"mit", "llama-3.3"}
    assert status.ancestors == ("tuned", "llama-3.3-70b-instruct")
    assert status.acceptance_required == "Required"
    assert {found.type: found.status for found in status.conditions} == {"Resolved": "True", "Plannable": "True"}


def test_a_model_of_unknown_lineage_is_unresolved(known, now):
    lost = model("lost", "merged-by-somebody")
    status = license_records.of_model(lost, world(known, now, models=(lost,)))
    assert (status.tier, status.acceptance_required) == ("Unresolved", "")
    assert condition(status, "Resolved").status == "False"
    assert "merged-by-somebody" in condition(status, "Resolved").message
    assert condition(status, "Plannable").status == "False"


def test_a_policy_lists_the_acceptances_that_exist_and_misses_those_that_it_names(known, now):
    policy = obj("LicensePolicy", "house", {"tiers": [{"tier": "CommunityLlama2", "acceptances": ["acme", "gone"]}]})
    status = license_records.of_policy(policy, world(known, now, acceptances=("acme",)))
    assert status.acceptances == ("acme",)
    assert condition(status, "InForce").reason == "AcceptancesMissing"
    assert "gone" in condition(status, "InForce").message
    assert "not license text" in condition(status, "InForce").message


def test_the_time_of_a_condition_moves_only_with_its_status(known, now):
    first = license_records.of_acceptance(acceptance(known), world(known, now))
    again = acceptance(known, status=first.to_api())
    later = now + timedelta(days=1)
    assert license_records.of_acceptance(again, world(known, later)) == first
    ended = acceptance(known, status=first.to_api(), state="Terminated")
    changed = license_records.of_acceptance(ended, world(known, later))
    assert condition(changed, "Valid").last_transition_time == later.replace(microsecond=0)
    assert condition(changed, "ReviewDue").last_transition_time == now.replace(microsecond=0)
