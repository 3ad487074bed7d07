"""Who reaches which port of a Ray pod: the NetworkPolicy, read as a network plugin reads it."""

import json

import pytest

from llama_operator.api.manifest import parse
from llama_operator.decide.observed import Settings
from llama_operator.desired.network import network_policy

HTTP, RAY_METRICS, HAPROXY_METRICS, HAPROXY_PAGE, REPLICA, DASHBOARD, GCS = 8000, 8080, 9101, 8404, 30_000, 8265, 6379
OWN = ({"kubernetes.io/metadata.name": "team-a"}, {"llama-operator.io/deployment": "chat"})
NEIGHBOUR = ({"kubernetes.io/metadata.name": "team-a"}, {"llama-operator.io/deployment": "other"})
KUBERAY = ({"kubernetes.io/metadata.name": "kuberay-system"}, {"app.kubernetes.io/name": "kuberay-operator"})
PROMETHEUS = ({"kubernetes.io/metadata.name": "monitoring"}, {"app": "prometheus"})
STRANGER = ({"kubernetes.io/metadata.name": "elsewhere"}, {"app": "client"})


def policy(*monitoring):
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": {"model": {"name": "tiny-random-llama"}},
    }
    return network_policy(parse(json.loads(json.dumps(obj))), Settings(monitoring_namespaces=monitoring))["spec"]


def reaches(spec, peer, port):
    """Whether a pod, by the labels of its namespace and its own, reaches a port."""
    return any(
        any(each["port"] == port for each in rule.get("ports", [{"port": port}]))
        and ("from" not in rule or any(selects(one, *peer) for one in rule["from"]))
        for rule in spec["ingress"]
    )


def selects(one, namespace, pod):
    # Without a selector of namespaces only the policy's own is meant.
    here = namespace["kubernetes.io/metadata.name"] == "team-a"
    of_namespace = fits(one["namespaceSelector"], namespace) if "namespaceSelector" in one else here
    return of_namespace and ("podSelector" not in one or fits(one["podSelector"], pod))


def fits(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("peer", "ports"),
    [
        (OWN, {HTTP, RAY_METRICS, HAPROXY_METRICS, HAPROXY_PAGE, REPLICA, DASHBOARD, GCS}),
        (NEIGHBOUR, {HTTP, RAY_METRICS}),
        (KUBERAY, {HTTP, RAY_METRICS, DASHBOARD}),
        (PROMETHEUS, {HTTP, RAY_METRICS, HAPROXY_METRICS}),
        (STRANGER, {HTTP, RAY_METRICS}),
    ],
    ids=["own pod", "pod of another deployment", "KubeRay", "monitoring", "stranger"],
)
def test_who_reaches_what(peer, ports):
    asked = {HTTP, RAY_METRICS, HAPROXY_METRICS, HAPROXY_PAGE, REPLICA, DASHBOARD, GCS}
    assert {port for port in asked if reaches(policy("monitoring"), peer, port)} == ports


def test_without_a_namespace_of_monitoring_nobody_outside_reads_the_metrics_of_haproxy():
    spec = policy()
    assert not any(reaches(spec, peer, HAPROXY_METRICS) for peer in (PROMETHEUS, STRANGER, KUBERAY, NEIGHBOUR))
    assert all(rule.get("from") != [] for rule in spec["ingress"]), "no peers would be all peers"


def test_another_namespace_of_monitoring_takes_the_place_of_the_usual_one():
    spec = policy("elsewhere", "agents")
    assert reaches(spec, STRANGER, HAPROXY_METRICS)
    assert not reaches(spec, PROMETHEUS, HAPROXY_METRICS)
