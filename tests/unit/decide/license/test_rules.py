"""Rules with a number or a set in them, over all of it: users, months, countries, families."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, Purpose
from llama_operator.catalog import lineage
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.license import LicenseInput, judge, resolve

HERE = Path(__file__).resolve().parent
CATALOG, PLACES = catalog.load(), lineage.load()
(OBJECTS,) = (document["cases"] for document in documents(HERE / "objects.yaml"))
RECORDS = {obj["metadata"]["name"]: obj for obj in OBJECTS if obj["kind"] == "LicenseAcceptance"}
GATED = {
    "llama-2-7b": "llama-2",
    "llama-3-8b": "llama-3",
    "llama-3.1-8b": "llama-3.1",
    "llama-3.2-1b": "llama-3.2",
    "llama-3.3-70b-instruct": "llama-3.3",
    "llama-4-scout": "llama-4",
}
MULTIMODAL = {model.id: model.license_families[0] for model in CATALOG.models if model.modality != "Text"}


def record(family, **spec):
    obj = RECORDS[f"acme-{family}"]
    return parse(json.loads(json.dumps(obj | {"spec": obj["spec"] | spec})))


def asked(model, *records, **more):
    license_spec = LicenseSpec(
        acceptance=records[0].metadata.name,
        purpose=Purpose.PRODUCTION,
        attribution_url="https://acme.example/about",
    )
    return LicenseInput(
        model=resolve(model, CATALOG),
        license=license_spec,
        namespace="team-a",
        acceptances=records,
        today=date(2026, 3, 2),
        **more,
    )


def users(family, count, month=None):
    month = month or CATALOG.license_family(family).active_users_month
    return {"month": month, "count": count, "attestedBy": "Sam Roe", "attestedOn": "2025-06-02"}


@pytest.mark.parametrize(("model", "family"), GATED.items())
@pytest.mark.parametrize("count", [0, 699_999_999, 700_000_000, 700_000_001, 8_000_000_000])
def test_the_limit_is_strictly_more_than_700_million_users(model, family, count):
    verdict = judge(asked(model, record(family, monthlyActiveUsers=users(family, count))))
    assert verdict.allowed is (count <= 700_000_000), verdict.message


@given(count=st.integers(0, 10_000_000_000), name=st.sampled_from(sorted(GATED)))
def test_any_number_above_needs_a_grant_and_no_number_below_does(count, name):
    family = GATED[name]
    counted = users(family, count)
    without = judge(asked(name, record(family, monthlyActiveUsers=counted)))
    grant = {"reference": "G-1", "grantedOn": "2025-06-02"}
    granted = judge(asked(name, record(family, monthlyActiveUsers=counted, metaGrant=grant)))
    assert without.allowed is (count <= 700_000_000)
    assert granted.allowed


@pytest.mark.parametrize(("model", "family"), GATED.items())
def test_the_month_is_that_of_the_version_and_no_other(model, family):
    right = CATALOG.license_family(family).active_users_month
    months = {f"{year}-{month:02}" for year in (2023, 2024, 2025) for month in range(1, 13)}
    for month in sorted(months):
        counted = users(family, 1, month)
        counted["attestedOn"] = "2026-03-01"
        verdict = judge(asked(model, record(family, monthlyActiveUsers=counted, acceptedOn="2025-12-01")))
        assert verdict.allowed is (month == right), month


@pytest.mark.parametrize("code", sorted({*PLACES.countries, *PLACES.european_union_other_codes}))
def test_multimodal_models_are_for_licensees_outside_the_european_union(code):
    members = {*PLACES.european_union, *PLACES.european_union_parts, *PLACES.european_union_other_codes}
    for model, family in MULTIMODAL.items():
        assert judge(asked(model, record(family, domicile=code))).allowed is (code not in members)
    assert judge(asked("llama-3.1-8b", record("llama-3.1", domicile=code))).allowed


def test_the_european_union_has_27_members_and_its_neighbors_are_none():
    assert len(set(PLACES.european_union)) == 27
    for code in ("CH", "NO", "IS", "LI", "GB", "TR", "UA", "US", "GL", "PF"):
        assert not PLACES.in_european_union(code)


@pytest.mark.parametrize("code", ["XX", "ZZ", "AA", "QM"])
def test_a_code_that_means_no_country_is_none(code):
    assert not PLACES.known_country(code)


@pytest.mark.parametrize("model", [m.id for m in CATALOG.models if not m.generated])
def test_no_llama_is_allowed_without_a_record_and_every_refusal_helps(model):
    given_nothing = LicenseInput(
        model=resolve(model, CATALOG), license=LicenseSpec(), namespace="team-a", acceptances=(), today=date(2026, 3, 2)
    )
    verdict = judge(given_nothing)
    assert not verdict.allowed
    assert not verdict.drain
    for denial in verdict.denials:
        assert all((denial.message, denial.unblock, denial.clause, denial.rule, denial.check))


def test_what_nobody_looked_up_is_said_to_be_unchecked():
    verdict = judge(replace(asked("llama-3.1-8b", record("llama-3.1")), acceptances=None))
    assert verdict.allowed
    assert verdict.reason == "AcceptanceNotChecked"
    unchecked = {outcome.check for outcome in verdict.evidence.checks if outcome.result == "NotChecked"}
    assert {"acceptance-exists", "active-users-attested"} <= unchecked


def test_a_verdict_holds_who_attested_what_and_when():
    verdict = judge(
        asked("llama-4-scout", record("llama-4", metaGrant={"reference": "G-7", "grantedOn": "2025-06-02"}))
    )
    attested = {(each.rule, each.by, each.on) for each in verdict.evidence.attestations}
    assert {("P1", "Jo Doe", "2025-06-02"), ("P5", "Sam Roe", "2025-06-02"), ("P6", "Jo Doe", "2025-06-02")} <= attested
    (used,) = verdict.evidence.acceptances
    assert (used.name, used.uid, used.family) == ("acme-llama-4", "uid-acme-llama-4", "llama-4")
    assert used.text_hashes
    assert [outcome.rule for outcome in verdict.evidence.checks].count("P8") == 1


def test_duties_are_the_union_and_the_strictest_terms_win():
    records = [record("llama-3"), record("llama-2")]
    duties = judge(asked("llama-guard-2-8b", *records)).duties
    assert duties.attributions == ("Built with Meta Llama 3",)
    assert len(duties.notices) == 2
    assert duties.output_terms == ("NoOtherModels",)
    assert duties.families[0].id == "llama-3", "strictest first"
    assert {"P5", "P11", "P14"} <= set(duties.rules)
