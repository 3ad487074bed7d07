"""A manifest with several mistakes is answered with all of them: fields, and the rules that can still be judged."""

import pytest

from llama_operator.api.manifest import parse
from llama_operator.api.rules import RULES
from llama_operator.errors import InvalidManifestError

VALID = {
    "model": {"name": "llama-3.1-8b"},
    "hardware": {"accelerator": "H100-80GB"},
}


def problems(spec, *, name="chat", version="llama-operator.io/v1alpha1", kind="LlamaDeployment"):
    with pytest.raises(InvalidManifestError) as caught:
        parse({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    return [problem.path for problem in caught.value.problems]


def test_wrong_fields_and_broken_rules_come_in_one_answer():
    spec = VALID | {
        "hardware": {"accelerator": 5},
        "scaling": {"minReplicas": 5, "maxReplicas": 2},
        "parallelism": {"mode": "Manual"},
        "engine": {"arguments": {"maxNumSeqs": 2}},
        "context": {"concurrentSequences": 9},
    }
    assert problems(spec, name="Chat_1") == [
        "spec.hardware.accelerator",
        "metadata.name",
        "spec.engine.arguments.maxNumSeqs",
        "spec.parallelism.tensor",
        "spec.scaling.maxReplicas",
    ]


def test_a_missing_field_hides_no_other_rule():
    assert problems({"hardware": {"accelerator": "H100-80GB"}, "scaling": {"minReplicas": 5, "maxReplicas": 2}}) == [
        "spec.model",
        "spec.scaling.maxReplicas",
    ]


@pytest.mark.parametrize(
    "scaling",
    [
        {"minReplicas": 5, "maxReplicas": "2"},
        {"minReplicas": "5", "maxReplicas": 2},
        {"minReplicas": 5, "maxReplica": 9},
        {"minReplicas": 0, "mode": "Manul"},
        [],
    ],
    ids=str,
)
def test_a_rule_is_silent_while_a_field_that_it_reads_is_wrong(scaling):
    """Else `maxReplica: 9` would be answered with "maxReplicas is 1"."""
    found = problems(VALID | {"scaling": scaling})
    assert len(found) == 1
    assert found[0].startswith("spec.scaling")


def test_an_unknown_field_casts_doubt_on_absent_fields_beside_it_only():
    spec = VALID | {"scalin": {"mode": "Manual"}, "replicas": 3, "parallelism": {"mode": "Manual"}}
    assert problems(spec) == ["spec.scalin", "spec.parallelism.tensor"]


def test_rules_of_a_part_with_a_wrong_list_are_silent_about_the_list():
    found = problems({"tiers": [{"tier": "Tier9"}, {"tier": "Tier9"}]}, kind="LicensePolicy")
    assert found
    assert all(path.startswith("spec.tiers[") for path in found)


def test_another_version_hides_no_mistake_in_the_fields():
    assert problems(VALID | {"replicas": "x"}, version="llama-operator.io/v1") == ["apiVersion", "spec.replicas"]


def test_an_unknown_kind_is_one_mistake():
    assert problems(VALID | {"replicas": "x"}, kind="LlamaDeploymnet") == ["kind"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.model.__name__}.{rule.field}")
def test_what_a_rule_reads_are_fields_of_its_model(rule):
    assert rule.inputs
    for path in rule.inputs:
        model = rule.model
        for part in path:
            fields = {info.alias or name: info for name, info in model.model_fields.items()}
            assert part in fields, f"{rule.cel} reads {'.'.join(path)}"
            annotation = fields[part].annotation
            parts = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
            model = next((kind for kind in parts if hasattr(kind, "model_fields")), None)
