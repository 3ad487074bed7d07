"""What settings make of a pod, and what they cannot make of it."""

import json

import kubernetes_validate

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.decide.placement.platform_pods import PlatformPods, PodDefaults
from llama_operator.decide.placement.resolve import resolve
from llama_operator.desired.pods import caches, pod_settings
from llama_operator.desired.pods.parts import RESTRICTED, PodParts

SAME = pod_settings.peers("chat-1", "worker")
EXPRESSION = {"key": "zone", "operator": "In", "values": ["a"]}
EVERYTHING = {
    "labels": {"acme.example/cost": "7"},
    "annotations": {"acme.example/note": "a b"},
    "nodeSelector": {"pool": "gold"},
    "tolerations": [{"key": "sku", "value": "gpu", "effect": "NoExecute", "tolerationSeconds": 60}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [EXPRESSION]}]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [EXPRESSION]}}
            ],
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]},
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 5,
                    "podAffinityTerm": {"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "x"}}},
                }
            ]
        },
    },
    "topologySpreadConstraints": [{"topologyKey": "zone"}],
    "priorityClassName": "models",
    "runtimeClassName": "nvidia",
    "schedulerName": "volcano",
    "serviceAccountName": "reader",
    "imagePullSecrets": [{"name": "registry"}],
    "env": [
        {"name": "NCCL_DEBUG", "value": "INFO"},
        {"name": "NCCL_SOCKET_IFNAME", "valueFrom": {"configMapKeyRef": {"name": "net", "key": "interface"}}},
    ],
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub.acme.example"]}],
    "caBundle": {"configMap": "acme-ca"},
    "proxy": {"url": "http://proxy.acme.example:3128", "noProxy": [".acme.example"]},
}


def pod_of(team=None, platform=None, parts=None, *, spans_nodes=False):
    written = {"model": {"name": "llama-3.1-8b"}, "pods": team or {}}
    spec = LlamaDeploymentSpec.model_validate_json(json.dumps(written))
    defaults = PodDefaults.model_validate_json(json.dumps(platform or {}))
    wanted = resolve(spec, PlatformPods(defaults)).workers
    total = RESTRICTED + pod_settings.over(parts or PodParts(), wanted, SAME, spans_nodes=spans_nodes)
    return {"apiVersion": "v1", "kind": "Pod"} | total.template({"name": "ray", "image": "x"})


def environment(pod):
    return {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}


def test_kubernetes_takes_all_of_it():
    pod = pod_of(EVERYTHING)
    pod["metadata"]["name"] = "x"
    kubernetes_validate.validate(pod, "1.37", strict=True)
    spec = pod["spec"]
    assert spec["tolerations"] == [
        {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoExecute", "tolerationSeconds": 60}
    ]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert EXPRESSION in term["matchExpressions"]
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("models", "nvidia")
    assert (spec["schedulerName"], spec["serviceAccountName"]) == ("volcano", "reader")
    assert spec["hostAliases"] == [{"ip": "10.0.0.1", "hostnames": ["hub.acme.example"]}]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_terms_over_pods_mean_the_pods_of_the_same_revision_and_role_unless_they_say_others():
    spec = pod_of(EVERYTHING)["spec"]
    (near,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["labelSelector"] == {"matchLabels": SAME}
    assert spec["topologySpreadConstraints"][0]["labelSelector"] == {"matchLabels": SAME}
    (away,) = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert away["podAffinityTerm"]["labelSelector"] == {"matchLabels": {"app": "x"}}


def test_the_builders_keep_their_security_and_their_labels():
    parts = PodParts(labels={"llama-operator.io/revision": "chat-1"})
    pod = pod_of(None, {"labels": {"llama-operator.io/revision": "other"}}, parts)
    assert pod["metadata"]["labels"]["llama-operator.io/revision"] == "chat-1"
    security = pod_of(EVERYTHING)["spec"]["containers"][0]["securityContext"]
    assert security == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_of_a_variable_the_setting_counts():
    """A platform that keeps caches on a volume of its own says where."""
    pod = pod_of(None, {"env": [{"name": "HF_HOME", "value": "/data/hf"}]}, caches.in_pod())
    assert environment(pod)["HF_HOME"] == "/data/hf"
    assert environment(pod)["HOME"] == caches.HOME


def test_certificates_are_a_file_that_every_library_is_told_of():
    pod = pod_of(EVERYTHING)
    (mount,) = [each for each in pod["spec"]["containers"][0]["volumeMounts"] if each["name"] == "ca-bundle"]
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "ca-bundle"]
    assert volume["configMap"] == {"name": "acme-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
        assert environment(pod)[name] == f"{mount['mountPath']}/ca.crt"


def test_pods_reach_each_other_without_the_proxy():
    variables = environment(pod_of(EVERYTHING))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        assert variables[name] == "http://proxy.acme.example:3128"
    for name in ("NO_PROXY", "no_proxy"):
        assert {"localhost", ".svc", ".cluster.local", "10.0.0.0/8", ".acme.example"} <= set(variables[name].split(","))


def test_memory_is_locked_in_replicas_over_nodes_and_only_if_the_platform_says_so():
    enabled = {"memoryLock": "Enabled"}
    kept = [
        pod_of(None, platform, spans_nodes=spans)["spec"]["containers"][0]["securityContext"]["capabilities"].get("add")
        for platform in ({}, enabled)
        for spans in (False, True)
    ]
    assert kept == [None, None, None, ["IPC_LOCK"]]
