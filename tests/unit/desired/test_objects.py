"""What the builders make of a decision, beyond what the golden files show."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.v1alpha1.llamadeployment import EngineArguments
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects

KNOWN = catalog.load()


def built(spec, name="chat", settings_=Settings()):  # noqa: B008 - frozen
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": name, "namespace": "team-a", "uid": "u-1"},
        "spec": spec,
    }
    observed = Observed(parse(obj), acceptances=None)
    return objects.build(observed, decide(observed, KNOWN), settings_)


def ray_service(spec, **kwargs):
    return next(obj for obj in built(spec, **kwargs).apply if obj["kind"] == "RayService")


def serve(spec, **kwargs):
    return yaml.safe_load(ray_service(spec, **kwargs)["spec"]["serveConfigV2"])["applications"][0]


TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}}
BIG = {
    "model": {"name": "llama-3.1-405b", "precision": "BF16"},
    "context": {"maxModelLength": 8192},
    "hardware": {"accelerator": "H100-80GB"},
    "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
}


def test_everything_belongs_to_the_deployment():
    for obj in built(TINY).apply:
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("LlamaDeployment", "u-1", True)


def test_live_settings_stand_in_the_override_alone():
    few, many = serve(TINY | {"scaling": {"maxReplicas": 1}}), serve(TINY | {"scaling": {"maxReplicas": 9}})
    assert few["args"] == many["args"]
    assert few["deployments"] != many["deployments"]
    assert (
        few["deployments"][0]["autoscaling_config"]["policy"] == many["deployments"][0]["autoscaling_config"]["policy"]
    )


ARGUMENTS = {
    "maxNumSeqs": 3,
    "maxNumBatchedTokens": 4096,
    "graphs": "Eager",
    "prefixCaching": "Disabled",
    "loadFormat": "RunaiStreamer",
    "seed": 7,
}


@pytest.mark.parametrize("name", [field.alias for field in EngineArguments.model_fields.values()])
def test_an_argument_of_the_engine_reaches_it(name):
    engine = {"arguments": {name: ARGUMENTS[name]}}
    assert serve(BIG | {"engine": engine})["args"]["engine"] != serve(BIG)["args"]["engine"]


def test_pods_of_a_replica_over_nodes_come_and_go_together_and_bounds_count_replicas():
    (group,) = ray_service(BIG | {"scaling": {"minReplicas": 2, "maxReplicas": 3}})["spec"]["rayClusterConfig"][
        "workerGroupSpecs"
    ]
    assert (group["minReplicas"], group["maxReplicas"], group["numOfHosts"]) == (2, 3, 2)
    (small,) = ray_service(TINY)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert "numOfHosts" not in small


def test_a_replica_over_nodes_takes_whole_nodes():
    (group,) = ray_service(BIG)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert serve(BIG)["args"]["placement"]["strategy"] == "PACK"


def test_the_head_takes_no_gpu():
    cluster = ray_service(BIG)["spec"]["rayClusterConfig"]
    (container,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_a_service_account_token_is_mounted_on_the_head_alone():
    cluster = ray_service(TINY)["spec"]["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["template"]["spec"]["automountServiceAccountToken"] is False


def test_weights_on_disk_override_the_source():
    source = serve(TINY, settings_=Settings(weights_path="/weights"))["args"]["source"]
    assert source == {"kind": "Path", "location": "/weights"}


def test_weights_on_disk_have_to_be_those_of_the_model_and_generated_ones_need_no_check():
    assert "contents" not in serve(TINY)["args"]
    declared = serve(TINY, settings_=Settings(weights_path="/weights"))["args"]["contents"]
    assert (declared["declared_by"], declared["sizes"]["num_hidden_layers"]) == ("the catalog's tiny-random-llama", [2])


def test_no_pickles_are_loaded_whatever_the_load_format():
    formats = {
        name: serve(TINY | {"engine": {"arguments": {"loadFormat": name}}})["args"]["engine"]["load_format"]
        for name in ("Auto", "Safetensors", "RunaiStreamer", "Fastsafetensors")
    }
    # Of vLLM's formats, these read safetensors only.
    assert set(formats.values()) == {"safetensors", "runai_streamer", "fastsafetensors"}
    assert serve(TINY)["args"]["engine"]["load_format"] == "safetensors"


def test_a_model_of_the_catalog_is_downloaded_at_its_commit():
    source = serve(BIG | {"model": {"name": "llama-3.1-8b", "precision": "BF16"}})["args"]["source"]
    assert source["revision"] == KNOWN.model("llama-3.1-8b").default_variant("BF16").revision
    assert len(source["revision"]) == 40


def test_a_derivative_is_served_under_the_name_that_its_license_asks_for():
    spec = BIG | {"model": {"name": "meditron3-70b"}}
    assert serve(spec)["args"]["model_id"].startswith("Llama")


def test_a_named_image_is_used_for_all_pods():
    cluster = ray_service(TINY | {"image": "registry.example/llama:7"})["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert {c["image"] for g in groups for c in g["template"]["spec"]["containers"]} == {"registry.example/llama:7"}


def test_a_problem_builds_nothing():
    assert built(TINY | {"context": {"maxModelLength": 9999}}) == objects.Desired()


def test_suspended_keeps_the_service_and_no_cluster():
    kinds = [obj["kind"] for obj in built(TINY | {"activation": "Suspended"}).apply]
    assert kinds == ["NetworkPolicy", "NetworkPolicy", "Service"]


PORTS = {6379, 8265, 10001, 52365}


@settings(max_examples=120, deadline=None)
@given(
    name=st.from_regex(r"[a-z][a-z0-9-]{0,36}[a-z0-9]", fullmatch=True),
    model=st.sampled_from([m.id for m in KNOWN.models]),
    accelerator=st.sampled_from(KNOWN.accelerator_names),
    low=st.integers(0, 4),
    extra=st.integers(0, 4),
    seqs=st.integers(1, 64),
)
def test_no_manifest_opens_rays_ports_or_makes_a_name_too_long(name, model, accelerator, low, extra, seqs):
    spec = {
        "model": {"name": model},
        "context": {"maxModelLength": 2048, "concurrentSequences": seqs},
        "hardware": {"accelerator": accelerator},
        "scaling": {"minReplicas": low, "maxReplicas": max(1, low + extra)},
        "license": {"acceptance": "acme", "purpose": "NonCommercialResearch"},
    }
    found = built(spec, name=name)
    for obj in found.apply:
        assert len(obj["metadata"]["name"]) <= 47
        json.dumps(obj)
        if obj["kind"] == "RayService":
            cluster = obj["spec"]["rayClusterConfig"]
            assert cluster["authOptions"] == {"mode": "token"}
            assert "serviceType" not in cluster["headGroupSpec"]
        if obj["kind"] == "Service":
            assert obj["spec"]["type"] == "ClusterIP"
            assert not PORTS & {port["targetPort"] for port in obj["spec"]["ports"]}
        if obj["kind"] == "NetworkPolicy":
            for rule in obj["spec"].get("ingress", ()):
                if "from" not in rule:
                    assert not PORTS & {port["port"] for port in rule["ports"]}


def test_only_the_autoscaler_gets_the_service_account_of_the_head():
    """KubeRay gives it the right to patch every pod of the namespace: code that answers requests must not have it."""
    (service,) = [obj for obj in built(BIG).apply if obj["kind"] == "RayService"]
    cluster = service["spec"]["rayClusterConfig"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert head["automountServiceAccountToken"] is False
    (volume,) = [each for each in head["volumes"] if "projected" in each]
    assert not any(
        mount["name"] == volume["name"] for each in head["containers"] for mount in each.get("volumeMounts", ())
    )
    (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert cluster["autoscalerOptions"]["securityContext"] == head["containers"][0]["securityContext"]


@pytest.mark.parametrize("field", ["token", "password", "secret"])
def test_no_object_carries_a_credential(field):
    text = json.dumps([dict(obj) for obj in built(BIG).apply]).lower()
    allowed = text.replace('"authoptions": {"mode": "token"}', "").replace("automountserviceaccounttoken", "")
    # Where the kubelet puts the token of a service account, for the autoscaler: names and no token.
    allowed = allowed.replace('{"serviceaccounttoken": {"path": "token"}}', "").replace("/var/run/secrets/", "")
    for figure in ("kvcachetokens", "timetofirsttokenms", "timeperoutputtokenus"):
        allowed = allowed.replace(figure, "")
    assert field not in allowed.replace("tokenizers_parallelism", "").replace("max_num_batched_tokens", "")
