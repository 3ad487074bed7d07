"""The name in spec.model.name: catalog first, then LlamaModels, and a reason that says which of the two is at fault."""

import json

import pytest

from llama_operator.api.manifest import parse
from llama_operator.api.reasons import Reason
from llama_operator.decide.decision import decide
from llama_operator.decide.find_model import find_model
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem


def added(name, base="llama-3.1-8b", **spec):
    fields = {
        "source": {"volumeClaim": {"name": "models", "path": "chat"}},
        "digest": "0" * 64,
        "lineage": {"derivedFrom": [{"model": base, "kind": "Finetune"}] if base else []},
        "servedName": f"Llama-{name}",
    }
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaModel", "metadata": {"name": name}}
    return parse(json.loads(json.dumps(obj | {"spec": fields | spec})))


@pytest.mark.parametrize(
    ("name", "models", "reason", "said"),
    [
        ("nobody", (), Reason.MODEL_UNKNOWN, "nobody"),
        ("llama-3.1-8", (), Reason.MODEL_UNKNOWN, "llama-3.1-8b"),
        ("nobody", None, Reason.MODEL_UNKNOWN, "were not looked up"),
        ("lost", (added("lost", "merged"),), Reason.LINEAGE_UNRESOLVED, "merged"),
        ("flat", (added("flat", None, licenseFamilies=["mit"]),), Reason.MODEL_UNUSABLE, "architectureFingerprint"),
    ],
)
def test_what_cannot_be_used_says_why(known, name, models, reason, said):
    found = find_model(name, models, known)
    assert isinstance(found, Problem)
    assert found.reason is reason
    assert said in found.text


def test_a_llama_model_is_planned_like_a_catalog_entry(known, deployment):
    observed = Observed(deployment(model={"name": "chat"}), acceptances=None, models=(added("chat"),))
    decision = decide(observed, known)
    like = decide(Observed(deployment(), acceptances=None), known)
    assert decision.plan_status.chosen.tensor_parallel_size == like.plan_status.chosen.tensor_parallel_size
    assert decision.license.families == like.license.families


def test_a_catalog_entry_cannot_be_replaced(known):
    fake = added("llama-3.1-8b", None, licenseFamilies=["mit"])
    assert find_model("llama-3.1-8b", (fake,), known) is known.model("llama-3.1-8b")
