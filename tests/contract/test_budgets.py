"""The selector of a PodDisruptionBudget is one value: what somebody adds to it goes with the next apply, and its counts stay apart."""

from llama_operator.kube import kinds


def budget(objects, labels, least=1):
    return {
        "apiVersion": kinds.POD_DISRUPTION_BUDGET.api_version,
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "chat", "namespace": objects.namespace},
        "spec": {
            "minAvailable": least,
            "selector": {"matchLabels": labels},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


async def test_a_selector_is_taken_as_a_whole(ours, user, objects):
    await ours.apply(budget(objects, {"a": "1", "b": "2"}))
    await ours.apply(budget(objects, {"a": "1"}))
    ref = objects.ref(kinds.POD_DISRUPTION_BUDGET, "chat")
    assert (await ours.get(ref))["spec"]["selector"] == {"matchLabels": {"a": "1"}}
    await user.apply(budget(objects, {"a": "1", "c": "3"}), force=True)
    await ours.apply(budget(objects, {"a": "1"}))
    assert (await ours.get(ref))["spec"]["selector"] == {"matchLabels": {"a": "1"}}


async def test_an_apply_that_changes_nothing_is_no_change(ours, objects):
    first = await ours.apply(budget(objects, {"a": "1"}))
    again = await ours.apply(budget(objects, {"a": "1"}))
    # A controller counts for it meanwhile, in its status.
    assert (again["metadata"]["generation"], again["spec"]) == (first["metadata"]["generation"], first["spec"])
    changed = await ours.apply(budget(objects, {"a": "1"}, least=3))
    assert changed["spec"]["minAvailable"] == 3
    assert changed["metadata"]["generation"] == first["metadata"]["generation"] + 1
