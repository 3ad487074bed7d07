"""What the Serve config of a revision says about licenses, and where the weights of a LlamaModel come from."""

from dataclasses import replace

import pytest
import yaml

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects, revision
from llama_serving.config import ServingConfig

KNOWN = catalog.load()
LICENSE = {
    "acceptance": "acme",
    "attributionURL": "https://acme.example/about",
    "purpose": "NonCommercialResearch",
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def policy(name, served_license_files):
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicensePolicy",
            "metadata": {"name": name},
            "spec": {"unlistedTiers": "Allowed", "servedLicenseFiles": served_license_files},
        }
    )


def added(source):
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaModel",
            "metadata": {"name": "llama-acme-chat"},
            "spec": {
                "source": source,
                "digest": "a" * 64,
                "lineage": {"derivedFrom": [{"model": "llama-3.1-8b", "kind": "Finetune"}]},
                "licenseFamilies": ["llama-3.1"],
                "weights": {"precision": "BF16"},
            },
        }
    )


def manifest(model, accelerator):
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": {
            "model": {"name": model},
            "context": {"maxModelLength": 2048, "concurrentSequences": 4},
            "hardware": {"accelerator": accelerator},
            "license": LICENSE,
        },
    }


def built(model, *, accelerator="H100-80GB", policies=(), models=(), settings=Settings()):  # noqa: B008 - frozen
    observed = Observed(parse(manifest(model, accelerator)), acceptances=None, policies=policies, models=models)
    decision = decide(observed, KNOWN)
    assert decision.problem is None, decision.problem
    found = objects.build(observed, decision, settings).apply
    return next(each for each in found if each["kind"] == "RayService")


def arguments(model, **more):
    service = built(model, **more)
    return yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]


@pytest.mark.parametrize(
    ("model", "attribution", "prefix", "use"),
    [
        ("llama-3.3-70b-instruct", "Built with Llama", "Llama", "AllowedWithName"),
        ("llama-3-8b", "Built with Meta Llama 3", "Llama 3", "NoOtherModels"),
        ("llama-2-7b", None, None, "NoOtherModels"),
    ],
)
def test_the_duties_of_the_license_reach_the_pods(model, attribution, prefix, use):
    (family,) = ServingConfig.model_validate(arguments(model)).license.families

    assert (family.attribution, family.name_prefix, family.output_use) == (attribution, prefix, use)
    assert "Community License" in family.notice
    assert family.text_hashes


def test_every_family_of_a_model_under_several_is_there():
    families = ServingConfig.model_validate(arguments("llama-guard-3-8b", accelerator="L40S-48GB")).license.families

    assert {family.id for family in families} >= {"llama-3.1", "llama-3.2"}


def test_a_model_without_a_llama_license_has_the_config_that_it_had_before():
    assert "license" not in arguments("tiny-random-llama", accelerator="CPU")


@pytest.mark.parametrize("policies", [(), ("NotRequired",)])
def test_no_files_are_asked_for_unless_a_policy_does(policies):
    given = tuple(policy(f"house-{index}", asked) for index, asked in enumerate(policies))

    assert arguments("llama-3.1-8b", policies=given)["license"]["required_files"] == []


def test_one_policy_that_asks_for_license_files_is_enough():
    given = (policy("lax", "NotRequired"), policy("strict", "Required"))

    assert arguments("llama-3.1-8b", policies=given)["license"]["required_files"] == ["License"]


def test_a_policy_about_license_files_does_not_touch_a_model_without_a_llama_license():
    given = (policy("strict", "Required"),)

    assert "license" not in arguments("tiny-random-llama", accelerator="CPU", policies=given)


def test_a_config_from_before_the_field_existed_is_read():
    old = arguments("llama-3.1-8b")
    del old["license"]

    assert ServingConfig.model_validate(old).license is None


def test_a_catalog_model_is_pinned_to_its_commit_where_one_is_known():
    known = KNOWN.model("llama-3.1-8b").variants[0]
    assert arguments("llama-3.1-8b")["source"] == {
        "kind": "HuggingFace",
        "location": known.repository,
        "revision": known.revision,
    }


def test_a_catalog_model_without_a_known_commit_follows_the_default_branch_of_its_repository():
    (variant, *_) = (v for v in KNOWN.model("meditron-7b").variants if v.precision == "BF16")
    assert variant.revision is None
    assert arguments("meditron-7b")["source"] == {"kind": "HuggingFace", "location": variant.repository}


def test_a_hub_model_that_an_administrator_added_is_pinned_to_its_commit():
    model = added({"huggingFace": {"repository": "acme/Llama-chat", "revision": COMMIT}})

    assert arguments("llama-acme-chat", models=(model,))["source"] == {
        "kind": "HuggingFace",
        "location": "acme/Llama-chat",
        "revision": COMMIT,
    }


def test_a_model_in_an_object_store_is_read_from_there():
    model = added({"objectStore": {"uri": "s3://models/acme/v3"}})

    assert arguments("llama-acme-chat", models=(model,))["source"] == {
        "kind": "ObjectStore",
        "location": "s3://models/acme/v3",
    }


@pytest.mark.parametrize(("path", "folder"), [("chat/v3", "/models/chat/v3"), ("", "/models")])
def test_a_model_on_a_claim_is_read_from_the_volume_that_the_workers_mount(path, folder):
    model = added({"volumeClaim": {"name": "weights", "path": path}})
    service = built("llama-acme-chat", models=(model,))

    args = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert args["source"] == {"kind": "Path", "location": folder}
    source = {"persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}
    assert [each for each in pod["volumes"] if each["name"] != "caches"] == [{"name": "weights", **source}]
    mounts = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] != "caches"]
    assert mounts == [{"name": "weights", "mountPath": "/models", "readOnly": True}]
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    assert not any("persistentVolumeClaim" in each for each in head["volumes"])


def test_weights_on_this_machine_come_before_any_other_source():
    model = added({"volumeClaim": {"name": "weights", "path": "chat"}})
    service = built("llama-acme-chat", models=(model,), settings=Settings(weights_path="/here"))

    args = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
    assert args["source"] == {"kind": "Path", "location": "/here"}
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert not any("persistentVolumeClaim" in each for each in group["template"]["spec"]["volumes"])


def test_a_pinned_revision_keeps_its_serve_config_whatever_policies_and_catalog_say_now():
    deployment = manifest("llama-3.1-8b", "H100-80GB")
    observed = Observed(parse(deployment), acceptances=None)
    made = revision.new(observed, decide(observed, KNOWN), Settings())
    (application,) = made.serve_config["applications"]
    old = {key: value for key, value in application["args"].items() if key != "license"}
    record = replace(made, serve_config={**made.serve_config, "applications": [{**application, "args": old}]})

    later = replace(observed, revisions=(record,), policies=(policy("strict", "Required"),))
    found = objects.build(later, decide(later, KNOWN), Settings()).apply

    (service,) = (each for each in found if each["kind"] == "RayService")
    assert "license" in application["args"]
    assert yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"] == old


def test_a_permissive_license_of_a_derivative_takes_no_duty_of_its_base_away():
    model = added({"huggingFace": {"repository": "acme/Llama-chat", "revision": COMMIT}})
    permissive = model.model_copy(update={"spec": model.spec.model_copy(update={"license_families": ("apache-2.0",)})})

    duties = ServingConfig.model_validate(arguments("llama-acme-chat", models=(permissive,))).license

    assert [(family.id, family.attribution) for family in duties.families] == [("llama-3.1", "Built with Llama")]
