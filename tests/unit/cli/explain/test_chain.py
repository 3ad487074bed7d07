"""The chain of checks behind `explain`: every outcome of every step, from facts alone."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from llama_operator.api.manifest import parse
from llama_operator.api.meta import Condition, ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus, PlanStatus, RevisionStatus
from llama_operator.cli.explain.chain import chain, ready
from llama_operator.cli.explain.cures import cures
from llama_operator.cli.explain.facts import Facts, HeldFacts, LeaseFacts
from llama_operator.cli.shared.checks import State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.conditions import ConditionFacts
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import (
    NodeFacts,
    RayClusterFacts,
    RayServiceFacts,
    RevisionFacts,
    ServeDeploymentFacts,
    Settings,
)
from llama_operator.decide.placement.shape import Amounts, Taint
from llama_operator.decide.pods import PodFacts
from llama_operator.desired import revision
from llama_operator.errors import FieldProblem
from support.deployments import node_of, observed_of

REVISION = "chat-aaaaaaaa"
NAMES = [
    "object", "operator", "license", "model", "plan", "weights", "activation", "rollout", "capacity", "cluster", "engine",
    "endpoint",
]  # fmt: skip


@pytest.fixture
def happy(now, serving_facts):
    """A deployment that serves, with an operator that is alive."""
    chosen, conditions, spec = serving_facts
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "generation": 1},
        "spec": spec,
    }
    status = LlamaDeploymentStatus.model_validate(
        {
            "observedGeneration": 1,
            "conditions": conditions(),
            "plan": {"chosen": chosen},
            "revisions": {"active": REVISION},
            "replicas": 2,
            "readyReplicas": 2,
            "url": "http://chat.team-a.svc:8000/v1",
        }
    )
    return Facts(
        namespace="team-a",
        name="chat",
        now=now,
        generation=1,
        deleted_at=None,
        finalizers=(),
        deployment=parse(json.loads(json.dumps(obj))),
        problems=(),
        status=status,
        lease=LeaseFacts("llama-system", "llama-operator-abc_1", now - timedelta(seconds=3), 15),
        nodes=(NodeFacts("gpu-1", "H100-80GB", 8), NodeFacts("gpu-2", "H100-80GB", 8), NodeFacts("cpu-1", "CPU", 32)),
        pods=(pod("head", role="head"), pod("worker", role="worker")),
        services=(ray_service("RUNNING"),),
        clusters=(RayClusterFacts(f"{REVISION}-xyz", REVISION),),
    )


KEYS = {"revision": REVISION, "mode": "Keys", "path": "Direct", "keys": "ConfigMap chat-keys"}
OPEN = {"revision": REVISION, "mode": "Open", "path": "Ingress"}


@pytest.mark.parametrize(
    ("access", "keys", "state", "evidence", "unblock"),
    [
        (KEYS, 2, State.PASSED, "keys from ConfigMap chat-keys", ""),
        (KEYS, Unknown("jo may not get configmaps"), State.PASSED, "keys from ConfigMap chat-keys", ""),
        (KEYS, 0, State.WARNING, "no key", "kubectl llama key create chat -n team-a --tenant TENANT"),
        (OPEN, None, State.PASSED, "open: anyone who reaches the Service", ""),
        (OPEN | {"advice": "set the mode to Keys"}, None, State.WARNING, "open: anyone", "set the mode to Keys"),
    ],
)
def test_the_door_is_that_of_what_serves_and_keeps_nothing_from_being_ready(
    happy, access, keys, state, evidence, unblock
):
    status = LlamaDeploymentStatus.model_validate(happy.status.to_api() | {"access": access})
    facts = replace(happy, status=status, keys=keys)
    (door,) = [check for check in chain(facts) if check.name == "door"]
    assert (door.state, door.unblock) == (state, unblock)
    assert evidence in door.evidence
    assert REVISION in door.evidence
    assert ready(facts)


def pod(name, *, role="worker", phase="Running", **kwargs):
    return PodFacts(name=f"chat-{name}", revision=REVISION, role=role, phase=phase, ready=phase == "Running", **kwargs)


def broken(waiting, **kwargs):
    return replace(pod("w", waiting=waiting, **kwargs), ready=False)


def ray_service(status, message="", *, deployments=(), conditions=()):
    return RayServiceFacts(REVISION, REVISION, 1, status, message, deployments, conditions=conditions)


def found(facts, name):
    return next(check for check in chain(facts) if check.name == name)


def with_condition(facts, kind, status, reason, message="the message", *, generation=1):
    changed = tuple(
        condition.model_copy(
            update={
                "status": ConditionStatus(status),
                "reason": reason,
                "message": message,
                "observed_generation": generation,
            }
        )
        if condition.type == kind
        else condition
        for condition in facts.status.conditions
    )
    return with_status(facts, conditions=changed)


def with_status(facts, **changed):
    return replace(facts, status=facts.status.model_copy(update=changed))


def with_spec(facts, **changed):
    spec = facts.deployment.spec.model_dump(mode="json", by_alias=True, exclude_none=True) | changed
    obj = facts.deployment.model_dump(mode="json", by_alias=True, exclude_none=True) | {"spec": spec}
    return replace(facts, deployment=parse(obj))


def states(facts):
    return {check.name: check.state for check in chain(facts)}


def test_a_deployment_that_serves_passes_every_step_in_order(happy):
    checks = chain(happy)
    assert [check.name for check in checks] == NAMES
    assert {check.state for check in checks} == {State.PASSED}
    assert not any(check.unblock for check in checks)
    assert ready(happy)


BROKE = "a worker pod broke, container ray-worker ended: Error, exit code 127"
STARTS = (pod("head", role="head"), replace(pod("w", phase="Pending"), starting=True))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, True),
        ({"pods": Unknown("you may not read pods")}, True),
        ({"kind": ConditionType.READY}, True),
        ({"kind": ConditionType.READY, "pending": REVISION}, False),
        ({"generation": 0}, False),
        ({"reason": Reason.STARTING}, False),
        ({"pods": (pod("head", role="head"), pod("w"))}, False),
    ],
    ids=["gone", "not readable", "an outage", "of another revision", "of an older spec", "no cause", "well again"],
)
def test_what_a_pod_died_of_that_is_gone_is_told_as_the_operator_saw_it(happy, more, told):
    reason, kind = more.get("reason", Reason.CONTAINER_FAILED), more.get("kind", ConditionType.MODEL_LOADED)
    facts = replace(happy, pods=more.get("pods", STARTS), services=(ray_service("DEPLOYING"),))
    facts = with_status(facts, revisions=RevisionStatus(active=REVISION, pending=more.get("pending", "")))
    message = f"{BROKE} → spec.image lacks Ray"
    facts = with_condition(facts, kind, "False", reason, message, generation=more.get("generation", 1))
    check = found(facts, "cluster")
    assert (check.state is State.FAILED) is told
    assert (BROKE in check.evidence) is told
    if told:
        assert "as the operator saw it; now: " in check.evidence
        assert check.unblock == "spec.image lacks Ray"


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        (ConditionType.READY, "False", Reason.WRITE_REFUSED),
        (ConditionType.STALLED, "True", Reason.WRITE_REFUSED),
        (ConditionType.READY, "Unknown", Reason.INTERNAL_ERROR),
        (ConditionType.READY, "Unknown", Reason.KUBERNETES_ERROR),
    ],
)
def test_a_pass_that_failed_is_a_step_of_its_own(happy, kind, status, reason):
    stalled = Condition(
        type=ConditionType.STALLED,
        status=ConditionStatus.FALSE,
        observed_generation=1,
        last_transition_time=happy.now,
        reason=Reason.SETTLED,
        message="",
    )
    facts = with_status(happy, conditions=(*happy.status.conditions, stalled))
    facts = with_condition(facts, kind, status, reason, "services is forbidden: exceeded quota: q")
    check = found(facts, "reconcile")
    assert check.state is State.FAILED
    assert check.evidence == f"{reason}: services is forbidden: exceeded quota: q"
    assert check.unblock
    assert "reconcile" not in states(replace(facts, generation=2))


def test_ready_of_an_older_spec_is_not_ready(happy):
    assert not ready(replace(happy, generation=2))
    assert not ready(with_condition(happy, ConditionType.READY, "False", Reason.STARTING))
    assert not ready(with_condition(happy, ConditionType.UP_TO_DATE, "False", Reason.ROLLING_OUT))
    assert not ready(with_status(happy, conditions=()))


def test_a_deployment_that_is_being_deleted_skips_the_rest(happy):
    checks = chain(replace(happy, deleted_at=happy.now - timedelta(minutes=5), finalizers=("acme.example/keep",)))
    assert checks[0].state is State.FAILED
    assert "acme.example/keep" in checks[0].evidence
    assert checks[0].unblock.startswith("whoever set acme.example/keep has to take it away")
    assert {check.state for check in checks[1:]} == {State.SKIPPED}
    assert [check.name for check in checks] == NAMES


def test_a_spec_that_breaks_a_rule_names_the_field(happy):
    facts = replace(happy, deployment=None, problems=(FieldProblem("spec.scaling.maxReplicas", "is 1", "raise it"),))
    assert "spec.scaling.maxReplicas" in found(facts, "object").evidence
    assert "spec.scaling.maxReplicas" in found(facts, "object").unblock


@pytest.mark.parametrize(
    ("lease", "generation", "state", "words"),
    [
        (None, 1, State.FAILED, "no operator holds a Lease"),
        ("old", 1, State.FAILED, "does not renew its Lease"),
        ("released", 1, State.FAILED, "gave up its Lease"),
        ("alive", 2, State.WAITING, "the status is about generation 1, the spec is at 2"),
        ("alive", 1, State.PASSED, "llama-operator-abc_1 leads, renewed 3s ago"),
        (Unknown("no right"), 1, State.PASSED, "no right"),
        (Unknown("no right"), 2, State.WAITING, "no right"),
    ],
)
def test_the_operator_is_alive_and_keeps_up_or_it_is_said(happy, lease, generation, state, words):
    leases = {
        "old": replace(happy.lease, renewed=happy.now - timedelta(minutes=5)),
        "released": replace(happy.lease, holder=""),
        "alive": happy.lease,
    }
    facts = replace(happy, lease=leases.get(lease, lease) if isinstance(lease, str) else lease, generation=generation)
    check = found(facts, "operator")
    assert check.state is state
    assert words in check.evidence
    assert bool(check.unblock) == (state is State.FAILED)


@pytest.mark.parametrize("name", ["license", "model", "plan", "weights"])
def test_what_the_operator_has_not_judged_waits(happy, name):
    assert found(with_status(happy, conditions=()), name).state is State.WAITING
    check = found(replace(happy, generation=2), name)
    assert check.state is State.WAITING
    assert "older spec" in check.evidence


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ConditionType.LICENSE_ACCEPTED, "license"),
        (ConditionType.MODEL_RESOLVED, "model"),
        (ConditionType.PLANNED, "plan"),
        (ConditionType.WEIGHTS_ACCESSIBLE, "weights"),
    ],
)
def test_a_judgment_that_waits_for_another_is_skipped(happy, kind, name):
    assert found(with_condition(happy, kind, "Unknown", Reason.WAITING), name).state is State.SKIPPED


@pytest.mark.parametrize(
    ("kind", "name", "reason", "words"),
    [
        (ConditionType.LICENSE_ACCEPTED, "license", Reason.ACCEPTANCE_MISSING, "llama-3.3"),
        (ConditionType.LICENSE_ACCEPTED, "license", Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED, "acme: add team-a"),
        (ConditionType.LICENSE_ACCEPTED, "license", Reason.ACCEPTANCE_NOT_FOUND, "there is none yet"),
        (ConditionType.MODEL_RESOLVED, "model", Reason.MODEL_UNKNOWN, "kubectl llama models"),
        (ConditionType.PLANNED, "plan", Reason.NOTHING_FITS, "spec.context.maxModelLength"),
        (ConditionType.PLANNED, "plan", Reason.MAX_GPUS_EXCEEDED, "spec.hardware.maxGPUs"),
    ],
)
def test_a_refusal_says_which_field_or_command_unblocks_it(happy, kind, name, reason, words):
    check = found(with_condition(happy, kind, "False", reason), name)
    assert check.state is State.FAILED
    assert reason in check.evidence
    assert "the message" in check.evidence
    assert words in check.unblock


def test_the_nearest_candidate_is_what_unblocks_a_plan(happy):
    plan = PlanStatus.model_validate(
        {"rejected": [{"candidate": "FP8 L4-24GB TP8", "reason": "WeightsDoNotFit", "message": "9 GiB over"}]}
    )
    check = found(with_condition(with_status(happy, plan=plan), ConditionType.PLANNED, "False", "NothingFits"), "plan")
    assert "FP8 L4-24GB TP8: 9 GiB over" in check.unblock


def test_records_that_may_not_be_seen_are_not_called_absent(happy):
    facts = replace(happy, acceptances=Unknown("no right"))
    check = found(
        with_condition(facts, ConditionType.LICENSE_ACCEPTED, "False", Reason.ACCEPTANCE_NOT_FOUND), "license"
    )
    assert "kubectl get licenseacceptances" in check.unblock
    assert "none" not in check.unblock


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        ("True", Reason.KV_CACHE_AS_PLANNED, State.PASSED),
        ("False", Reason.KV_CACHE_LARGER_THAN_PLANNED, State.PASSED),
        ("False", Reason.KV_CACHE_SMALLER_THAN_PLANNED, State.WARNING),
        ("Unknown", Reason.NOT_MEASURED, None),
    ],
)
def test_a_plan_that_was_wrong_is_a_warning_when_it_harms(happy, status, reason, state):
    said = Condition(
        type=ConditionType.PLAN_ACCURATE,
        status=ConditionStatus(status),
        reason=reason,
        observed_generation=1,
        last_transition_time=happy.now,
        message="12 % less",
    )
    facts = with_status(happy, conditions=(*happy.status.conditions, said))
    told = [check for check in chain(facts) if check.name == "memory"]
    assert [check.state for check in told] == ([state] if state else [])
    assert [bool(check.unblock) for check in told] == ([state is State.WARNING] if state else [])
    # Said about an older spec, it says nothing of this one.
    assert not [check for check in chain(replace(facts, generation=2)) if check.name == "memory"]


def test_every_reason_that_does_not_pass_by_waiting_has_a_cure():
    pass_by_themselves = {
        Reason.WAITING, Reason.LICENSE_ALLOWED, Reason.LICENSE_NOT_NEEDED, Reason.ACCEPTANCE_NOT_CHECKED,
        Reason.MODEL_FOUND, Reason.PLAN_FOUND, Reason.NODES_FOUND, Reason.STARTING, Reason.ENGINE_RUNNING,
        Reason.SCALED_TO_ZERO, Reason.ENDPOINT_SERVING, Reason.NO_ENDPOINT, Reason.ROLLED_OUT, Reason.ROLLING_OUT,
        Reason.SERVING, Reason.PROGRESSING, Reason.SETTLED, Reason.NOT_MEASURED,
        Reason.KV_CACHE_AS_PLANNED, Reason.KV_CACHE_LARGER_THAN_PLANNED,
        Reason.ACCESSIBLE, Reason.NOT_GATED, Reason.ALREADY_COPIED, Reason.ACCESS_NOT_CHECKED, Reason.ACCESS_CHECKING,
        Reason.COPIED, Reason.IN_IMAGE, Reason.COPY_NOT_LOOKED_AT, Reason.ERASING, Reason.ERASED,
        Reason.KEPT, Reason.WAY_OPEN, Reason.ADAPTERS_LOADED, Reason.ADAPTERS_LOADING, Reason.GUARD_RUNNING,
    }  # fmt: skip
    assert set(cures()) == set(Reason) - pass_by_themselves


@pytest.mark.parametrize(("status", "told"), [("False", [State.WARNING]), ("True", [])])
def test_a_fight_over_an_object_is_a_warning_with_a_cure(happy, status, told):
    said = Condition(
        type=ConditionType.OBJECTS_KEPT,
        status=ConditionStatus(status),
        reason=Reason.CHANGED_BY_OTHERS,
        observed_generation=1,
        last_transition_time=happy.now,
        message="Service chat was changed (spec.selector) by argocd-controller",
    )
    checks = [check for check in chain(with_status(happy, conditions=(said,))) if check.name == "objects"]
    assert [check.state for check in checks] == told
    assert all("LlamaDeployment" in check.unblock for check in checks)


@pytest.mark.parametrize("reason", sorted(cures()))
def test_every_cure_can_be_told(happy, reason):
    check = found(with_condition(happy, ConditionType.PLANNED, "False", reason), "plan")
    assert check.unblock
    assert "{" not in check.unblock


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"activation": "Suspended"}, '"activation":"Active"'),
        ({"scaling": {"mode": "Manual"}, "replicas": 0}, "kubectl scale lld chat -n team-a --replicas 1"),
    ],
)
def test_a_deployment_told_to_hold_nothing_says_how_to_start_it(happy, spec, words):
    facts = with_spec(happy, **spec)
    assert found(facts, "activation").state is State.FAILED
    assert words in found(facts, "activation").unblock
    assert {states(facts)[name] for name in NAMES[7:]} == {State.SKIPPED}


def test_a_rollout_says_which_revision_how_and_why(happy, now):
    pinned = RevisionFacts(
        "chat-bbbbbbbb", 2, PlanStatus(), {}, {}, {}, strategy="Recreate", strategy_reason="0 are free"
    )
    facts = with_status(happy, revisions=RevisionStatus(active=REVISION, pending="chat-bbbbbbbb"))
    facts = with_condition(facts, ConditionType.UP_TO_DATE, "False", Reason.ROLLING_OUT)
    check = found(replace(facts, revisions=(pinned,)), "rollout")
    assert check.state is State.WAITING
    assert "chat-bbbbbbbb is on its way (revision 2, Recreate: 0 are free)" in check.evidence
    assert f"{REVISION} has the traffic" in check.evidence
    assert found(replace(facts, revisions=Unknown("no right")), "rollout").state is State.WAITING


@pytest.mark.parametrize(("served_at", "back"), [("2026-03-01T09:30:00Z", True), ("", False)])
def test_a_rollout_that_was_given_up_fails_and_says_how_to_go_back_if_there_is_a_way(happy, served_at, back):
    older = RevisionFacts("chat-bbbbbbbb", 1, PlanStatus(), {}, {}, {}, served_at=served_at)
    facts = with_condition(happy, ConditionType.UP_TO_DATE, "False", Reason.PROGRESS_DEADLINE_EXCEEDED, "CUDA error")
    check = found(replace(facts, revisions=(older,)), "rollout")
    assert check.state is State.FAILED
    assert "CUDA error" in check.evidence
    assert ("kubectl llama rollback chat" in check.unblock) is back
    assert "spec.rollout.restartedAt" in check.unblock


def test_a_rollout_behind_an_earlier_step_is_skipped(happy):
    facts = with_condition(happy, ConditionType.UP_TO_DATE, "False", Reason.WAITING, "Planned has to become True first")
    assert found(facts, "rollout").state is State.SKIPPED


def test_what_an_earlier_step_says_is_not_said_again_by_the_rollout(happy):
    for kind in (ConditionType.PLANNED, ConditionType.UP_TO_DATE):
        happy = with_condition(happy, kind, "False", Reason.CONTEXT_TOO_LONG, "131072 is the longest")
    assert found(happy, "plan").state is State.FAILED
    assert found(happy, "rollout").state is State.SKIPPED


def test_without_kuberay_nothing_makes_clusters(happy):
    check = found(replace(happy, services=Unknown("no such kind", no_such_kind=True)), "cluster")
    assert check.state is State.FAILED
    assert "install KubeRay" in check.unblock


def test_what_is_short_for_pods_that_wait_is_told_with_its_number(happy, known):
    world = observed_of(model={"name": "llama-3.1-8b"}, hardware={"accelerator": "H100-80GB"})
    pinned = revision.new(world, decide(world, known), Settings())
    record = RevisionFacts(REVISION, 1, happy.status.plan, {}, {}, pinned.cluster)
    waits = pod("w", phase="Pending", unschedulable="0/2 nodes are available: 2 Insufficient cpu.")
    nodes = (node_of("gpu-1", "H100-80GB", 8), node_of("gpu-2", "H100-80GB", 8))
    of_all = {node.name: node.room.amounts - Amounts(2000, 64 << 30, 64 << 30, {"nvidia.com/gpu": 8}) for node in nodes}
    counted = HeldFacts({}, {}, of_all, {})
    facts = replace(
        happy, nodes=nodes, pods=(pod("head", role="head", node="gpu-1"), waits), revisions=(record,), held=counted
    )
    check = found(facts, "capacity")
    assert check.state is State.FAILED
    assert (
        "0 of 1 worker pods find a node: the next one needs 3 cpu, and gpu-1, which comes nearest, has 2 left"
        in check.evidence
    )
    taint = Taint("sku", "NoSchedule", "gpu")
    tainted = tuple(replace(node, room=replace(node.room, taints=(taint,))) for node in nodes)
    check = found(replace(facts, nodes=tainted), "capacity")
    assert "the cluster has 0 on 0 node(s); gpu-1, gpu-2 have the taint sku=gpu:NoSchedule" in check.evidence


def test_before_there_are_pods_the_operator_says_whether_nodes_are_missing(happy):
    facts = with_condition(happy, ConditionType.CAPACITY_FOUND, "False", Reason.NODES_MISSING, "0 exist, 2 are needed")
    check = found(replace(facts, pods=()), "capacity")
    assert check.state is State.WAITING
    assert "0 exist, 2 are needed" in check.evidence
    assert found(replace(happy, pods=()), "capacity").state is State.PASSED


def test_before_the_first_revision_there_is_nothing_to_see(happy):
    facts = replace(with_status(happy, revisions=None, conditions=()), services=())
    assert states(facts)["rollout"] is State.SKIPPED
    assert states(facts)["cluster"] is State.SKIPPED
    assert states(facts)["engine"] is State.SKIPPED
    assert states(with_status(happy, plan=None))["capacity"] is State.SKIPPED


def test_a_cluster_that_no_status_names_any_more_is_still_looked_at(happy):
    facts = with_status(happy, revisions=None)
    assert states(facts)["cluster"] is State.PASSED
    assert states(facts)["engine"] is State.PASSED


def test_a_pod_without_a_node_is_told_in_the_words_of_the_scheduler_with_who_holds_the_gpus(happy):
    stuck = pod("worker-2", phase="Pending", unschedulable="0/3 nodes are available: 2 Insufficient nvidia.com/gpu.")
    held = HeldFacts({"gpu-1": 8, "gpu-2": 7}, {"team-b": 12, "team-c": 3})
    check = found(replace(happy, pods=(*happy.pods, stuck), held=held), "capacity")
    assert check.state is State.FAILED
    assert "2 Insufficient nvidia.com/gpu" in check.evidence
    assert "16 on 2 node(s), 1 free; held by team-b 12, team-c 3" in check.evidence
    assert "H100-80GB" in check.unblock


@pytest.mark.parametrize("there", [True, False], ids=["a head runs", "no pod"])
def test_capacity_that_the_operator_misses_does_not_pass(happy, there):
    """Scaled to zero, the head runs: no pod waits, and the next request would."""
    facts = replace(happy, pods=happy.pods[:1] if there else ())
    check = found(with_condition(facts, "CapacityFound", "False", "NodesMissing", "0 L4-24GB exist"), "capacity")
    assert check.state is State.WAITING
    assert "0 L4-24GB exist" in check.evidence
    assert found(facts, "capacity").state is State.PASSED


def test_capacity_says_what_could_not_be_read(happy):
    assert found(replace(happy, pods=Unknown("may not list pods")), "capacity").state is State.UNKNOWN
    stuck = pod("w", phase="Pending", unschedulable="none fits")
    facts = replace(happy, pods=(stuck,), nodes=Unknown("may not list nodes"), held=Unknown("may not list pods"))
    check = found(facts, "capacity")
    assert "may not list nodes" in check.evidence
    assert "may not list pods" in check.evidence


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        ({"services": Unknown("no right")}, State.UNKNOWN, "no right"),
        ({"services": ()}, State.WAITING, f"RayService {REVISION} does not exist yet"),
        ({"clusters": ()}, State.WAITING, "no RayCluster"),
        ({"pods": Unknown("no right")}, State.UNKNOWN, "no right"),
        ({"pods": ()}, State.WAITING, "0 of 1 pods are ready"),
        ({"pods": (pod("head", role="head"), pod("w", phase="Pending"))}, State.WAITING, "chat-w: Pending"),
    ],
)
def test_the_cluster_waits_for_what_is_not_there_yet(happy, facts, state, words):
    check = found(replace(happy, **facts), "cluster")
    assert check.state is state
    assert words in check.evidence


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (pod("w", phase="Pending", waiting="ImagePullBackOff", waiting_message="not found"), "no such image or tag"),
        (broken("CrashLoopBackOff", last_exit="Error"), "kubectl logs -n team-a chat-w --previous"),
        (broken("CrashLoopBackOff", last_exit="OOMKilled"), "more memory than its limit"),
        (broken("CreateContainerConfigError"), "kubectl describe pod -n team-a chat-w"),
    ],
)
def test_a_pod_that_cannot_start_fails_the_cluster_with_the_command_to_look_closer(happy, broken, words):
    check = found(replace(happy, pods=(pod("head", role="head"), broken)), "cluster")
    assert check.state is State.FAILED
    assert broken.waiting in check.evidence
    assert words in check.unblock


def test_what_kuberay_refuses_or_cannot_make_fails_the_cluster(happy):
    refused = ConditionFacts("Ready", "False", "ValidationFailed", "name is too long")
    check = found(replace(happy, services=(ray_service("", conditions=(refused,)),)), "cluster")
    assert check.state is State.FAILED
    assert "name is too long" in check.evidence
    quota = ConditionFacts("ReplicaFailure", "True", "FailedCreateWorkerPod", "exceeded quota: gpus")
    check = found(replace(happy, clusters=(RayClusterFacts("c", REVISION, conditions=(quota,)),)), "cluster")
    assert check.state is State.FAILED
    assert "exceeded quota: gpus" in check.evidence


@pytest.mark.parametrize(
    ("status", "message", "state"),
    [
        ("", "", State.WAITING),
        ("DEPLOYING", "", State.WAITING),
        ("RUNNING", "", State.PASSED),
        ("DEPLOY_FAILED", "CUDA out of memory", State.FAILED),
        ("UNHEALTHY", "replica died", State.FAILED),
    ],
)
def test_the_engine_speaks_for_itself(happy, status, message, state):
    check = found(replace(happy, services=(ray_service(status, message),)), "engine")
    assert check.state is state
    assert message in check.evidence
    assert bool(check.unblock) == (state is State.FAILED)


def test_an_engine_that_failed_says_where_its_log_is_and_what_such_words_usually_come_from(happy):
    deployment = ServeDeploymentFacts("LLMServer", "UNHEALTHY", "ValueError: larger than the maximum KV cache")
    check = found(replace(happy, services=(ray_service("DEPLOY_FAILED", deployments=(deployment,)),)), "engine")
    assert "LLMServer UNHEALTHY: ValueError" in check.evidence
    assert "spec.context.maxModelLength" in check.unblock
    assert f"kubectl logs -n team-a -l llama-operator.io/revision={REVISION}" in check.unblock
    assert found(replace(happy, services=Unknown("no right")), "engine").state is State.UNKNOWN


def test_a_pending_revision_is_the_one_whose_pods_matter(happy):
    facts = with_status(happy, revisions=RevisionStatus(active=REVISION, pending="chat-bbbbbbbb"))
    assert "RayService chat-bbbbbbbb" in found(facts, "cluster").evidence
    assert found(facts, "engine").state is State.WAITING


def test_the_endpoint_waits_until_somebody_answers(happy):
    facts = with_condition(happy, ConditionType.ENDPOINT_READY, "False", Reason.NO_ENDPOINT)
    assert found(facts, "endpoint").state is State.WAITING
    assert found(with_status(happy, conditions=()), "endpoint").state is State.WAITING
    assert "2 of 2 replicas" in found(happy, "endpoint").evidence


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        ("Unknown", Reason.ACCESS_CHECKING, State.WAITING),
        ("False", Reason.ACCESS_CHECK_FAILED, State.WAITING),
        ("False", Reason.OFFLINE, State.WAITING),
        ("False", Reason.NOT_ACCEPTED, State.FAILED),
        ("False", Reason.TOKEN_MISSING, State.FAILED),
    ],
)
def test_a_question_that_is_asked_again_waits_and_a_refusal_fails(happy, status, reason, state):
    check = found(with_condition(happy, ConditionType.WEIGHTS_ACCESSIBLE, status, reason, "words"), "weights")
    assert check.state is state
    assert f"{reason}: words" in check.evidence


SUMS = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}
"""Conditions that follow from the others."""
SEEN_IN_PODS = {ConditionType.CAPACITY_FOUND, ConditionType.MODEL_LOADED}
"""Conditions whose steps look at pods and RayServices instead."""


@pytest.mark.parametrize("kind", [kind for kind in ConditionType if kind not in SUMS | SEEN_IN_PODS])
def test_what_a_condition_says_is_told_by_a_step(happy, kind):
    others = [condition for condition in happy.status.conditions if condition.type != kind]
    said = others[0].model_copy(
        update={"type": kind, "status": ConditionStatus.FALSE, "reason": Reason.DENIED, "message": "words of its own"}
    )
    told = chain(with_status(happy, conditions=(*others, said)))
    assert any("words of its own" in check.evidence for check in told)


OPEN = "open to everyone who reaches a.example: requests need no key"
REFUSED = "Gateway infra/public does not accept HTTPRoute chat: NotAllowedByListeners: no"


@pytest.mark.parametrize(
    ("status", "reason", "message", "state", "words"),
    [
        ("True", Reason.OPEN_TO_EVERYONE, OPEN, State.WARNING, "leave spec.endpoint.expose out"),
        ("True", Reason.WAY_OPEN, "takes requests", State.PASSED, ""),
        ("Unknown", Reason.WAY_PENDING, "no controller has judged HTTPRoute chat", State.WAITING, "gatewayclass"),
        ("False", Reason.ROUTE_NOT_ACCEPTED, f"{REFUSED} → ask", State.WARNING, "admit routes of namespace"),
        ("False", Reason.ROUTE_KIND_MISSING, "the cluster does not serve httproutes", State.WARNING, "Gateway API 1.2"),
    ],
)
def test_a_way_in_is_a_check_of_its_own_that_fails_nothing(happy, status, reason, message, state, words):
    said = Condition(
        type=ConditionType.EXPOSED,
        status=ConditionStatus(status),
        reason=reason,
        observed_generation=1,
        last_transition_time=happy.now,
        message=message,
    )
    facts = with_status(happy, conditions=(*happy.status.conditions, said), urls=("https://a.example/v1",))
    (check,) = [each for each in chain(facts) if each.name == "way in"]
    assert check.state is state
    assert words in check.unblock
    assert ("https://a.example/v1" in check.evidence) is (status == "True")
    assert " → " not in check.evidence
    assert ready(facts) == ready(happy)
    assert not [each for each in chain(happy) if each.name == "way in"]
