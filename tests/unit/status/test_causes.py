"""Each condition takes the nearest cause that concerns it, Ready the nearest of all; capacity says what would be needed."""

from dataclasses import replace

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.decision import decide
from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.decide.observed import NodeFacts
from llama_operator.decide.placement.shape import Amounts
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.status import summary
from support.deployments import node_of

H100 = "H100-80GB"
BIG = {
    "model": {"name": "llama-3.1-8b", "precision": "BF16"},
    "hardware": {"accelerator": H100},
    "parallelism": {"mode": "Manual", "tensor": 4},
}
UNSCHEDULABLE = Cause(
    Reason.PODS_UNSCHEDULABLE, ConditionType.CAPACITY_FOUND, "2 pods wait: Insufficient nvidia.com/gpu", "add nodes"
)
NEVER = "maxReplicas 4 needs 16, more than exist: it is not reached until nodes are added"
NOT_PULLED = Cause(Reason.IMAGE_NOT_PULLED, ConditionType.MODEL_LOADED, "acme/serving:9 was not found")
NOT_READY = Cause(Reason.PROBE_FAILED, ConditionType.ENDPOINT_READY, "the readiness probe fails")


@pytest.fixture
def say(known, now):
    return lambda observed: summary.build(observed, decide(observed, known), failure=None, now=now)


@pytest.fixture
def knows(monkeypatch):
    """Let the diagnosis know causes of one revision."""

    def of(revision, *causes):
        monkeypatch.setattr(
            "llama_operator.status.endpoint.causes", lambda _, asked: causes if asked == revision else ()
        )

    return of


@pytest.fixture
def wanted(deployment):
    return revision_of(deployment(**BIG)).name


def find(status, kind):
    return next(condition for condition in status.conditions if condition.type == kind)


def words(status, *kinds):
    return {kind: (find(status, kind).status, find(status, kind).reason) for kind in kinds}


def nodes(*amounts):
    return tuple(node_of(f"n{index}", H100, amount) for index, amount in enumerate(amounts))


def with_status(observed, status):
    return replace(observed, deployment=observed.deployment.model_copy(update={"status": status}))


def test_a_start_says_the_nearest_cause_and_each_condition_its_own(observed, say, knows, wanted, service_facts):
    knows(wanted, UNSCHEDULABLE, NOT_PULLED, NOT_READY)
    starting = service_facts(wanted, status="", endpoints=0)
    status = say(observed(**BIG, ray_services=(starting,), nodes=nodes(8)))
    assert words(status, "CapacityFound", "ModelLoaded", "EndpointReady", "Ready") == {
        "CapacityFound": ("False", Reason.PODS_UNSCHEDULABLE),
        "ModelLoaded": ("False", Reason.IMAGE_NOT_PULLED),
        "EndpointReady": ("False", Reason.PROBE_FAILED),
        "Ready": ("False", Reason.PODS_UNSCHEDULABLE),
    }
    assert find(status, "Ready").message == "2 pods wait: Insufficient nvidia.com/gpu → add nodes"


def test_a_cause_of_the_new_revision_is_no_outage_of_the_old_one(observed, say, knows, wanted, service_facts):
    knows(wanted, NOT_PULLED)
    both = (service_facts("chat-old"), service_facts(wanted, status="", endpoints=0))
    status = say(observed(**BIG, ray_services=both))
    assert words(status, "ModelLoaded", "EndpointReady", "Ready") == {
        "ModelLoaded": ("False", Reason.IMAGE_NOT_PULLED),
        "EndpointReady": ("True", Reason.ENDPOINT_SERVING),
        "Ready": ("True", Reason.SERVING),
    }


def test_an_outage_says_its_cause_and_since_when(observed, say, knows, wanted, service_facts):
    serves = observed(**BIG, ray_services=(service_facts(wanted),))
    before = say(serves)
    lost = Cause(Reason.NODES_LOST, ConditionType.CAPACITY_FOUND, "2 nodes with H100-80GB are not ready")
    knows(wanted, lost)
    silent = replace(serves, ray_services=(service_facts(wanted, endpoints=0),))
    status = say(with_status(silent, before))
    assert words(status, "Ready", "EndpointReady", "CapacityFound", "UpToDate") == {
        "Ready": ("False", Reason.NODES_LOST),
        "EndpointReady": ("False", Reason.NO_ENDPOINT),
        "CapacityFound": ("Unknown", Reason.WAITING),
        "UpToDate": ("True", Reason.ROLLED_OUT),
    }
    for kind in ("Ready", "EndpointReady"):
        assert find(status, kind).message.startswith("served until ")
        assert "2 nodes with H100-80GB are not ready" in find(status, kind).message


def test_what_answers_in_spite_of_a_cause_is_degraded(observed, say, knows, wanted, service_facts):
    knows(wanted, UNSCHEDULABLE)
    status = say(observed(**BIG, ray_services=(service_facts(wanted),), nodes=nodes(8)))
    assert words(status, "Ready", "EndpointReady", "CapacityFound") == {
        "Ready": ("True", Reason.DEGRADED),
        "EndpointReady": ("True", Reason.DEGRADED),
        "CapacityFound": ("False", Reason.PODS_UNSCHEDULABLE),
    }
    assert "Insufficient nvidia.com/gpu" in find(status, "Ready").message


@pytest.mark.parametrize(
    ("most", "exist", "said"),
    [
        (1, (8,), "4 H100-80GB are needed and exist"),
        (4, (8, 8), "4 H100-80GB are needed and exist; maxReplicas 4 needs 16, which exist"),
        (4, (8, 6), f"4 H100-80GB are needed and exist; {NEVER}"),
        (4, (2,), f"2 H100-80GB exist, 4 are needed; pods wait until nodes are added; {NEVER}"),
    ],
)
def test_capacity_says_what_the_most_replicas_would_need(observed, say, most, exist, said):
    told = find(
        say(observed(**BIG, scaling={"minReplicas": 1, "maxReplicas": most}, nodes=nodes(*exist))), "CapacityFound"
    )
    assert told.message == said


def test_cards_that_nothing_is_planned_on_are_named_where_cards_are_missing(observed, say):
    why = "offers nvidia.com/gpu, and its label nvidia.com/gpu.product is missing: install it"
    unknown = [NodeFacts(name, "nvidia.com/gpu", 8, device_problem=why) for name in ("gpu-1", "gpu-0")]
    told = find(say(observed(**BIG, nodes=unknown)), "CapacityFound")
    assert "0 H100-80GB exist, 4 are needed" in told.message
    assert f"not counted: 8 on gpu-0 and on other nodes, which {why}" in told.message
    assert "not counted" not in find(say(observed(**BIG, nodes=(*nodes(8, 8), *unknown))), "CapacityFound").message


def test_while_pods_wait_capacity_says_what_is_free_and_what_takes_none(observed, say, knows, wanted):
    knows(wanted, UNSCHEDULABLE)
    away = AwayNode("h100-9", H100, 8, "is cordoned")
    facts = {"free": tuple(node.room for node in nodes(1, 2)), "away": (away,)}
    told = find(say(observed(**BIG, nodes=nodes(8, 8), facts=facts)), "CapacityFound")
    assert (told.status, told.reason) == ("False", Reason.PODS_UNSCHEDULABLE)
    assert (
        "4 H100-80GB are needed, 16 exist, 3 of them free; not counted: 8 on h100-9, which is cordoned" in told.message
    )


@pytest.mark.parametrize(
    ("pods", "status", "said"),
    [
        ((), "False", "but 0 of 1 worker pods find a node if the head pod comes to small, which nobody can rule out"),
        ((("head", "cpu"), ("worker", "small")), "True", "exist"),
        ((("head", "cpu"),), "True", "exist"),
        ((("head", "small"),), "False", "but 0 of 1 worker pods find a node: the next one needs"),
    ],
)
def test_what_has_its_node_looks_for_none(observed, say, wanted, pods, status, said):
    whole = node_of("small", H100, 4).room
    room = replace(whole, amounts=Amounts(18_000, 64 << 30, 64 << 30, {"nvidia.com/gpu": 4}))
    facts = tuple(PodFacts(role, wanted, role, "Running", node=node) for role, node in pods)
    machines = (NodeFacts("small", H100, 4, room=room), node_of("cpu", "CPU", 8))
    told = find(say(observed(**BIG, nodes=machines, facts={"pods": facts})), "CapacityFound")
    assert told.status == status
    assert said in told.message


def test_while_pods_wait_capacity_says_what_is_short_for_those_that_wait(observed, say, knows, wanted):
    knows(wanted, UNSCHEDULABLE)
    head = PodFacts("head", wanted, "head", "Running", node="cpu")
    waits = PodFacts("worker", wanted, "worker", "Pending", unschedulable="0/2 nodes are available")
    full = node_of("n0", H100, 8).room
    facts = {"pods": (head, waits), "free": (full.less(Amounts(full.amounts.cpu_millicores - 1500)),)}
    told = find(say(observed(**BIG, nodes=nodes(8), facts=facts)), "CapacityFound")
    assert told.message.endswith(
        "4 H100-80GB are needed, 8 exist, 8 of them free; 0 of 1 worker pods find a node: the next one needs 16 cpu, and n0, which "
        "comes nearest, has 1.5 left"
    )


def test_scaled_to_zero_where_no_node_could_run_it_says_so(observed, say, known, wanted, service_facts):
    spec = BIG | {"scaling": {"minReplicas": 0, "maxReplicas": 2}}
    serves = observed(**spec, ray_services=(service_facts(wanted),), nodes=())
    head = PodFacts("head", wanted, "head", "Running", ready=True)
    status = say(replace(serves, pods=(head,)))
    ready = find(status, "Ready")
    assert (ready.status, ready.reason) == ("True", Reason.SCALED_TO_ZERO)
    assert "the next request starts one and waits for it: 0 H100-80GB exist, 4 are needed" in ready.message
    assert words(status, "EndpointReady", "ModelLoaded") == {
        "EndpointReady": ("True", Reason.SCALED_TO_ZERO),
        "ModelLoaded": ("True", Reason.SCALED_TO_ZERO),
    }
    worker = PodFacts("worker", wanted, "worker", "Running", ready=True)
    assert find(say(replace(serves, pods=(head, worker))), "Ready").reason == Reason.SERVING


def test_when_the_nodes_of_all_pods_are_lost_it_is_down_whatever_kuberay_still_says(
    observed, say, wanted, service_facts
):
    head = PodFacts("head", wanted, "head", "Running", node="cpu-0", ready=True)
    workers = [PodFacts(f"worker-{node}", wanted, "worker", "Running", node=node, ready=True) for node in ("n0", "n1")]
    serves = observed(**BIG, ray_services=(service_facts(wanted),), nodes=(*nodes(8, 8), node_of("cpu-0", "CPU", 8)))
    serves = replace(serves, pods=(head, *workers))
    before = say(serves)
    assert find(before, "Ready").status == "True"
    lost = AwayNode("n1", H100, 8, "is not ready", lost=True)
    one = replace(serves, nodes=(*nodes(8), node_of("cpu-0", "CPU", 8)), away=(lost,))
    one = replace(one, pods=(head, workers[0], replace(workers[1], ready=False)))
    half = say(with_status(one, before))
    assert words(half, "Ready", "UpToDate") == {
        "Ready": ("True", Reason.DEGRADED),
        "UpToDate": ("True", Reason.ROLLED_OUT),
    }
    silent = (lost, replace(lost, name="n0"))
    unmarked = replace(one, nodes=(node_of("cpu-0", "CPU", 8),), away=silent, pods=serves.pods)
    assert words(say(with_status(unmarked, half)), "Ready") == {"Ready": ("False", Reason.NODES_LOST)}
    none = replace(
        one, nodes=(node_of("cpu-0", "CPU", 8),), pods=(head, *(replace(each, ready=False) for each in workers))
    )
    status = say(with_status(none, half))
    assert words(status, "Ready", "EndpointReady", "UpToDate") == {
        "Ready": ("False", Reason.NODES_LOST),
        "EndpointReady": ("False", Reason.NO_ENDPOINT),
        "UpToDate": ("True", Reason.ROLLED_OUT),
    }
    assert status.down_since is not None
    assert find(status, "Ready").message.startswith("served until ")
