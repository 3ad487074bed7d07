"""Who reaches which port of a Ray pod, and what a Ray pod reaches: the NetworkPolicies, read as a network plugin reads them."""

import ipaddress
from dataclasses import replace

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import network, objects
from llama_operator.observe import children

HTTP, RAY_METRICS, HAPROXY_METRICS, HAPROXY_PAGE, REPLICA, DASHBOARD, GCS = 8000, 8080, 9101, 8404, 30_000, 8265, 6379
ALL = {HTTP, RAY_METRICS, HAPROXY_METRICS, HAPROXY_PAGE, REPLICA, DASHBOARD, GCS}
NAME = "kubernetes.io/metadata.name"
OWN = ({NAME: "team-a"}, {"llama-operator.io/deployment": "chat"})
NEIGHBOUR = ({NAME: "team-a"}, {"llama-operator.io/deployment": "other"})
KUBERAY = ({NAME: "kuberay-system"}, {"app.kubernetes.io/name": "kuberay-operator"})
OPERATOR = ({NAME: "llama-system"}, {"app.kubernetes.io/name": "llama-operator"})
PROMETHEUS = ({NAME: "monitoring"}, {"app": "prometheus"})
GATEWAY = ({NAME: "ingress"}, {"app": "nginx"})
STRANGER = ({NAME: "elsewhere"}, {"app": "client"})
EXPOSED = {"endpoint": {"expose": {"hosts": ["llama.acme.example"], "ingress": {}}}}
HOUSE = Settings(monitoring_namespaces=("monitoring",), operator_namespace="llama-system")
KNOWN = catalog.load()


def deployment(**spec):
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
            "spec": {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}} | spec,
        }
    )


def ingress(settings=HOUSE, **spec):
    return network.policies(deployment(**spec), settings, ())[0]["spec"]


def reaches(rules, side, peer, port, protocol="TCP"):
    """Whether a rule opens a port for a peer: a pod, by the labels of its namespace and its own, or an address."""
    return any(_has(rule, protocol, port) and _is_about(rule, side, peer) for rule in rules)


def _has(rule, protocol, port):
    return "ports" not in rule or any((one["protocol"], one["port"]) == (protocol, port) for one in rule["ports"])


def _is_about(rule, side, peer):
    # Without peers a rule is about everybody.
    return side not in rule or any(_selects(one, peer) for one in rule[side])


def _selects(one, peer):
    if isinstance(peer, str):
        return "ipBlock" in one and _within(one["ipBlock"], ipaddress.ip_address(peer))
    if "ipBlock" in one:
        return False
    namespace, pod = peer
    # Without a selector of namespaces only the policy's own is meant.
    of_namespace = (
        _fits(one["namespaceSelector"], namespace) if "namespaceSelector" in one else namespace[NAME] == "team-a"
    )
    return of_namespace and ("podSelector" not in one or _fits(one["podSelector"], pod))


def _within(block, address):
    nets = (ipaddress.ip_network(one) for one in block.get("except", ()))
    return address in ipaddress.ip_network(block["cidr"]) and not any(address in net for net in nets)


def _fits(selector, labels):
    return selector.get("matchLabels", {}).items() <= labels.items()


def opened(spec, peer):
    return {port for port in ALL if reaches(spec["ingress"], "from", peer, port)}


@pytest.mark.parametrize(
    ("peer", "ports"),
    [
        (OWN, ALL),
        (NEIGHBOUR, {HTTP}),
        (KUBERAY, {HTTP, DASHBOARD}),
        (OPERATOR, {HTTP}),
        (PROMETHEUS, {RAY_METRICS, HAPROXY_METRICS}),
        (GATEWAY, set()),
        (STRANGER, set()),
        ("10.1.2.3", set()),
    ],
    ids=["own pod", "own namespace", "KubeRay", "operator", "monitoring", "gateway", "stranger", "address"],
)
def test_who_reaches_what(peer, ports):
    assert opened(ingress(), peer) == ports


@pytest.mark.parametrize(
    ("named", "peer", "ports"),
    [
        ({"namespace": "elsewhere"}, STRANGER, {HTTP}),
        ({"namespace": "elsewhere"}, GATEWAY, set()),
        ({"namespace": "elsewhere", "podLabels": {"app": "client"}}, STRANGER, {HTTP}),
        ({"namespace": "elsewhere", "podLabels": {"app": "other"}}, STRANGER, set()),
        ({"cidr": "10.1.0.0/16"}, "10.1.2.3", {HTTP}),
        ({"cidr": "10.1.0.0/16"}, "10.2.2.3", set()),
        ({"cidr": "10.1.0.0/16"}, STRANGER, set()),
    ],
    ids=lambda value: "" if isinstance(value, (set, tuple)) else str(value),
)
def test_whom_the_spec_names_gets_as_far_as_the_door(named, peer, ports):
    assert opened(ingress(access={"from": [named]}), peer) == ports


def test_gateways_reach_what_is_exposed_and_nothing_else():
    house = replace(HOUSE, gateway_namespaces=("ingress",))
    assert opened(ingress(house), GATEWAY) == set()
    assert opened(ingress(house, **EXPOSED), GATEWAY) == {HTTP}
    assert opened(ingress(house, **EXPOSED), STRANGER) == set()


def test_what_is_exposed_stays_open_where_nobody_says_where_the_gateways_are():
    """An upgrade would else close the way in from outside."""
    spec = ingress(**EXPOSED)
    assert opened(spec, STRANGER) == opened(spec, "203.0.113.7") == {HTTP}


def test_without_a_namespace_of_monitoring_nobody_outside_reads_metrics():
    spec = ingress(Settings())
    for peer in (PROMETHEUS, STRANGER, KUBERAY, NEIGHBOUR):
        assert not opened(spec, peer) & {RAY_METRICS, HAPROXY_METRICS}
    assert all(rule.get("from") != [] for rule in spec["ingress"]), "no peers would be all peers"


def pinned(spec, settings=HOUSE, **facts):
    obj = deployment(**spec)
    observed = Observed(obj, acceptances=None, **facts)
    built = objects.build(observed, decide(observed, KNOWN), settings)
    return obj, children.revision_facts(next(one for one in built.apply if one["kind"] == "ControllerRevision"))


def egress(spec, settings=HOUSE, **facts):
    obj, record = pinned(spec, settings, **facts)
    policy, head = network.policies(obj, settings, (record,))
    return policy["spec"]["egress"], head["spec"]["egress"]


WORLD, METADATA, SERVICE = "203.0.113.7", "169.254.169.254", ({NAME: "data"}, {"app": "minio"})


def test_pods_reach_each_other_names_and_https_and_nobody_else():
    rules, _ = egress({})
    assert reaches(rules, "to", OWN, REPLICA)
    assert all(reaches(rules, "to", METADATA, 53, protocol) for protocol in ("TCP", "UDP")), "a cache on the node"
    assert reaches(rules, "to", WORLD, 443)
    for peer, port in ((NEIGHBOUR, HTTP), (SERVICE, 9000), (METADATA, 80), (WORLD, 80), (WORLD, 22), (WORLD, 6443)):
        assert not reaches(rules, "to", peer, port), (peer, port)


def test_only_the_head_reaches_the_api_server_on_a_port_of_its_own():
    rules, head = egress({}, replace(HOUSE, api_server_ports=(7443,)))
    assert not reaches(rules, "to", WORLD, 7443)
    assert reaches(head, "to", WORLD, 7443)
    assert not reaches(head, "to", WORLD, 80)


@pytest.mark.parametrize(
    ("spec", "settings", "port"),
    [
        ({}, {"hub_endpoint": "http://hub.acme.example:8081/mirror"}, 8081),
        ({"pods": {"proxy": {"url": "http://proxy.acme.example:3128"}}}, {}, 3128),
        ({"pods": {"env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.obs:4318"}]}}, {}, 4318),
        ({"pods": {"env": [{"name": "AWS_ENDPOINT_URL_S3", "value": "http://[fd00::7]:9000/"}]}}, {}, 9000),
        ({"usageStore": {"address": "valkey.data.svc:6380", "tls": "Disabled"}, "access": {"mode": "Keys"}}, {}, 6380),
        ({"headStore": {"address": "redis.data.svc:6381"}}, {}, 6381),
        ({"headStore": {"address": "redis.data.svc:6382", "tls": {"authority": {"configMap": "ca"}}}}, {}, 6382),
    ],
    ids=["mirror", "proxy", "traces", "object store", "ledger", "store of the head", "encrypted store of the head"],
)
def test_the_ports_of_what_pods_were_told_of_are_open_for_pods_and_addresses(spec, settings, port):
    rules, _ = egress(spec, replace(HOUSE, **settings))
    assert reaches(rules, "to", WORLD, port)
    assert reaches(rules, "to", SERVICE, port)


def test_plain_http_opens_no_way_to_what_a_node_tells_of_itself():
    rules, _ = egress({}, replace(HOUSE, hub_endpoint="http://hub.acme.example"))
    assert reaches(rules, "to", WORLD, 80)
    assert reaches(rules, "to", SERVICE, 80)
    assert not any(reaches(rules, "to", address, 80) for address in (METADATA, "fd00:ec2::254", "fe80::1"))


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", set()),
        ("plain words and 127.0.0.1:80", set()),
        ("http://a:99999", set()),
        ("http://a:0", set()),
        ("ftp://a", set()),
        ("http://a,https://b:8443 grpc://c", {80, 8443, 4317}),
        ("HTTPS://A/path?x=http://b:5", {443}),
        ("redis://:secret@db:7000/0", {7000}),
    ],
)
def test_only_addresses_are_read_out_of_a_text(text, ports):
    _, record = pinned({})
    group = record.cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    container = group | {"env": [{"name": "X", "value": text}]}
    head = {"template": {"spec": {"containers": [container]}}}
    changed = replace(record, cluster={"headGroupSpec": head, "workerGroupSpecs": []})
    policy, _ = network.policies(deployment(), HOUSE, (changed,))
    tcp = {
        port["port"] for rule in policy["spec"]["egress"] for port in rule.get("ports", ()) if port["protocol"] == "TCP"
    }
    assert tcp == {53, 5353, 443} | ports


@pytest.mark.parametrize("broken", [{}, {"template": None}, {"template": {"spec": {"containers": [1, {"env": "x"}]}}}])
def test_a_record_that_is_damaged_stops_no_policy(broken):
    _, record = pinned({})
    changed = replace(record, cluster={"headGroupSpec": broken, "workerGroupSpecs": []}, serve_config={})
    assert len(network.policies(deployment(), HOUSE, (changed,))) == 2


def test_a_platform_may_leave_what_pods_reach_to_others():
    (policy,) = network.policies(deployment(), replace(HOUSE, bounds_egress=False), ())
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "egress" not in policy["spec"]


@pytest.mark.parametrize(
    ("kind", "variables", "open_"),
    [
        ("ObjectStore", [], True),
        ("ObjectStore", [{"name": "AWS_ACCESS_KEY_ID", "valueFrom": {}}], False),
        ("HuggingFace", [], False),
    ],
    ids=["as who they are", "with a Secret", "from the Hub"],
)
def test_only_pods_that_read_a_store_as_who_they_are_ask_their_node_for_credentials(kind, variables, open_):
    _, record = pinned({})
    (application, *others) = record.serve_config["applications"]
    application = application | {
        "args": application["args"] | {"source": {"kind": kind, "location": "s3://acme/llama"}}
    }
    worker = {"groupName": "cpu", "template": {"spec": {"containers": [{"env": variables}]}}}
    changed = replace(
        record,
        serve_config=record.serve_config | {"applications": [application, *others]},
        cluster=record.cluster | {"workerGroupSpecs": [worker]},
    )
    policy, _ = network.policies(deployment(), HOUSE, (changed,))
    rules = policy["spec"]["egress"]
    assert all(reaches(rules, "to", address, 80) == open_ for address in (METADATA, "169.254.170.23", "fd00:ec2::23"))
    assert reaches(rules, "to", "169.254.169.252", 988) == open_
    assert not reaches(rules, "to", WORLD, 80)
