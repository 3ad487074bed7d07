"""An invalid manifest names the field, what is wrong and what is allowed."""

import pytest

from llama_operator.api.manifest import WHAT_BELONGS, parse
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment, Precision
from llama_operator.errors import InvalidManifestError


def deployment(**spec):
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": {"model": {"name": "llama-3.1-8b"}} | spec,
    }


def problems(obj):
    with pytest.raises(InvalidManifestError) as caught:
        parse(obj)
    return {problem.path: f"{problem.problem}; {problem.allowed}" for problem in caught.value.problems}


def test_a_valid_manifest_becomes_typed():
    parsed = parse(deployment(model={"name": "llama-3.1-8b", "precision": "BF16"}))
    assert isinstance(parsed, LlamaDeployment)
    assert parsed.spec.model.precision is Precision.BF16
    assert parsed.spec.scaling.max_replicas == 1


def test_an_unknown_field_names_its_neighbors():
    found = problems(deployment(scaling={"maxReplica": 2}))
    assert "did you mean maxReplicas?" in found["spec.scaling.maxReplica"]
    assert "minReplicas" in found["spec.scaling.maxReplica"]


def test_a_number_in_quotes_is_refused_as_the_api_server_would():
    assert "whole number" in problems(deployment(scaling={"minReplicas": "1"}))["spec.scaling.minReplicas"]


def test_a_boolean_is_not_a_number():
    assert "is a boolean" in problems(deployment(scaling={"minReplicas": True}))["spec.scaling.minReplicas"]


def test_more_replicas_at_least_than_at_most_are_refused():
    found = problems(deployment(scaling={"minReplicas": 3, "maxReplicas": 2}))
    assert "must be at least minReplicas" in found["spec.scaling.maxReplicas"]


def test_an_enum_lists_what_is_allowed():
    assert (
        "Auto, BF16, FP16, FP8, INT8 or INT4"
        in problems(deployment(model={"name": "m", "precision": "bf16"}))["spec.model.precision"]
    )


def test_bounds_are_named():
    assert (
        "at most 99"
        in problems(deployment(engine={"gpuMemoryUtilizationPercent": 100}))["spec.engine.gpuMemoryUtilizationPercent"]
    )


def test_all_problems_are_told_at_once():
    found = problems(deployment(context={"maxModelLength": 1, "foo": 2}, activation="Off"))
    assert set(found) == {"spec.context.maxModelLength", "spec.context.foo", "spec.activation"}


def test_a_missing_model_is_asked_for():
    assert problems(deployment() | {"spec": {}}) == {"spec.model": "is required; set it"}


def test_another_kind_or_version_is_told_what_is_known():
    found = problems({"apiVersion": "v2", "kind": "LlamaDeploymentt"})
    assert "LlamaDeployment" in found["kind"]
    assert "llama-operator.io/v1alpha1" in found["apiVersion"]


def test_a_name_that_is_too_long_is_refused_with_the_reason():
    obj = deployment() | {"metadata": {"name": "a" * 39}}
    assert "at most 38 characters" in problems(obj)["metadata.name"]


def test_a_mapping_where_a_string_belongs_is_explained():
    assert "must be an object with named fields" in problems(deployment(model="llama"))["spec.model"]


def test_a_text_or_list_of_the_wrong_length_is_told_the_length():
    long = problems(deployment(model={"name": "x" * 193}))["spec.model.name"]
    assert "is too long; must have at most 192 characters" in long
    assert problems(deployment(model={"name": ""}))["spec.model.name"] == "is empty; must have at least 1 character"


def acceptance(**spec):
    filled = {
        "families": ["llama-3.3"],
        "legalEntity": "Acme GmbH",
        "acceptedBy": "Jo Doe",
        "acceptedOn": "2026-03-02",
        "namespaces": ["team-a"],
    }
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LicenseAcceptance",
        "metadata": {"name": "acme"},
        "spec": filled | spec,
    }


@pytest.mark.parametrize(
    ("spec", "path", "told"),
    [
        ({"acceptedOn": ""}, "spec.acceptedOn", "is empty; give the day of the acceptance, YYYY-MM-DD, for example 2026-03-02"),
        ({"acceptedOn": "2 March"}, "spec.acceptedOn", '"2 March" is not what belongs here; give the day'),
        ({"acceptedBy": "  "}, "spec.acceptedBy", "is empty; give the person"),
        ({"domicile": "Germany"}, "spec.domicile", '"Germany" is not what belongs here; give the country'),
        ({"namespaces": []}, "spec.namespaces", "is empty; give the namespaces"),
        ({"namespaces": [""]}, "spec.namespaces[0]", "is empty; give the namespaces"),
        ({"textHashes": ["abc"]}, "spec.textHashes[0]", '"abc" is not what belongs here; give SHA-256'),
        ({"monthlyActiveUsers": {"month": "2024-11"}}, "spec.monthlyActiveUsers.count", "is required; give users"),
    ],
)  # fmt: skip
def test_a_license_record_is_told_what_belongs_into_a_field_with_an_example(spec, path, told):
    assert problems(acceptance(**spec))[path].startswith(told)


def test_every_field_that_is_explained_is_a_field_of_the_record():
    schema = LicenseAcceptance.model_json_schema(by_alias=True)
    for path in WHAT_BELONGS:
        node = schema
        for part in path.split("."):
            node = node["properties"][part]
            reference = next((option["$ref"] for option in (node, *node.get("anyOf", ())) if "$ref" in option), None)
            node = schema["$defs"][reference.rsplit("/", 1)[1]] if reference else node


@pytest.mark.parametrize(
    ("written", "path", "words"),
    [
        ({"tolerations": []}, "spec.tolerations", "did you mean spec.pods.tolerations?"),
        ({"hardware": {"nodeSelector": {}}}, "spec.hardware.nodeSelector", "did you mean spec.pods.nodeSelector?"),
        ({"env": []}, "spec.env", "did you mean spec.pods.env?"),
        ({"runtimeClassName": "nvidia"}, "spec.runtimeClassName", "did you mean spec.pods.runtimeClassName?"),
        ({"maxReplicas": 2}, "spec.maxReplicas", "did you mean spec.scaling.maxReplicas?"),
        ({"pods": {"head": {"proxy": {}}}}, "spec.pods.head.proxy", "did you mean spec.pods.proxy?"),
        ({"pods": {"workers": {"resources": {"cpu": 3}}}}, "spec.pods.workers.resources.cpu", "in quotes"),
        ({"pods": {"nodeSelector": {"gpu": True}}}, "spec.pods.nodeSelector.gpu", "in quotes"),
        ({"pods": {"tolerations": [{"key": "a"}, {}]}}, "spec.pods.tolerations[1].key", "operator Exists"),
    ],
)
def test_where_people_look_for_settings_of_pods_they_are_told_where_they_are(written, path, words):
    with pytest.raises(InvalidManifestError) as refused:
        parse(
            {
                "apiVersion": "llama-operator.io/v1alpha1",
                "kind": "LlamaDeployment",
                "metadata": {"name": "chat"},
                "spec": {"model": {"name": "llama-3.1-8b"}, **written},
            }
        )
    assert [(problem.path, words in str(problem)) for problem in refused.value.problems] == [(path, True)]
