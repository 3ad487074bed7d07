"""Live objects of a newer API server: unknown fields are left out, a status never stops the operator, new values are told."""

import pytest

from llama_operator.api.manifest import parse, parse_live, readable, unknown_fields
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment, LlamaDeploymentSpec
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.cli.shared.documents import documents
from llama_operator.errors import InvalidManifestError, NotUnderstoodError

MODELS = {
    model.__name__: model for model in (LlamaDeployment, LicenseAcceptance, LicensePolicy, LlamaModel, Accelerator)
}
SAMPLES = ("tiny-cpu", "llama-3.1-8b-l4", "license-acceptance", "license-policy", "llama-model", "accelerator")


@pytest.fixture(params=SAMPLES)
def live(request, pytestconfig):
    return next(iter(documents(pytestconfig.rootpath / "manifests" / "samples" / f"{request.param}.yaml")))


def with_new_fields(value):
    """The object with a field that nobody knows, at every level of it, in lists as well."""
    if isinstance(value, dict):
        return {key: with_new_fields(below) for key, below in value.items()} | {"fromANewerVersion": {"a": 1}}
    return [with_new_fields(item) for item in value] if isinstance(value, list) else value


def test_fields_that_nobody_knows_are_left_out_at_every_level(live):
    model = MODELS[live["kind"]]
    newer = with_new_fields(live)
    assert parse_live(model, newer).to_api() == parse_live(model, live).to_api()
    with pytest.raises(InvalidManifestError, match="fromANewerVersion: unknown field"):
        parse(newer)


def test_what_a_spec_says_beyond_this_version_stays_with_the_object():
    spec = {"model": {"name": "llama-3.1-8b", "adapters": ["a"]}, "observability": {"traces": "On"}}
    deployment = parse_live(LlamaDeployment, obj(spec))
    assert deployment.beyond == {"model": {"adapters": ["a"]}, "observability": {"traces": "On"}}
    assert parse_live(LlamaDeployment, obj({"model": {"name": "llama-3.1-8b"}})).beyond == {}
    assert unknown_fields(LlamaDeploymentSpec, spec) == deployment.beyond


def obj(spec, **more):
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "generation": 3},
        "spec": spec,
    } | more


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"scaling": {"mode": "Predictive"}}, "spec.scaling.mode"),
        ({"engine": {"kvCacheDtype": "FP4"}}, "spec.engine.kvCacheDtype"),
        ({"model": {"name": "x", "precisions": ["FP4"]}}, "spec.model.precisions[0]"),
        ({"scaling": {"maxReplicas": 100_000}}, "spec.scaling.maxReplicas"),
        ({"hardware": {"accelerator": "new name"}}, "spec.hardware.accelerator"),
        ({"model": {}}, "spec.model.name"),
    ],
)
def test_a_value_that_only_a_newer_version_knows_is_told_apart_from_a_broken_rule(spec, path):
    with pytest.raises(NotUnderstoodError) as raised:
        parse_live(LlamaDeployment, obj({"model": {"name": "llama-3.1-8b"}} | spec))
    assert [problem.path for problem in raised.value.problems] == [path]


def test_a_broken_rule_is_no_matter_of_versions():
    spec = {"model": {"name": "llama-3.1-8b"}, "parallelism": {"mode": "Auto", "tensor": 2}}
    with pytest.raises(InvalidManifestError, match=r"spec\.parallelism") as raised:
        parse_live(LlamaDeployment, obj(spec))
    assert not isinstance(raised.value, NotUnderstoodError)


def test_a_rule_that_a_newer_version_may_have_loosened_is_none_of_this_one():
    spec = {"model": {"name": "llama-3.1-8b"}, "parallelism": {"mode": "Auto", "tensor": 2, "search": "Wide"}}
    with pytest.raises(NotUnderstoodError, match=r"spec\.parallelism"):
        parse_live(LlamaDeployment, obj(spec))


GOOD = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 2,
    "lastTransitionTime": "2026-03-02T09:00:00Z",
    "reason": "Serving",
    "message": "",
}


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({"conditions": [GOOD, GOOD | {"type": "Odd", "status": "Perhaps"}]}, {"conditions": [GOOD]}),
        ({"conditions": [{"type": "Half"}, GOOD]}, {"conditions": [GOOD]}),
        ({"conditions": [GOOD | {"type": f"C{n}"} for n in range(30)]}, 24),
        ({"replicas": "many", "url": "http://x/v1"}, {"url": "http://x/v1"}),
        ({"plan": {"chosen": {"model": "x"}}, "replicas": 3}, {"plan": {}, "replicas": 3}),
        ({"replicas": 3, "newer": {"a": 1}}, {"replicas": 3, "newer": {"a": 1}}),
        ({"queueDepth": -1, "revisions": {"active": "chat-1", "pending": 7}}, {"revisions": {"active": "chat-1"}}),
        ([1], None),
        ("x", None),
        (None, None),
    ],
)
def test_of_a_status_everything_that_can_be_read_is_read(status, read):
    found = readable(LlamaDeploymentStatus, status)
    if isinstance(read, int):
        assert len(found["conditions"]) == read
    else:
        assert found == read
    parsed = parse_live(LlamaDeployment, obj({"model": {"name": "llama-3.1-8b"}}, status=status))
    assert parsed.metadata.generation == 3
