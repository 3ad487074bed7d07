"""What differs between two specs: classes by the one table, and the merge that kubectl would do."""

import json

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.cli.shared import changes
from llama_operator.decide.rollout.fields import FieldClass

MODEL = {"name": "llama-3.1-8b"}
LAST = "kubectl.kubernetes.io/last-applied-configuration"


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


GATEWAY = {"endpoint": {"expose": {"hosts": ["a.example"], "gateway": {"name": "public", "timeouts": "Unlimited"}}}}
INGRESS = {"endpoint": {"expose": {"hosts": ["a.example"], "ingress": {}}}}
WRITTEN = {"f:hosts": {}, "f:gateway": {"f:name": {}}}


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(manifest(**GATEWAY))}},
        {
            "managedFields": [
                {
                    "manager": "kubectl",
                    "operation": "Apply",
                    "fieldsV1": {"f:spec": {"f:endpoint": {"f:expose": WRITTEN}}},
                }
            ]
        },
    ],
    ids=["kubectl's record", "the server's record"],
)
def test_a_section_that_goes_takes_its_defaults_along(metadata):
    before = live({"model": MODEL} | GATEWAY, **metadata)
    assert changes.after_apply(before, manifest(**INGRESS)) == {"model": MODEL} | INGRESS
    back = live({"model": MODEL} | INGRESS, annotations={LAST: json.dumps(manifest(**INGRESS))})
    assert changes.after_apply(back, manifest(**GATEWAY)) == {"model": MODEL} | GATEWAY


def test_what_somebody_else_owns_in_a_section_that_goes_stays():
    def entry(manager, field):
        return {
            "manager": manager,
            "operation": "Apply",
            "fieldsV1": {"f:spec": {"f:scaling": {f"f:{field}": {}}}},
        }

    before = live({"model": MODEL, "scaling": {"minReplicas": 2, "maxReplicas": 4}}, managedFields=[])
    before["metadata"]["managedFields"] = [
        entry("kubectl", "minReplicas"),
        entry("llama-operator", "maxReplicas"),
    ]
    assert changes.after_apply(before, manifest())["scaling"] == {"maxReplicas": 4}
