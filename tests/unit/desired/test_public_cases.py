"""Situations of public users and what their pods have to be: one row for each, with what they had."""

import json
from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.api.reasons import Reason
from llama_operator.decide.access_check import Subject
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.placement.platform_pods import PlatformPods, PodDefaults, PodRules
from llama_operator.desired import access_check, objects

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
ONE_NODE, TWO_NODES = "llama-3.3-70b-bf16-h100", "llama-3.1-405b-bf16-h100"
KINDS = ("head", "worker", "job")
AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def manifest(sample, team):
    written = yaml.safe_load((SAMPLES / f"{sample}.yaml").read_text(encoding="utf-8"))
    written["spec"]["pods"] = team
    return parse(written)


def pods(team=None, platform=None, sample=ONE_NODE):
    """Templates of head, worker and Job, and the whole cluster."""
    deployment = manifest(sample, team or {})
    defaults = PodDefaults.model_validate_json(json.dumps(platform or {}))
    platform_pods = PlatformPods(defaults, PodRules(service_accounts=("weights-reader",)))
    settings = Settings(pods=platform_pods)
    observed = Observed(deployment, acceptances=None, platform_pods=platform_pods)
    decision = decide(observed, catalog.load())
    assert decision.problem is None, decision.problem
    built = objects.build(observed, decision, settings).apply
    (service,) = [obj for obj in built if obj["kind"] == "RayService"]
    cluster = service["spec"]["rayClusterConfig"]
    job = access_check.build(deployment, Subject("r", "meta-llama/x", "main", None), 1, settings)
    return cluster, {
        "head": cluster["headGroupSpec"]["template"],
        "worker": cluster["workerGroupSpecs"][0]["template"],
        "job": job["spec"]["template"],
    }


def environment(template):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in template["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("sample", [ONE_NODE, TWO_NODES])
def test_c17_c18_every_container_is_restricted_on_any_number_of_nodes(sample):
    cluster, templates = pods(sample=sample)
    containers = [template["spec"]["containers"][0] for template in templates.values()]
    for container in (*containers, cluster["autoscalerOptions"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_c18_memory_is_locked_only_where_the_platform_asks_for_it():
    for sample, added in ((ONE_NODE, None), (TWO_NODES, ["IPC_LOCK"])):
        _, templates = pods(platform={"memoryLock": "Enabled"}, sample=sample)
        security = [templates[kind]["spec"]["containers"][0]["securityContext"]["capabilities"] for kind in KINDS]
        assert [each.get("add") for each in security] == [None, added, None]


REGISTRY = {"imagePullSecrets": [{"name": "registry"}]}


@pytest.mark.parametrize(("team", "platform"), [(REGISTRY, None), (None, REGISTRY)])
def test_c19_every_pod_pulls_with_the_secret(team, platform):
    _, templates = pods(team, platform)
    for kind in KINDS:
        assert templates[kind]["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_c21_a_pod_ends_after_ray_has_drained_its_node():
    _, templates = pods()
    for kind, seconds in (("head", 30), ("worker", 300)):
        assert environment(templates[kind])["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == str(seconds)
        assert templates[kind]["spec"]["terminationGracePeriodSeconds"] == seconds + 30


def test_c25_every_pod_runs_where_its_image_runs():
    _, templates = pods()
    for kind in KINDS:
        for term in templates[kind]["spec"]["affinity"]["nodeAffinity"][AFFINITY]["nodeSelectorTerms"]:
            assert {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]} in term["matchExpressions"]


def test_c27_a_user_whom_the_image_does_not_know_has_a_home():
    _, templates = pods()
    for kind in ("head", "worker"):
        spec, variables = templates[kind]["spec"], environment(templates[kind])
        (volume,) = [each["name"] for each in spec["volumes"] if "emptyDir" in each]
        (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == volume]
        assert not mount.get("readOnly")
        for name in ("HOME", "HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR"):
            assert variables[name].startswith(mount["mountPath"])
        assert variables["USER"], "an id without a name has no entry to ask for it"
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys()


def test_c30_gpus_by_a_runtime_class():
    _, templates = pods(platform={"workers": {"runtimeClassName": "nvidia"}})
    assert [templates[kind]["spec"].get("runtimeClassName") for kind in KINDS] == [None, "nvidia", None]


def test_c31_taints_of_pools_spot_and_a_head_without_a_gpu():
    spot = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    team = {"workers": {"tolerations": [spot]}, "head": {"nodeSelector": {"pool": "cpu"}}}
    everywhere = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
    _, templates = pods(team, {"tolerations": [everywhere]})
    assert everywhere in templates["head"]["spec"]["tolerations"], "a cluster where every node has the taint"
    assert spot not in templates["head"]["spec"]["tolerations"]
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert all(each in templates["worker"]["spec"]["tolerations"] for each in (gpu, spot, everywhere))
    assert templates["head"]["spec"]["nodeSelector"] == {"pool": "cpu"}
    assert "nodeSelector" not in templates["worker"]["spec"]


def test_a_taint_is_tolerated_once_and_only_as_long_as_somebody_says():
    leaving = {"key": "maintenance", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}
    _, templates = pods({"tolerations": [leaving]})
    for kind in KINDS:
        found = [each for each in templates[kind]["spec"]["tolerations"] if each["key"] == "maintenance"]
        assert found == [leaving]


def test_the_pods_for_an_arm64_card_ask_for_arm64_alone():
    written = yaml.safe_load((SAMPLES / f"{ONE_NODE}.yaml").read_text(encoding="utf-8"))
    written["spec"]["hardware"] = {"accelerator": "GH200-96GB"}
    written["spec"]["model"] = {"name": "llama-3.1-8b"}
    images = {"cuda-arm64": "acme/serving:arm64"}
    observed = Observed(parse(written), acceptances=None, platform_pods=PlatformPods(), images=images)
    decision = decide(observed, catalog.load())
    assert decision.problem is None, decision.problem
    built = objects.build(observed, decision, Settings(card_images=images)).apply
    (service,) = [obj for obj in built if obj["kind"] == "RayService"]
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        for term in group["template"]["spec"]["affinity"]["nodeAffinity"][AFFINITY]["nodeSelectorTerms"]:
            asked = [each["values"] for each in term["matchExpressions"] if each["key"] == "kubernetes.io/arch"]
            assert asked == [["arm64"]]


def test_requests_are_those_that_somebody_says():
    team = {
        "head": {"resources": {"cpu": "1", "memory": "4Gi"}},
        "workers": {"resources": {"cpu": "2500m", "ephemeralStorage": "400Gi"}},
    }
    _, templates = pods(team)
    amounts = {kind: templates[kind]["spec"]["containers"][0]["resources"]["requests"] for kind in KINDS}
    assert (amounts["head"]["cpu"], amounts["head"]["memory"]) == ("1", "4Gi")
    assert (amounts["worker"]["cpu"], amounts["worker"]["ephemeral-storage"]) == ("2500m", "400Gi")
    assert amounts["job"]["cpu"] == "100m"


def test_c33_devices_of_the_network_that_the_platform_lists():
    team = {"workers": {"resources": {"extended": {"rdma/hca": 1}}}}
    deployment = manifest(TWO_NODES, team)
    listed = PlatformPods(rules=PodRules(extended_resources=("rdma/*",)))
    observed = Observed(deployment, acceptances=None, platform_pods=listed)
    built = objects.build(observed, decide(observed, catalog.load()), Settings(pods=listed)).apply
    (service,) = [obj for obj in built if obj["kind"] == "RayService"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (limits["rdma/hca"], limits["nvidia.com/gpu"]) == ("1", "8")
    unlisted = Observed(deployment, acceptances=None, platform_pods=PlatformPods())
    assert "podRules.extendedResources" in decide(unlisted, catalog.load()).problem.text


def test_c32_variables_of_nccl_by_the_team_and_of_vllm_by_the_platform():
    attention = {"env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}]}
    _, templates = pods({"env": [{"name": "NCCL_SOCKET_IFNAME", "value": "eth0"}]}, attention)
    for kind in ("head", "worker"):
        assert environment(templates[kind])["NCCL_SOCKET_IFNAME"] == "eth0"
        assert environment(templates[kind])["VLLM_LOGGING_LEVEL"] == "DEBUG"
    deployment = manifest(ONE_NODE, attention)
    problem = decide(Observed(deployment, acceptances=None), catalog.load()).problem
    assert problem is not None
    assert problem.reason is Reason.POD_SETTING_NOT_ALLOWED
    assert "VLLM_LOGGING_LEVEL" in problem.text


def test_c33_a_second_network_for_replicas_over_nodes():
    team = {"workers": {"annotations": {"k8s.v1.cni.cncf.io/networks": "rdma"}}}
    _, templates = pods(team, sample=TWO_NODES)
    assert templates["worker"]["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] == "rdma"
    assert "k8s.v1.cni.cncf.io/networks" not in templates["head"]["metadata"]["annotations"]


def test_c34_no_mesh_in_between_and_what_others_look_for():
    _, templates = pods({"labels": {"acme.example/cost": "7"}})
    for kind in KINDS:
        metadata = templates[kind]["metadata"]
        assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
        assert metadata["annotations"]["linkerd.io/inject"] == "disabled"
        assert metadata["labels"]["acme.example/cost"] == "7"
    _, templates = pods(platform={"labels": {"sidecar.istio.io/inject": "true"}})
    assert templates["worker"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


def test_c36_the_account_and_the_address_of_an_object_store():
    team = {
        "serviceAccountName": "weights-reader",
        "labels": {"azure.workload.identity/use": "true"},
        "env": [{"name": "AWS_REGION", "value": "eu-central-1"}],
    }
    platform = {"env": [{"name": "AWS_ENDPOINT_URL", "value": "https://minio.acme.example"}]}
    _, templates = pods(team, platform)
    assert [templates[kind]["spec"].get("serviceAccountName") for kind in KINDS] == [
        None,
        "weights-reader",
        "weights-reader",
    ]
    worker = environment(templates["worker"])
    assert (worker["AWS_REGION"], worker["AWS_ENDPOINT_URL"]) == ("eu-central-1", "https://minio.acme.example")


def test_c37_a_proxy_and_an_authority_of_ones_own():
    company = {
        "proxy": {"url": "http://proxy.acme.example:3128", "noProxy": [".acme.example"]},
        "caBundle": {"configMap": "acme-ca"},
    }
    _, templates = pods(platform=company)
    for kind in KINDS:
        variables = environment(templates[kind])
        assert variables["HTTPS_PROXY"] == "http://proxy.acme.example:3128"
        assert variables["SSL_CERT_FILE"].endswith("/ca.crt")
        # KubeRay's probes ask for localhost by programs that read the small spelling alone.
        assert "localhost" in variables["no_proxy"].split(",")


def test_c52_nodes_are_not_tidied_up_under_a_model():
    _, templates = pods()
    for kind in ("head", "worker"):
        annotations = templates[kind]["metadata"]["annotations"]
        assert annotations["karpenter.sh/do-not-disrupt"] == "true"
        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
