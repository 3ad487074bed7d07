"""The license pages and the code say the same: rules, checks, tests, facts and tiers."""

import re
from pathlib import Path

import pytest

from llama_operator import catalog
from llama_operator.api.v1alpha1.licensepolicy import UNRESOLVED, LicenseTier
from llama_operator.decide.license import CHAIN

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "licenses.md").read_text(encoding="utf-8")
TIER_PAGES = sorted((ROOT / "docs" / "licenses").glob("*.md"))
RULES = [*(f"P{number}" for number in range(1, 25)), "P5b", "House"]
BY_OTHERS = {"P3", "P7", "P9", "P10", "P13", "P24"}
"""Rules without a check of their own in the chain: other checks or other parts hold them."""


def rows():
    found = re.findall(r"^\| (P\d+b?|House) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    return {rule: [cell.strip() for cell in cells.split(" | ")] for rule, cells in found}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_who_enforces_it_and_which_test_proves_that(rule):
    _, enforced, tests, *_ = rows()[rule]
    checks = {check.id for check in CHAIN if check.rule == rule}
    named = set(re.findall(r"`([a-z-]+)`", enforced))
    assert checks <= named, f"{rule}: {checks - named} is not in the table"
    assert checks or rule in BY_OTHERS
    assert enforced
    paths = re.findall(r"`(tests/[^`]+)`", tests)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_table_has_no_other_rules_and_no_check_of_another_rule():
    assert set(rows()) == set(RULES)
    assert {check.rule for check in CHAIN} | BY_OTHERS == set(RULES)


@pytest.mark.parametrize("family", [f for f in catalog.load().families if f.license_text_hashes], ids=lambda f: f.id)
def test_the_facts_to_record_are_those_of_the_catalog(family):
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{family.id}` |"))
    facts = [family.version_date, family.active_users_month, *family.license_text_hashes, *family.policy_text_hashes]
    assert all(fact in line for fact in facts if fact)


def test_every_tier_has_a_page():
    listed = re.findall(r"^\| `(\w+)` \| .*\(licenses/([a-z0-9.-]+\.md)\) \|$", PAGE, flags=re.MULTILINE)
    assert {tier for tier, _ in listed} == {*map(str, LicenseTier), UNRESOLVED}
    assert all(f"licenses/{path.name}" in PAGE for path in TIER_PAGES)


@pytest.mark.parametrize("path", TIER_PAGES, ids=lambda path: path.stem)
def test_a_tier_page_names_clauses_and_is_no_legal_advice(path):
    text = path.read_text(encoding="utf-8")
    assert "This page is not legal advice" in text
    assert re.search(r"§|preamble|paragraph", text) or path.stem == "other-license"
    assert set(re.findall(r"\bP\d+b?\b", text)) <= set(RULES)


def test_the_page_gives_no_legal_advice():
    assert "no legal advice" in " ".join(PAGE.replace("*", "").split())


def test_revenue_is_never_the_measure():
    for path in [ROOT / "docs" / "licenses.md", *TIER_PAGES]:
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert "revenue" not in text.replace("not revenue", "")


def test_checks_have_ids_clauses_and_reasons_of_their_own():
    ids = [check.id for check in CHAIN]
    assert len(set(ids)) == len(ids)
    assert all(check.clause for check in CHAIN)
    assert all(
        ("house policy" in check.clause or "house" in check.clause) for check in CHAIN if check.origin == "HousePolicy"
    )
