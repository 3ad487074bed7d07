"""What differs between two specs: classes by the one table, and the merge that kubectl would do."""

import json

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.cli.shared import changes
from llama_operator.decide.rollout.fields import FieldClass

MODEL = {"name": "llama-3.1-8b"}


def spec(**fields):
    return LlamaDeploymentSpec.model_validate_json(json.dumps({"model": MODEL} | fields))


def test_every_field_that_differs_is_named_with_old_and_new_value_and_class():
    before = spec(scaling={"maxReplicas": 2}, context={"maxModelLength": 8192})
    after = spec(scaling={"maxReplicas": 4}, context={"maxModelLength": 4096}, image="acme/serving:2")
    assert {(c.field, c.before, c.after, c.kind) for c in changes.between(before, after)} == {
        ("spec.scaling.maxReplicas", 2, 4, FieldClass.LIVE),
        ("spec.context.maxModelLength", 8192, 4096, FieldClass.RESTART),
        ("spec.image", None, "acme/serving:2", FieldClass.RESTART),
    }


def test_a_default_that_is_written_out_is_no_change():
    assert changes.between(spec(), spec(scaling={"minReplicas": 1}, activation="Active")) == ()


def test_a_new_deployment_is_all_change():
    found = {change.field: change.after for change in changes.between(None, spec())}
    assert found["spec.model.name"] == "llama-3.1-8b"


def live(spec, **metadata):
    return {"metadata": metadata, "spec": spec}


def manifest(**fields):
    return {"spec": {"model": MODEL} | fields}


def test_what_others_wrote_stays_when_a_manifest_is_applied():
    found = changes.after_apply(live({"model": MODEL, "replicas": 3}), manifest(scaling={"maxReplicas": 2}))
    assert found == {"model": MODEL, "replicas": 3, "scaling": {"maxReplicas": 2}}


def test_what_an_earlier_apply_wrote_and_this_one_does_not_name_goes():
    record = json.dumps(manifest(image="acme/serving:1", scaling={"minReplicas": 2, "maxReplicas": 4}))
    notes = {"kubectl.kubernetes.io/last-applied-configuration": record}
    before = {"model": MODEL, "image": "acme/serving:1", "scaling": {"minReplicas": 2, "maxReplicas": 4}, "replicas": 1}
    found = changes.after_apply(live(before, annotations=notes), manifest(scaling={"maxReplicas": 4}))
    assert found == {"model": MODEL, "scaling": {"maxReplicas": 4}, "replicas": 1}


def test_the_servers_own_record_of_an_apply_is_understood_too():
    entries = [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "fieldsV1": {"f:spec": {"f:image": {}, "f:model": {"f:name": {}}}},
        },
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "llama-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:activation": {}}}},
    ]
    before = {"model": MODEL, "image": "acme/serving:1", "replicas": 3, "activation": "Active"}
    found = changes.after_apply(live(before, managedFields=entries), manifest())
    assert found == {"model": MODEL, "replicas": 3, "activation": "Active"}


def test_a_record_that_is_no_json_removes_nothing():
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "{"}
    assert changes.after_apply(live({"image": "a"}, annotations=notes), manifest())["image"] == "a"
