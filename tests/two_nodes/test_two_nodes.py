"""What a cluster does to pods, on real kubelets: who gets in, what gets out, a head that is killed, a node that is drained."""

import collections
import json

import pytest

pytestmark = [pytest.mark.two_nodes, pytest.mark.timeout(4800)]

NAME, MODEL = "tiny", "tiny-random-llama"
URL = f"http://{NAME}.default.svc:8000"
SERVE, RAY_METRICS, HAPROXY_METRICS, DASHBOARD, GCS = 8000, 8080, 9101, 8265, 6379
OF_REPLICAS = range(30000, 31001)
GETS_IN = {
    "own": {SERVE},
    "named": {SERVE},
    "not-named": set(),
    "stranger": set(),
    "stranger-with-labels": set(),
    "prometheus": {RAY_METRICS, HAPROXY_METRICS},
    "kuberay": {SERVE, DASHBOARD},
    "not-kuberay": set(),
}
PATIENCE = 900
TOKENS = 600


def pods(cluster, kind):
    """Pods of the deployment that nobody deletes."""
    found = cluster.items("pods", f"ray.io/node-type={kind}")
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def uids(found):
    return {one["metadata"]["uid"] for one in found}


def ready(found):
    return [
        one
        for one in found
        if any(each["type"] == "Ready" and each["status"] == "True" for each in one["status"].get("conditions", ()))
    ]


def engines(peer):
    """Replicas that report, by their names; a new one is a new process."""
    return set(peer.run("engines", URL))


def ends(said):
    return collections.Counter(one["end"] for one in said)


@pytest.fixture(scope="module")
def doors(serving, inside):
    """Every address of the head and of a worker where something listens that is not on the loopback, by kind and port."""
    found = {}
    for kind in ("head", "worker"):
        (pod,) = pods(serving, kind)
        found[kind] = {port: f"{pod['status']['podIP']}:{port}" for port in inside(pod).run("listens")}
    return found


def test_only_who_is_meant_reaches_a_port(serving, peers, doors, inside):
    everywhere = [where for ports in doors.values() for where in ports.values()]
    assert {SERVE, RAY_METRICS, DASHBOARD} <= doors["head"].keys()
    assert {SERVE, RAY_METRICS, HAPROXY_METRICS} <= doors["worker"].keys()
    assert set(OF_REPLICAS) & doors["worker"].keys(), "a replica listens on a port of its own"
    got_in = {name: peers[name].run("knock", *everywhere) for name in GETS_IN}
    assert {name: {int(where.rpartition(":")[2]) for where in got} for name, got in got_in.items()} == GETS_IN
    # Pods of the deployment reach each other: Ray's own ports, and those of its replicas.
    (head,), (worker,) = pods(serving, "head"), pods(serving, "worker")
    of_replicas = {where for port, where in doors["worker"].items() if port in OF_REPLICAS}
    assert of_replicas <= set(inside(head).run("knock", *of_replicas))
    of_head = {doors["head"][GCS], doors["head"][DASHBOARD]}
    assert of_head <= set(inside(worker).run("knock", *of_head))


def test_the_dashboard_asks_for_a_token(peers, doors):
    said = peers["kuberay"].run("status", f"http://{doors['head'][DASHBOARD]}/api/serve/applications/")
    assert said == 401


def test_pods_reach_what_they_need_and_nothing_else(serving, cluster, peers, inside):
    (worker,), (head,) = pods(serving, "worker"), pods(serving, "head")
    stranger = json.loads(cluster.kubectl("get", "pod", "stranger", "-n", "stranger", "--output", "json").stdout)
    store = cluster.json("pod", "store")
    away = f"{stranger['status']['podIP']}:9999"
    api = "10.96.0.1:443"
    for pod, reached in (
        (worker, {f"{store['status']['podIP']}:6379"}),
        (head, {f"{store['status']['podIP']}:6379", api}),
    ):
        tried = [away, api, f"{store['status']['podIP']}:6379"]
        assert set(inside(pod).run("knock", *tried)) == reached
    assert peers["own"].run("knock", away) == [away], "somebody listens there"


def test_a_killed_head_ends_nothing_that_runs_on_a_worker(serving, cluster, peers):
    before, engine = uids(pods(serving, "worker")), engines(peers["own"])
    old = uids(pods(serving, "head"))
    (worker,) = pods(serving, "worker")
    with (
        peers["own"].asking(f"http://{worker['status']['podIP']}:8000", MODEL, 2, TOKENS) as at_the_worker,
        peers["named"].asking(URL, MODEL, 2, TOKENS) as at_the_service,
    ):
        (head,) = pods(serving, "head")
        cluster.kubectl("delete", "pod", head["metadata"]["name"], "-n", "default", "--force", "--grace-period=0")
        cluster.until(
            lambda: ready(pods(serving, "head")) and not uids(pods(serving, "head")) & old,
            seconds=PATIENCE,
            what="another head",
        )
        cluster.until(lambda: cluster.is_ready(NAME), seconds=PATIENCE, what="the deployment to be Ready")
        cluster.until(lambda: engines(peers["own"]), seconds=PATIENCE, what="what the new head knows")
    print(f"at the worker: {ends(at_the_worker)}; at the Service: {ends(at_the_service)}")
    assert ends(at_the_worker).keys() == {"done"}
    assert uids(pods(serving, "worker")) == before, "no worker was replaced"
    assert engines(peers["own"]) == engine, "no engine was replaced"


def test_a_drained_node_loses_no_stream(serving, cluster, peers):
    first, second = "first", "second"
    cluster.kubectl("uncordon", second)
    cluster.kubectl("cordon", first)
    cluster.patch(NAME, {"scaling": {"minReplicas": 2, "maxReplicas": 2}})
    cluster.until(lambda: len(engines(peers["own"])) == 2, seconds=PATIENCE, what="a second engine")
    assert {one["spec"]["nodeName"] for one in pods(serving, "worker")} == {first, second}
    before = engines(peers["own"])
    cluster.kubectl("uncordon", first)
    with peers["own"].asking(URL, MODEL, 8, TOKENS) as said:
        cluster.until(lambda: both_work(peers["named"]), seconds=PATIENCE, what="both engines to work")
        drained = cluster.kubectl(
            *("drain", second, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={PATIENCE}s"), check=False
        )
        assert drained.returncode == 0, drained.stderr
        assert {one["spec"]["nodeName"] for one in pods(serving, "worker")} == {first}
        cluster.until(
            lambda: len(now := engines(peers["named"])) == 2 and now != before, seconds=PATIENCE, what="another engine"
        )
    print(f"streams around the drain: {ends(said)}")
    assert ends(said).keys() == {"done"}


def test_the_store_is_emptied_when_the_cluster_goes(serving, cluster):
    assert kept(cluster) > 0
    cluster.kubectl("delete", "llamadeployment", NAME, "-n", "default", f"--timeout={PATIENCE}s")
    cluster.until(lambda: not cluster.items("rayclusters"), seconds=PATIENCE, what="the cluster to be gone")
    assert kept(cluster) == 0


def kept(cluster):
    """How many keys the store has."""
    shown = ("--cacert", "/authority/ca.crt", "--cert", "/client/tls.crt", "--key", "/client/tls.key")
    asked = ("redis-cli", "--tls", *shown, "-a", "of-the-team", "--no-auth-warning", "dbsize")
    return int(cluster.kubectl("exec", "-n", "default", "store", "--", *asked).stdout)


def both_work(peer):
    """Whether two engines answer requests."""
    return len(peer.run("engines", URL, "running")) == 2
