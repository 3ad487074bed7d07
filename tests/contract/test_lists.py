"""Lists under apply: merged by key where the schema says so, owned whole elsewhere."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, InvalidError


def ports_of(service):
    return [port["port"] for port in service["spec"]["ports"]]


def environment_of(ray_service):
    (container,) = ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"]
    return [entry["name"] for entry in container.get("env", ())]


async def test_two_managers_add_ports_to_one_service(ours, user, objects):
    await ours.apply(objects.service(ports=(8000,)))
    live = await user.apply(objects.service(ports=(9000,)), force=False)
    assert sorted(ports_of(live)) == [8000, 9000]


async def test_each_manager_removes_its_own_port_alone(ours, user, objects):
    await ours.apply(objects.service(ports=(8000, 8001)))
    await user.apply(objects.service(ports=(9000,)))
    live = await ours.apply(objects.service(ports=(8000,)))
    assert sorted(ports_of(live)) == [8000, 9000]


async def test_a_field_of_an_item_is_changed_in_place(ours, objects):
    await ours.apply(objects.service(ports=(8000, 8001)))
    changed = objects.service(ports=(8000, 8001))
    changed["spec"]["ports"][0]["targetPort"] = 8080
    live = await ours.apply(changed)
    assert [(port["port"], port["targetPort"]) for port in live["spec"]["ports"]] == [(8000, 8080), (8001, 8001)]


async def test_the_same_port_with_another_protocol_is_another_item(ours, user, objects):
    await ours.apply(objects.service(ports=(8000,)))
    udp = objects.service()
    udp["spec"]["ports"] = [{"name": "u8000", "port": 8000, "protocol": "UDP"}]
    live = await user.apply(udp)
    assert sorted((port["port"], port["protocol"]) for port in live["spec"]["ports"]) == [(8000, "TCP"), (8000, "UDP")]


async def test_a_port_without_protocol_is_tcp(ours, user, objects):
    await ours.apply(objects.service(ports=(8000,)))
    plain = objects.service()
    plain["spec"]["ports"] = [{"port": 8000, "targetPort": 8080}]
    with pytest.raises(ConflictError, match="targetPort"):
        await user.apply(plain, force=False)
    live = await user.apply(plain, force=True)
    assert [(port["port"], port["protocol"]) for port in live["spec"]["ports"]] == [(8000, "TCP")]


async def test_the_order_of_ports_is_that_of_the_last_who_applied_them(ours, objects):
    await ours.apply(objects.service(ports=(8000, 8001, 8002)))
    live = await ours.apply(objects.service(ports=(8002, 8000)))
    assert ports_of(live) == [8002, 8000]


async def test_one_key_twice_is_invalid(ours, objects):
    twice = objects.service(ports=(8000, 8000))
    with pytest.raises(InvalidError, match="8000"):
        await ours.apply(twice)


async def test_a_selector_is_owned_whole(ours, user, objects):
    """The Service selector is what moves the traffic: no key of another may survive in it."""
    await user.apply(objects.service(selector={"app": "web", "track": "old"}))
    with pytest.raises(ConflictError, match="selector"):
        await ours.apply(objects.service(selector={"app": "web"}), force=False)
    live = await ours.apply(objects.service(selector={"app": "web"}), force=True)
    assert live["spec"]["selector"] == {"app": "web"}


async def test_rules_of_a_network_policy_are_owned_whole(ours, user, objects):
    await ours.apply(objects.policy(ports=(8000,)))
    with pytest.raises(ConflictError, match="ingress"):
        await user.apply(objects.policy(ports=(8000, 8265)), force=False)


async def test_environment_of_the_head_merges_by_name(ours, user, objects):
    await ours.apply(objects.ray_service(environment=("A", "B")))
    live = await user.apply(objects.ray_service(environment=("C",), workers=()), force=False)
    assert sorted(environment_of(live)) == ["A", "B", "C"]
    live = await ours.apply(objects.ray_service(environment=("A",)))
    assert sorted(environment_of(live)) == ["A", "C"]


async def test_worker_groups_are_owned_whole(ours, user, objects):
    """KubeRay's CRDs declare no keys for them: whoever changes one bound owns all groups."""
    await ours.apply(objects.ray_service(workers=("h100",)))
    other = objects.ray_service(workers=("l4",))
    with pytest.raises(ConflictError, match="workerGroupSpecs"):
        await user.apply(other, force=False)
    live = await user.apply(other, force=True)
    groups = live["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert [group["groupName"] for group in groups] == ["l4"]


async def test_owner_references_merge_by_uid(ours, user, objects):
    first = await user.apply(objects.llama("first"))
    second = await user.apply(objects.llama("second"))
    await ours.apply(objects.policy(metadata=objects.owned_by(first)))
    await user.apply(objects.policy(metadata=objects.owned_by(second)))
    live = await ours.get(objects.ref(kinds.NETWORK_POLICY, "guard"))
    owners = {owner["name"] for owner in live["metadata"]["ownerReferences"]}
    assert owners == {"first", "second"}


async def test_finalizers_of_two_managers_stand_side_by_side(ours, user, objects):
    await ours.apply(objects.llama(metadata={"finalizers": ["llama-operator.io/drain"]}))
    live = await user.apply(objects.llama(metadata={"finalizers": ["example.com/audit"]}))
    assert sorted(live["metadata"]["finalizers"]) == ["example.com/audit", "llama-operator.io/drain"]
    live = await user.apply(objects.llama())
    assert live["metadata"]["finalizers"] == ["llama-operator.io/drain"]
    await ours.apply(objects.llama())
