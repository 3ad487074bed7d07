"""What teams write in `spec.pods`, with the field that is refused: judged alike by the operator and by the chart's policy."""

from llama_operator.decide.placement.platform_pods import PodRules

RULES = PodRules(
    fields=tuple(name for name in PodRules().fields if name != "hostAliases"),
    metadata_keys=("cluster-autoscaler.kubernetes.io/*", "ray.io/priority"),
    env=("ACME_*", "VLLM_*"),
    service_accounts=("weights-reader",),
    extended_resources=("rdma/*", "vpc.amazonaws.com/efa"),
)
VALUES = {
    "podRules": {name: value for name, value in RULES.to_api().items() if name != "serviceAccounts"},
    "admission": {"podServiceAccounts": ["weights-reader"]},
}
"""The same as values of the chart."""


def variable(name):
    return {"env": [{"name": name, "value": "1"}]}


ALLOWED = {
    "nothing": {},
    "empty": {"hostAliases": [], "labels": {}},
    "taint": {"tolerations": [{"key": "sku", "value": "gpu"}]},
    "spot": {"workers": {"nodeSelector": {"cloud.google.com/gke-spot": "true"}}},
    "label": {"labels": {"acme.example/cost": "7", "team": "a"}},
    "mesh": {"labels": {"sidecar.istio.io/inject": "true"}},
    "listed annotation": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}},
    "listed label": {"head": {"labels": {"ray.io/priority": "1"}}},
    "usual variable": variable("NCCL_SOCKET_IFNAME"),
    "listed variable": {"workers": variable("ACME_MODE")},
    "account": {"serviceAccountName": "weights-reader"},
    "device": {"workers": {"resources": {"extended": {"rdma/hca": 1}}}},
    "resources": {"head": {"resources": {"cpu": "1"}}},
}
REFUSED = {
    "field": ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub"]}]}, "hostAliases"),
    "scheduler": ({"schedulerName": "volcano"}, "schedulerName"),
    "label of Kubernetes": ({"labels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name"),
    "label of k8s.io": ({"workers": {"labels": {"k8s.io/x": "1"}}}, "k8s.io/x"),
    "annotation of ours": ({"annotations": {"llama-operator.io/license": "{}"}}, "llama-operator.io/license"),
    "label of Ray below the head": ({"head": {"labels": {"ray.io/cluster": "x"}}}, "ray.io/cluster"),
    "key": ({"labels": {"not a key": "1"}}, "not a key"),
    "key of a selector": ({"workers": {"nodeSelector": {"-x": "1"}}}, "-x"),
    "variable": (variable("ACCESS_KEY"), "ACCESS_KEY"),
    "variable of Ray": (variable("RAY_ADDRESS"), "RAY_ADDRESS"),
    "variable of vLLM though it is listed": ({"workers": variable("VLLM_PLUGINS")}, "VLLM_PLUGINS"),
    "variable of the Hub": ({"head": variable("HF_ENDPOINT")}, "HF_ENDPOINT"),
    "variable of Python": (variable("PYTHONPATH"), "PYTHONPATH"),
    "variable of the loader": (variable("LD_PRELOAD"), "LD_PRELOAD"),
    "plugin of NCCL": (variable("NCCL_NET_PLUGIN"), "NCCL_NET_PLUGIN"),
    "account": ({"serviceAccountName": "admin"}, "admin"),
    "device": ({"workers": {"resources": {"extended": {"nvidia.com/gpu": 8}}}}, "nvidia.com/gpu"),
}
