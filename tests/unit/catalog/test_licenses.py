"""License families as data: what the license chain rests on."""

import json

import pytest
from pydantic import ValidationError

from llama_operator.catalog import UnknownLicenseError, load
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.models import Model

CATALOG = load()
FAMILIES = CATALOG.families
LLAMA = [family for family in FAMILIES if family.id.startswith("llama-")]
COMMUNITY = [family for family in LLAMA if family.id != "llama-1"]


def families_of(model_id: str) -> set[str]:
    return {family.id for family in CATALOG.license_families(CATALOG.model(model_id))}


@pytest.mark.parametrize(
    ("model_id", "families"),
    [
        ("llama-guard-2-8b", {"llama-2", "llama-3"}),
        ("llama-guard-3-8b", {"llama-3.1", "llama-3.2"}),
        ("deepseek-r1-distill-llama-8b", {"llama-3.1", "mit"}),
        ("deepseek-r1-distill-llama-70b", {"llama-3.3", "mit"}),
        ("meditron3-70b", {"llama-3.1"}),
        ("code-llama-34b", {"llama-2"}),
        ("llama-guard-1-7b", {"llama-2"}),
        ("llama-guard-4-12b", {"llama-4"}),
        ("tiny-random-llama", {"none"}),
    ],
)
def test_where_signals_or_ancestors_disagree_all_their_licenses_apply(model_id: str, families: set[str]) -> None:
    assert families_of(model_id) == families


def test_a_copy_adds_the_license_of_its_publisher_and_removes_none() -> None:
    model = CATALOG.model("llama-3.3-70b-instruct")
    copy = next(variant for variant in model.variants if variant.repository == "nvidia/Llama-3.3-70B-Instruct-FP8")
    assert [family.id for family in CATALOG.license_families(model, copy)] == ["llama-3.3", "nvidia-open-model"]
    assert [family.id for family in CATALOG.license_families(model, model.variants[0])] == ["llama-3.3"]


@pytest.mark.parametrize("model", [m for m in CATALOG.models if not m.generated], ids=lambda model: model.id)
def test_every_model_with_weights_of_meta_needs_an_acceptance(model: Model) -> None:
    assert any(family.acceptance_required for family in CATALOG.license_families(model))


def test_the_generated_model_needs_no_acceptance() -> None:
    families = CATALOG.license_families(CATALOG.model("tiny-random-llama"))
    assert not any(family.acceptance_required for family in families)


@pytest.mark.parametrize(
    ("family_id", "month"),
    [
        ("llama-2", "2023-06"),
        ("llama-3", "2024-03"),
        ("llama-3.1", "2024-06"),
        ("llama-3.2", "2024-08"),
        ("llama-3.3", "2024-11"),
        ("llama-4", "2025-03"),
    ],
)
def test_active_users_are_counted_in_the_month_before_the_release(family_id: str, month: str) -> None:
    family = CATALOG.license_family(family_id)
    assert family.active_users_month == month
    assert family.active_users_threshold == 700_000_000
    assert {"P5", "P6"} <= set(family.rules)
    assert family.version_date is not None
    year, number = (int(part) for part in family.version_date.split("-")[:2])
    assert month == (f"{year}-{number - 1:02}" if number > 1 else f"{year - 1}-12")


def test_attribution_and_name_rule_begin_with_llama_3() -> None:
    shown = {family.id: (family.attribution, family.name_prefix) for family in LLAMA}
    assert shown["llama-2"] == (None, None)
    assert shown["llama-3"] == ("Built with Meta Llama 3", "Llama 3")
    assert {shown[f] for f in ("llama-3.1", "llama-3.2", "llama-3.3", "llama-4")} == {("Built with Llama", "Llama")}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.id)
def test_rules_follow_from_the_facts(family: LicenseFamily) -> None:
    rules = set(family.rules)
    assert ("P1" in rules) == family.acceptance_required
    assert ("P4" in rules) == family.research_only
    assert ("P8" in rules) == family.eu_multimodal_denied
    assert ("P11" in rules) == (family.attribution is not None)
    assert ("P12" in rules) == (family.name_prefix is not None)
    assert ("P14" in rules) == (family.output_use in {"NoOtherModels", "SharedRestriction"})
    assert ("P15" in rules) == (family.output_use == "AllowedWithName")


@pytest.mark.parametrize("family", COMMUNITY, ids=lambda family: family.id)
def test_community_licenses_have_a_notice_and_known_texts(family: LicenseFamily) -> None:
    assert family.notice is not None
    assert family.notice.endswith("All Rights Reserved.")
    assert family.license_text_sha256
    assert family.policy_text_sha256


def test_only_llama_1_is_for_research_alone() -> None:
    assert [family.id for family in FAMILIES if family.research_only] == ["llama-1"]


def test_of_several_families_the_strictest_names_the_tier() -> None:
    ranked = sorted(
        (CATALOG.license_family(f) for f in ("mit", "llama-1", "llama-3", "llama-3.1")), key=lambda f: f.strictness
    )
    assert [family.id for family in ranked] == ["mit", "llama-3.1", "llama-3", "llama-1"]


def test_no_family_can_be_unresolved() -> None:
    facts = FAMILIES[0].model_dump(mode="json") | {"tier": "Unresolved"}
    with pytest.raises(ValidationError, match="tier"):
        LicenseFamily.model_validate_json(json.dumps(facts))


def test_multimodal_models_of_3_2_and_4_are_not_granted_in_the_european_union() -> None:
    denied = {
        model.id
        for model in CATALOG.models
        if model.modality != "Text" and any(f.eu_multimodal_denied for f in CATALOG.license_families(model))
    }
    assert denied == {
        "llama-3.2-11b-vision",
        "llama-3.2-90b-vision",
        "llama-4-maverick",
        "llama-4-scout",
        "llama-guard-3-11b-vision",
        "llama-guard-4-12b",
    }


def test_derivatives_are_served_under_a_name_that_their_license_allows() -> None:
    for model in CATALOG.models:
        if model.derived_from is not None:
            for family in CATALOG.license_families(model):
                assert model.served_name.startswith(family.name_prefix or "")


def test_an_unknown_family_is_an_error_with_the_nearest_ids() -> None:
    with pytest.raises(UnknownLicenseError, match=r"llama-3\.1"):
        CATALOG.license_family("llama-31")
