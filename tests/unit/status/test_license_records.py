"""What the operator says about license records, and that saying it again changes nothing."""

import json
from dataclasses import replace
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


def users(count, month="2024-11"):
    return {"month": month, "count": count, "attestedBy": "Jo", "attestedOn": "2026-03-02"}


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        (
            {"monthlyActiveUsers": users(5)},
            {"monthlyActiveUsers": users(800)},
            "spec.monthlyActiveUsers: other says 800 for",
        ),
        (
            {"monthlyActiveUsers": users(5)},
            {"monthlyActiveUsers": users(800), "state": "Withdrawn"},
            "800 counts for both",
        ),
        ({"monthlyActiveUsers": users(800)}, {"monthlyActiveUsers": users(5)}, "this record 800: 800 counts for both"),
        ({"domicile": "US"}, {"domicile": "DE"}, "spec.domicile: other says DE, this record US"),
        ({"monthlyActiveUsers": users(5)}, {"monthlyActiveUsers": users(5)}, None),
        ({"monthlyActiveUsers": users(5)}, {"monthlyActiveUsers": users(6, "2024-06")}, None),
        ({"monthlyActiveUsers": users(5)}, {"monthlyActiveUsers": users(6), "legalEntity": "Globex"}, None),
        (
            {"monthlyActiveUsers": users(5)},
            {"monthlyActiveUsers": users(6), "state": "Superseded", "supersededBy": "acme"},
            None,
        ),
        ({"domicile": "US"}, {"domicile": "DE", "state": "Terminated"}, None),
    ],
    ids=str,
)
def test_a_record_tells_what_another_one_of_its_entity_contradicts(known, now, mine, theirs, told):
    record, other = acceptance(known, **mine), acceptance(known, "other", **theirs)
    found = license_records.of_acceptance(record, replace(world(known, now), related=(record, other)))
    contradicted = [each for each in found.conditions if each.type == "Contradicted"]
    assert bool(contradicted) is (told is not None)
    if told:
        assert (contradicted[0].status, contradicted[0].reason) == ("True", "StricterCounts")
        assert told in contradicted[0].message
        assert "Superseded" in contradicted[0].message


def test_who_confirmed_a_deletion_is_told(known, now):
    confirmed = {
        "confirmedBy": "Sam Roe",
        "confirmedOn": "2026-03-09",
        "what": "the volume team-a/weights",
        "evidence": "DOC-9",
    }
    record = acceptance(known, state="Terminated", terminatedOn="2026-03-01", deletionConfirmed=confirmed)
    found = condition(license_records.of_acceptance(record, world(known, now)), "WeightsDeleted")
    assert (found.status, found.reason) == ("True", "DeletionConfirmed")
    assert found.message == "Sam Roe confirmed on 2026-03-09: the volume team-a/weights"


@pytest.mark.parametrize(
    ("change", "rests"),
    [
        ({}, True),
        ({"namespaces": ["team-b"]}, False),
        ({"legalEntity": "Globex"}, False),
        ({"families": ["llama-3.1"]}, False),
        ({"state": "Withdrawn"}, False),
        ({"state": "Terminated"}, True),
    ],
    ids=str,
)
def test_a_deployment_rests_on_what_counts_beside_the_record_that_it_names(known, now, change, rests):
    named, beside = acceptance(known, "named", "llama-3.1"), acceptance(known, "beside", **change)
    use = Use("named", "team-a/chat", models=("llama-3.3-70b-instruct",))
    found = license_records.of_acceptance(beside, replace(world(known, now, uses=(use,)), related=(named, beside)))
    assert (found.deployments == 1, found.first_named_on is not None) == (rests, rests)


def test_a_deployment_rests_on_the_successors_of_the_record_that_it_names(known, now):
    records = (
        acceptance(known, "old", state="Superseded", supersededBy="next", legalEntity="Acme before"),
        acceptance(known, "next", state="Superseded", supersededBy="last"),
        acceptance(known, "last", state="Terminated"),
    )
    uses = (Use("old", "team-a/chat"),)
    told = [
        license_records.of_acceptance(record, replace(world(known, now, uses=uses), related=records)).used_by
        for record in records
    ]
    assert told == [("team-a/chat",), (), ("team-a/chat",)]


@pytest.mark.parametrize(
    ("expires", "reason"),
    [
        (None, None),
        ("2026-04-02", None),
        ("2026-04-01", "GrantEndsSoon"),
        ("2026-03-02", "GrantEndsSoon"),
        ("2026-03-01", "GrantEnded"),
    ],
)
def test_the_end_of_a_grant_is_told_before_it_stops_anything(known, now, expires, reason):
    grant = {"reference": "META-1", "grantedOn": "2026-01-01"} | ({"expiresOn": expires} if expires else {})
    uses = (Use("acme", "team-a/chat"),)
    for state in ("Accepted", "Withdrawn"):
        record = acceptance(known, metaGrant=grant, state=state)
        status = license_records.of_acceptance(record, world(known, now, uses=uses))
        found = [each for each in status.conditions if each.type == "GrantEnding"]
        assert [each.reason for each in found] == ([reason] if reason and state == "Accepted" else [])
        assert all("META-1" in each.message and "team-a/chat" in each.message for each in found)
