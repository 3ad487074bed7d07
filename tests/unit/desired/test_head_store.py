"""What a store of the head changes: workers go on without the head, so requests come in through workers only; certificates."""

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects

STORE = {"headStore": {"address": "redis.team-a:6379", "passwordSecret": {"name": "redis"}}}


def service_of(spec):
    tiny = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}}
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": tiny | spec,
    }
    observed = Observed(parse(obj), acceptances=None)
    built = objects.build(observed, decide(observed, catalog.load()), Settings())
    return next(one for one in built.apply if one["kind"] == "RayService")["spec"]


@pytest.mark.parametrize(
    ("spec", "excluded"),
    [
        ({}, None),
        (STORE, True),
        # Only the head is left to take the request that starts a replica.
        (STORE | {"scaling": {"minReplicas": 0, "maxReplicas": 2}}, None),
    ],
    ids=["without a store", "with a store", "down to no replica"],
)
def test_no_request_comes_in_through_a_head_that_may_end(spec, excluded):
    assert service_of(spec).get("excludeHeadPodFromServeSvc") is excluded


def head_of(tls, address="redis.team-a.svc:6379"):
    """Address, and of the head its variables for Redis, its folders by path, and its volumes by name."""
    cluster = service_of({"headStore": {"address": address, "tls": tls}})["rayClusterConfig"]
    spec = cluster["headGroupSpec"]["template"]["spec"]
    (container,) = spec["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"] if one["name"].startswith("RAY_REDIS")}
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    volumes = {one["name"]: one for one in spec["volumes"]}
    folders = {path: volumes[name] for path, name in mounts.items() if "head-store" in name}
    (worker,) = (group["template"]["spec"] for group in cluster["workerGroupSpecs"])
    assert not any("head-store" in each["name"] for each in worker.get("volumes", ())), "workers do not ask it"
    return cluster["gcsFaultToleranceOptions"]["redisAddress"], variables, folders


def test_an_encrypted_store_is_known_by_its_authority():
    address, variables, folders = head_of({"authority": {"configMap": "redis-ca"}})
    assert address == "rediss://redis.team-a.svc:6379"
    ((folder, volume),) = folders.items()
    assert variables == {"RAY_REDIS_CA_CERT": f"{folder}/ca.crt", "RAY_REDIS_SERVER_NAME": "redis.team-a.svc"}
    assert volume["configMap"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert volume["configMap"]["name"] == "redis-ca"
    assert "optional" not in volume["configMap"], "never in the open, if it is not there"


def test_an_encrypted_store_may_ask_who_the_head_is():
    tls = {"authority": {"secret": "from-cert-manager", "key": "tls.crt"}, "clientSecret": "ray"}
    _, variables, folders = head_of(tls, address="10.1.2.3:6379")
    names = {volume["secret"]["secretName"]: folder for folder, volume in folders.items()}
    assert variables == {
        "RAY_REDIS_CA_CERT": f"{names['from-cert-manager']}/ca.crt",
        "RAY_REDIS_CLIENT_CERT": f"{names['ray']}/tls.crt",
        "RAY_REDIS_CLIENT_KEY": f"{names['ray']}/tls.key",
    }
    items = folders[names["from-cert-manager"]]["secret"]["items"]
    assert items == [{"key": "tls.crt", "path": "ca.crt"}]
