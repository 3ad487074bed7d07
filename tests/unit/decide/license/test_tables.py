"""Attempts to bypass a license, and honest uses, as manifests that a user would write, through the real decision.

The tables are data: bypass.yaml and legal.yaml, over the manifests of objects.yaml. Every check of the chain has to be
needed: without it, some attempt of the table would get through.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.license import CHAIN, judge
from llama_operator.decide.license.gather import license_input
from llama_operator.decide.observed import LicenseEnd, Observed, RevisionFacts
from llama_operator.errors import InvalidManifestError

HERE = Path(__file__).resolve().parent
TODAY = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
API = "llama-operator.io/v1alpha1"
BASE = {
    "model": {"name": "llama-3.1-8b"},
    "context": {"maxModelLength": 2048},
    "hardware": {"accelerator": "H100-80GB"},
    "license": {
        "acceptance": "acme-llama-3.1",
        "purpose": "Production",
        "attributionURL": "https://acme.example/about",
    },
}
OUTSIDE_THE_CHAIN = {"schema", "decide"}
"""What refuses before the chain is asked: the API server's schema, and the search for the model."""


def table(name):
    return next(iter(documents(HERE / name)))["cases"]


OBJECTS = {(obj["kind"], obj["metadata"]["name"]): obj for obj in table("objects.yaml")}
BYPASS, LEGAL = table("bypass.yaml"), table("legal.yaml")


def merged(base, patch):
    """RFC 7386: null removes a field, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    found = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def objects(case, key, kind, default=()):
    for entry in case.get(key, default):
        written = {"from": entry} if isinstance(entry, str) else entry
        base = OBJECTS[kind, written["from"]]
        name = written.get("name", written["from"])
        metadata = base["metadata"] | {"name": name, "uid": f"uid-{name}"}
        yield parse(json.loads(json.dumps(merged(base, {"metadata": metadata, "spec": written.get("spec", {})}))))


def an_ended_revision(end):
    """An older revision that remembers the end of its license."""
    families = tuple(end["families"])
    remembered = LicenseEnd(end["acceptance"], end["entity"], families, end["on"], at=None)
    plan = PlanStatus.model_validate({"chosen": None, "rejected": []})
    return RevisionFacts("chat-old", 1, plan, {}, {}, {}, license_end=remembered)


def observed_of(case):
    """What the operator would see: every object parsed as the API server's schema would have it."""
    known = {
        "case",
        "refused",
        "by",
        "drains",
        "attributions",
        "terms",
        "prefixes",
        "records",
        "models",
        "policies",
        "metadata",
        "ended",
    }
    changes = {key: value for key, value in case.items() if key not in known}
    deployment = parse(
        {
            "apiVersion": API,
            "kind": "LlamaDeployment",
            "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"} | case.get("metadata", {}),
            "spec": merged(BASE, changes),
        }
    )
    leading = deployment.spec.license.acceptance
    default = [leading] if ("LicenseAcceptance", leading) in OBJECTS else []
    return Observed(
        deployment,
        acceptances=tuple(objects(case, "records", "LicenseAcceptance", default)),
        models=tuple(objects(case, "models", "LlamaModel")),
        policies=tuple(objects(case, "policies", "LicensePolicy")),
        revisions=tuple(an_ended_revision(end) for end in case.get("ended", ())),
        now=TODAY,
    )


@dataclass(frozen=True)
class Judged:
    decision: Decision
    given: object


@cache
def judged(index, bypass):
    case = (BYPASS if bypass else LEGAL)[index]
    observed, known = observed_of(case), catalog.load()
    decision = decide(observed, known)
    if decision.model is None:
        return Judged(decision, None)
    chosen = decision.chosen
    repository = (chosen.repository if chosen else "") or ""
    variants = [found for found in decision.model.variants if (found.repository or "") == repository]
    variant = variants[0] if chosen and variants else None
    gpus = chosen.gpus_per_replica if chosen else None
    return Judged(decision, license_input(observed, known, decision.model.id, variant, gpus))


def numbered(cases):
    return [pytest.param(number, id=case["case"].replace(" ", "-")) for number, case in enumerate(cases)]


@pytest.mark.parametrize("number", numbered(BYPASS))
def test_an_attempt_is_refused_for_its_reason_and_starts_nothing(number):
    case = BYPASS[number]
    if case["by"] == "schema":
        with pytest.raises(InvalidManifestError):
            observed_of(case)
        return
    found = judged(number, bypass=True)
    decision = found.decision
    assert decision.problem is not None
    assert decision.rollout is None, "nothing is started"
    if case["by"] == "decide":
        assert decision.problem.condition is ConditionType.MODEL_RESOLVED
        assert decision.problem.reason == case["refused"]
        return
    verdict = decision.license
    assert verdict == judge(found.given)
    assert not verdict.allowed
    first = verdict.denials[0]
    assert (verdict.reason, first.check) == (case["refused"], case["by"]), verdict.message
    assert all((first.rule, first.message, first.unblock, first.clause)), "says why, and what would unblock it"
    assert "to unblock" in verdict.message
    assert verdict.drain is ("drains" in case), "only a right that has ended stops what runs"


@pytest.mark.parametrize("number", numbered(LEGAL))
def test_an_honest_use_is_allowed_with_its_duties(number):
    case, found = LEGAL[number], judged(number, bypass=False)
    decision = found.decision
    assert decision.license is not None, decision.problem
    assert decision.license.allowed, decision.license.message
    assert not decision.license.drain
    assert decision.problem is None or decision.problem.reason is Reason.ENGINE_CONSTRAINT
    assert decision.license == judge(found.given)
    duties = decision.license.duties
    for key, value in (
        ("attributions", duties.attributions),
        ("prefixes", duties.name_prefixes),
        ("terms", duties.output_terms),
    ):
        if key in case:
            assert (list(value) if isinstance(value, tuple) else value) == case[key]


@pytest.mark.parametrize("check", CHAIN, ids=lambda check: check.id)
def test_without_a_check_some_attempt_would_get_through(check):
    rest = tuple(other for other in CHAIN if other is not check)
    through = [
        case["case"]
        for number, case in enumerate(BYPASS)
        if case["by"] == check.id and judge(judged(number, bypass=True).given, rest).allowed
    ]
    assert through, f"no attempt of the table needs {check.id}"


def test_there_are_fifty_of_each_and_no_sentence_twice():
    for cases in (BYPASS, LEGAL):
        sentences = [case["case"] for case in cases]
        assert len(sentences) >= 50
        assert len(set(sentences)) == len(sentences)


def test_every_attempt_names_a_check_that_exists():
    known = {check.id for check in CHAIN} | OUTSIDE_THE_CHAIN
    assert {case["by"] for case in BYPASS} == known
