"""What the libraries of an object store find in the workers, which read it, and nothing of it in the head."""

import json

import pytest

from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects

S3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
AZURE = {"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"}
PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "RUNAI_")


@pytest.fixture
def pods(deployment, known):
    """Templates of head and worker of a deployment whose model is in a store."""

    def build(store, secret=None):
        obj = {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaModel",
            "metadata": {"name": "tuned"},
            "spec": {
                "source": {"objectStore": store},
                "digest": "0" * 64,
                "lineage": {"derivedFrom": [{"model": "llama-3.1-8b", "kind": "Finetune"}]},
                "servedName": "Llama-tuned",
            },
        }
        weights = {"weights": {"storeSecret": {"name": secret}}} if secret else {}
        license_ = {"acceptance": "acme", "attributionURL": "https://acme.example/about"}
        asked = deployment(model={"name": "tuned"}, license=license_, **weights)
        observed = Observed(asked, acceptances=None, models=(parse(json.loads(json.dumps(obj))),))
        built = objects.build(observed, decide(observed, known), Settings()).apply
        (service,) = (each for each in built if each["kind"] == "RayService")
        cluster = service["spec"]["rayClusterConfig"]
        return cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]

    return build


def variables(template):
    found = {each["name"]: each for each in template["spec"]["containers"][0]["env"]}
    return {name: each for name, each in found.items() if name.startswith(PREFIXES)}


@pytest.mark.parametrize(
    ("store", "names"),
    [
        ({"uri": "s3://models/chat"}, S3),
        ({"uri": "abfss://models@acme.dfs.core.windows.net/chat"}, AZURE),
        ({"uri": "azure://models@acme.blob.core.windows.net/chat"}, AZURE),
        ({"uri": "az://models/chat", "account": "acme"}, AZURE),
    ],
    ids=lambda value: value["uri"].partition(":")[0] if isinstance(value, dict) else "",
)
def test_a_secret_is_named_and_its_keys_are_the_variables(pods, store, names):
    head, worker = pods(store, "store")
    assert set(variables(worker)) == names
    for name, variable in variables(worker).items():
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "store", "key": name, "optional": True}
    assert not variables(head)


def test_google_reads_its_key_from_a_file(pods):
    head, worker = pods({"uri": "gs://models/chat"}, "store")
    assert (
        variables(worker)["GOOGLE_APPLICATION_CREDENTIALS"]["value"] == "/var/run/llama-operator/store/credentials.json"
    )
    (volume,) = (each for each in worker["spec"]["volumes"] if "secret" in each)
    assert volume["secret"]["secretName"] == "store"
    assert not any("secret" in each for each in head["spec"]["volumes"])


def test_another_store_than_amazons_is_reached_at_its_address(pods):
    _, worker = pods({"uri": "s3://models/chat", "endpoint": "http://minio:9000", "region": "us-east-1"})
    assert {name: each["value"] for name, each in variables(worker).items()} == {
        "AWS_ENDPOINT_URL_S3": "http://minio:9000",
        "RUNAI_STREAMER_S3_ENDPOINT": "http://minio:9000",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }


@pytest.mark.parametrize("uri", ["s3://models/chat", "s3://anonymous@models/chat", "gs://models/chat"])
def test_without_a_secret_pods_use_the_identity_of_their_account(pods, uri):
    _, worker = pods({"uri": uri})
    assert not variables(worker)
