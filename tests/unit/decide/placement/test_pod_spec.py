"""What a pod asks for is read as kube-scheduler reads it, and what is rendered reads back as what was counted."""

from dataclasses import replace

import pytest

from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Settings
from llama_operator.decide.placement.pod_spec import AmountError, asked, shapes_of
from llama_operator.decide.placement.shape import Amounts
from llama_operator.desired import revision

GIB = 1 << 30


def container(cpu="0", memory="0", **more):
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}}} | more


@pytest.mark.parametrize(
    ("spec", "amounts"),
    [
        ({}, Amounts()),
        ({"containers": [container("1", "1Gi"), container("500m", "1Gi")]}, Amounts(1500, 2 * GIB)),
        # Only the largest of those that run before, by itself.
        (
            {"containers": [container("1", "1Gi")], "initContainers": [container("2"), container("3", "10Mi")]},
            Amounts(3000, GIB),
        ),
        # One that goes on running counts with the containers, and with those that come after it.
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("4")],
            },
            Amounts(5000),
        ),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("4"), container("1", restartPolicy="Always")],
            },
            Amounts(4000),
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m", "memory": "1Gi"}}, Amounts(1250, GIB)),
        # A limit stands for a request that is not there.
        ({"containers": [{"resources": {"limits": {"cpu": "2"}, "requests": {"memory": "1Gi"}}}]}, Amounts(2000, GIB)),
        ({"containers": [container("1", "1Gi")], "resources": {"requests": {"cpu": "4"}}}, Amounts(4000, GIB)),
        ({"containers": [container("100u", "1500m")]}, Amounts(1, 2)),
        (
            {"containers": [{"resources": {"limits": {"a/b": "2", "hugepages-2Mi": "4Mi"}}}]},
            Amounts(devices={"a/b": 2, "hugepages-2Mi": 4 << 20}),
        ),
    ],
)
def test_a_pod_asks_for_what_the_scheduler_counts(spec, amounts):
    assert asked(spec) == amounts


@pytest.mark.parametrize("amount", ["many", "-1", "1e999", True])
def test_an_amount_that_is_none_is_told(amount):
    with pytest.raises(AmountError, match="is no amount"):
        asked({"containers": [container(amount)]})


ZONE = {"key": "zone", "operator": "In", "values": ["a", "b"]}
PODS = {
    "head": {"resources": {"cpu": "1500m", "memory": "5Gi"}, "nodeSelector": {"pool": "system"}},
    "workers": {
        "tolerations": [
            {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Exists"},
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [ZONE]}]}
            }
        },
        "resources": {"ephemeralStorage": "3Mi", "extended": {"rdma/hca": 2}},
    },
}


def as_terms(shape):
    """The shape with its affinity as Kubernetes has it: what must hold in any case stands in every term."""
    terms = [(*each, *shape.requirements) for each in shape.alternatives or ((),)]
    return replace(shape, requirements=(), alternatives=tuple(term for term in terms if term))


@pytest.mark.parametrize("pods", [{}, PODS], ids=["default", "settings"])
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"model": {"name": "llama-3.1-405b", "precision": "BF16"}, "hardware": {"accelerator": "H100-80GB"}},
        {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}},
        {"hardware": {"accelerator": "GH200-96GB"}},
    ],
    ids=["one", "nodes", "cpu", "other processor"],
)
def test_what_is_rendered_reads_back_as_what_was_counted(observed, known, spec, pods):
    world = observed(**spec, pods=pods)
    decision = decide(world, known)
    made = revision.new(world, decision, Settings())
    read = shapes_of(made.cluster, decision.shapes.per_replica)
    # Of two requirements on one label a node could meet only one.
    assert all(
        len({each.key for each in shape.requirements}) == len(shape.requirements) for shape in (read.head, read.worker)
    )
    assert (as_terms(read.head), as_terms(read.worker)) == (
        as_terms(decision.shapes.head),
        as_terms(decision.shapes.worker),
    )


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        ({}, False),
        ({"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": "zone"}]}}}, True),
        ({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}}, False),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}]}, False),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}]}, True),
    ],
)
def test_what_depends_on_other_pods_is_seen(spec, needs):
    template = {"spec": {"containers": [container("1")]} | spec}
    cluster = {
        "headGroupSpec": {"template": {"spec": {"containers": [container("1")]}}},
        "workerGroupSpecs": [{"template": template}],
    }
    assert shapes_of(cluster, 1).worker.needs_other_pods is needs


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"headGroupSpec": {"template": {"spec": {}}}},
        {
            "headGroupSpec": {"template": {"spec": {"containers": [container("many")]}}},
            "workerGroupSpecs": [{"template": {}}],
        },
    ],
)
def test_what_is_pinned_and_cannot_be_read_has_no_shapes(cluster):
    assert shapes_of(cluster, 1) is None
