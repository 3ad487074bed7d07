"""Parts of a pod: how they add up, what contradicts, and what they render to."""

import dataclasses

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.decide.placement.shape import Amounts
from llama_operator.desired.pods.parts import RESTRICTED, PodConflictError, PodParts
from llama_operator.desired.pods.placed import steady_resources

NAMES = st.sampled_from(["a", "b", "c"])
BY_NAME = {
    "environment": st.one_of(st.sampled_from(["1", "2"]), st.just({"secretKeyRef": {"name": "s", "key": "k"}})),
    "mounts": st.sampled_from([{"name": "v"}, {"name": "v", "readOnly": True}]),
    "volumes": st.sampled_from([{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "c"}}]),
    "node_selector": st.sampled_from(["x", "y"]),
    "affinity": st.sampled_from([{"required": []}, {"preferred": []}]),
    "pod_fields": st.sampled_from(["x", "y"]),
    "pod_security": st.sampled_from([True, False]),
    "container_security": st.sampled_from([True, False]),
    "labels": st.sampled_from(["x", "y"]),
    "annotations": st.sampled_from(["x", "y"]),
}
LISTED = {
    "tolerations": st.sampled_from([{"key": "gpu", "operator": "Exists"}, {"key": "spot", "operator": "Exists"}]),
    "node_requirements": st.sampled_from([{"key": "zone", "operator": "Exists"}, {"key": "gpu", "operator": "Exists"}]),
    "pull_secrets": NAMES,
    "capabilities": st.sampled_from(["IPC_LOCK", "SYS_NICE"]),
}
PARTS = st.builds(
    PodParts,
    **{field: st.dictionaries(NAMES, values, max_size=2) for field, values in BY_NAME.items()},
    **{field: st.lists(values, max_size=2).map(tuple) for field, values in LISTED.items()},
    node_alternatives=st.sampled_from(
        [(), (({"key": "x", "operator": "Exists"},), ({"key": "y", "operator": "Exists"},))]
    ),
)


PREFERRED = {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}
NEAR = {
    "requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}
    ]
}


def total(*parts):
    """The sum from the left, or None if it is a conflict; with the order, which equality of dictionaries ignores."""
    try:
        return dataclasses.astuple(sum(parts[1:], start=parts[0]))
    except PodConflictError:
        return None


def in_order(value):
    return [list(part.items()) if isinstance(part, dict) else part for part in value] if value is not None else None


def test_the_strategy_fills_every_field():
    assert {field.name for field in dataclasses.fields(PodParts)} == {*BY_NAME, *LISTED, "node_alternatives"}


@given(PARTS, PARTS, PARTS)
def test_the_sum_does_not_depend_on_where_it_starts(a, b, c):
    def from_the_right():
        try:
            return dataclasses.astuple(a + (b + c))
        except PodConflictError:
            return None

    assert in_order(total(a, b, c)) == in_order(from_the_right())


@given(PARTS)
def test_the_empty_one_changes_nothing(parts):
    assert in_order(total(PodParts(), parts)) == in_order(dataclasses.astuple(parts))
    assert in_order(total(parts, PodParts())) == in_order(dataclasses.astuple(parts))


@given(PARTS, PARTS)
def test_order_decides_no_value_and_no_conflict(a, b):
    one, other = total(a, b), total(b, a)
    assert (one is None) == (other is None)
    if one is not None:
        fields = [field.name for field in dataclasses.fields(PodParts)]
        for name, left, right in zip(fields, one, other, strict=True):
            same = left == right if name not in LISTED else all(value in right for value in left)
            assert same, name


@given(PARTS, PARTS)
def test_nothing_is_lost_and_nothing_replaced(a, b):
    if total(a, b) is None:
        return
    both = a + b
    for part in (a, b):
        for field in BY_NAME:
            assert all(getattr(both, field)[name] == value for name, value in getattr(part, field).items())
        for field in LISTED:
            assert all(value in getattr(both, field) for value in getattr(part, field))


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        (PodParts(environment={"HF_HOME": "/a"}), PodParts(environment={"HF_HOME": "/b"}), "environment HF_HOME"),
        (
            PodParts(volumes={"cache": {"emptyDir": {}}}),
            PodParts(volumes={"cache": {"persistentVolumeClaim": {"claimName": "c"}}}),
            "volumes cache",
        ),
        (PodParts(mounts={"/models": {"name": "a"}}), PodParts(mounts={"/models": {"name": "b"}}), "mounts /models"),
        (
            PodParts(pod_fields={"priorityClassName": "high"}),
            PodParts(pod_fields={"priorityClassName": "low"}),
            "pod_fields priorityClassName",
        ),
        (RESTRICTED, PodParts(container_security={"allowPrivilegeEscalation": True}), "allowPrivilegeEscalation"),
    ],
)
def test_a_conflict_names_what_it_is_about_and_both_values(one, other, named):
    with pytest.raises(PodConflictError, match=named) as raised:
        one + other
    field = named.split()[0]
    if field != "allowPrivilegeEscalation":
        for part in (one, other):
            value = getattr(part, field)
            assert repr(next(iter(value.values())) if isinstance(value, dict) else value) in str(raised.value)


def test_kubernetes_takes_all_of_it():
    parts = RESTRICTED + PodParts(
        environment={"A": "1", "B": {"secretKeyRef": {"name": "s", "key": "k"}}},
        mounts={"/models": {"name": "weights", "readOnly": True}},
        volumes={"weights": {"persistentVolumeClaim": {"claimName": "c"}}},
        tolerations=({"key": "gpu", "operator": "Exists"},),
        node_selector={"zone": "a"},
        node_requirements=({"key": "gpu", "operator": "In", "values": ["H100"]},),
        affinity={
            "podAffinity": NEAR,
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [PREFERRED]},
        },
        pod_fields={"priorityClassName": "high"},
        pull_secrets=("registry",),
        capabilities=("IPC_LOCK",),
        labels={"app": "x"},
        annotations={"note": "y"},
    )
    resources = steady_resources(Amounts(2000, 4 << 30, 7 << 20, {"nvidia.com/gpu": 1}))
    template = parts.template({"name": "x", "image": "y", "resources": resources}, {"restartPolicy": "Never"})
    pod = {"apiVersion": "v1", "kind": "Pod"} | template
    pod["metadata"] = pod["metadata"] | {"name": "x"}
    kubernetes_validate.validate(pod, "1.34", strict=True)
    spec = template["spec"]
    (container,) = spec["containers"]
    assert container["env"][1] == {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert container["volumeMounts"] == [{"name": "weights", "mountPath": "/models", "readOnly": True}]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert spec["volumes"] == [{"name": "weights", "persistentVolumeClaim": {"claimName": "c"}}]
    assert (spec["priorityClassName"], spec["imagePullSecrets"]) == ("high", [{"name": "registry"}])
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["H100"]}]}
    assert spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == [PREFERRED]
    assert spec["affinity"]["podAffinity"] == NEAR
    assert spec["nodeSelector"] == {"zone": "a"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]


def test_what_nobody_asks_for_does_not_stand_in_a_pod():
    template = RESTRICTED.template({"name": "x", "image": "y"})
    assert set(template["spec"]) == {"securityContext", "containers"}
    assert set(template["spec"]["containers"][0]) == {"name", "image", "securityContext"}


def test_each_way_to_say_which_cards_a_node_has_is_a_term_with_what_must_hold_anyway():
    cards = tuple(({"key": key, "operator": "Exists"},) for key in ("a", "b"))
    arm = {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}
    pod = PodParts(node_alternatives=cards, node_requirements=(arm,)).template({"name": "one"})["spec"]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchExpressions"] for term in terms] == [[*cards[0], arm], [*cards[1], arm]]


def test_two_parts_that_want_different_cards_contradict_each_other():
    one, other = (PodParts(node_alternatives=(({"key": key, "operator": "Exists"},),)) for key in ("a", "b"))
    with pytest.raises(PodConflictError, match="node_alternatives"):
        _ = one + other
