"""JSON patches: parts of an object changed in place, all operations or none."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, InvalidError, JsonPatch, NotFoundError

GROUP = "/spec/rayClusterConfig/workerGroupSpecs/0"


@pytest.fixture
def chat_1(objects):
    return objects.ref(kinds.RAY_SERVICE, "chat-1")


def worker_group(live):
    (group,) = live["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return group


async def test_a_bound_inside_an_atomic_list_is_changed_and_all_else_stays(ours, objects, chat_1):
    before = await ours.apply(objects.ray_service())
    await ours.patch(chat_1, [JsonPatch("replace", f"{GROUP}/maxReplicas", 3)])
    live = await ours.get(chat_1)
    assert worker_group(live) == worker_group(before) | {"maxReplicas": 3}
    assert live["metadata"]["generation"] == 2


async def test_a_patch_whose_tests_hold_is_done(ours, objects, chat_1):
    await ours.apply(objects.ray_service())
    operations = [JsonPatch("test", f"{GROUP}/groupName", "h100"), JsonPatch("replace", f"{GROUP}/maxReplicas", 3)]
    assert worker_group(await ours.patch(chat_1, operations))["maxReplicas"] == 3


async def test_a_patch_of_which_one_test_fails_is_a_conflict_and_changes_nothing(ours, objects, chat_1):
    before = await ours.apply(objects.ray_service())
    operations = [JsonPatch("replace", f"{GROUP}/maxReplicas", 3), JsonPatch("test", f"{GROUP}/groupName", "l4")]
    with pytest.raises(ConflictError, match="groupName"):
        await ours.patch(chat_1, operations)
    assert await ours.get(chat_1) == before


async def test_a_patch_for_an_old_resource_version_is_a_conflict(ours, objects):
    old = await ours.apply(objects.llama())
    await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    guard = JsonPatch("test", "/metadata/resourceVersion", old["metadata"]["resourceVersion"])
    with pytest.raises(ConflictError, match="resourceVersion"):
        await ours.patch(objects.chat, [guard, JsonPatch("add", "/metadata/labels", {"team": "a"})])


@pytest.mark.parametrize(
    "operation",
    [
        JsonPatch("remove", "/spec/nothing"),
        JsonPatch("add", "/metadata/labels/team", "a"),
        JsonPatch("replace", "/spec/model/name/deeper", 1),
        JsonPatch("add", "no pointer", 1),
    ],
    ids=lambda operation: f"{operation.op} {operation.path}",
)
async def test_a_path_that_does_not_exist_is_invalid(ours, objects, operation):
    before = await ours.apply(objects.llama())
    with pytest.raises(InvalidError):
        await ours.patch(objects.chat, [operation])
    assert await ours.get(objects.chat) == before


async def test_replace_also_sets_a_field_that_was_not_there(ours, objects):
    await ours.apply(objects.llama(context={"concurrentSequences": 2}))
    live = await ours.patch(objects.chat, [JsonPatch("replace", "/spec/context/maxModelLength", 4096)])
    assert live["spec"]["context"]["maxModelLength"] == 4096


async def test_add_puts_an_item_into_a_list_where_the_path_says(ours, objects):
    await ours.apply(objects.service(ports=(8000,)))
    port = {"name": "p9000", "port": 9000, "protocol": "TCP", "targetPort": 9000}
    live = await ours.patch(objects.ref(kinds.SERVICE, "web"), [JsonPatch("add", "/spec/ports/-", port)])
    assert [each["port"] for each in live["spec"]["ports"]] == [8000, 9000]


async def test_a_patch_that_changes_nothing_is_not_written(ours, objects, chat_1):
    before = await ours.apply(objects.ray_service())
    await ours.patch(chat_1, [JsonPatch("replace", f"{GROUP}/maxReplicas", 1)])
    assert await ours.get(chat_1) == before


async def test_a_patch_does_not_write_status(ours, objects):
    await ours.apply(objects.llama())
    live = await ours.patch(objects.chat, [JsonPatch("add", "/status", {"replicas": 3})])
    assert "replicas" not in live.get("status", {})


async def test_a_patch_takes_a_field_from_who_applied_it(ours, user, objects, chat_1):
    """Also from the same writer: its next apply of the old value would set it back."""
    await ours.apply(objects.ray_service())
    await user.patch(chat_1, [JsonPatch("replace", f"{GROUP}/maxReplicas", 3)])
    with pytest.raises(ConflictError, match="workerGroupSpecs"):
        await ours.apply(objects.ray_service(), force=False)
    assert worker_group(await ours.apply(objects.ray_service()))["maxReplicas"] == 1


async def test_a_patch_of_an_absent_object_is_not_found(ours, chat_1):
    with pytest.raises(NotFoundError):
        await ours.patch(chat_1, [JsonPatch("add", "/metadata/labels", {})])


async def test_a_patch_that_breaks_a_rule_of_all_objects_is_invalid(ours, objects):
    await ours.apply(objects.llama())
    with pytest.raises(InvalidError, match=r"metadata\.labels"):
        await ours.patch(objects.chat, [JsonPatch("add", "/metadata/labels", {"team": "two words"})])
