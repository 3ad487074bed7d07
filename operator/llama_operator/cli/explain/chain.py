"""The chain of checks from a spec to an answer, in the order in which things happen. Pure: facts in, checks out.

Called by `cli.explain.command`. What the operator has judged is taken from its conditions; what only the cluster knows (the
scheduler's word, a pod that cannot pull its image) is added to it. The steps that pods take are in `cli.explain.pods`.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from llama_operator.api.meta import Condition, ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.guard import GuardPlacement
from llama_operator.api.v1alpha1.llamadeployment import Activation
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.api.v1alpha1.scaling import ScalingMode
from llama_operator.cli.explain import events, pods, schedule, starts
from llama_operator.cli.explain.cures import unblock
from llama_operator.cli.explain.facts import Facts, LeaseFacts
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.cli.shared.output import age, plan_label
from llama_operator.decide.bounds import most_replicas
from llama_operator.decide.diagnosis.cause import BEFORE_HINT
from llama_operator.decide.placement.replica_choice import routing_advice
from llama_operator.decide.plan.status import label

_Step = Callable[[Facts], Check]

_AFTER_A_STOP = ("rollout", "capacity", "cluster", "engine", "endpoint")
"""Steps that mean nothing while the deployment is told to hold no hardware."""


def chain(facts: Facts) -> tuple[Check, ...]:
    """Judge every step; one that cannot mean anything before an earlier one has passed is skipped."""
    return tuple(_chain(facts))


def ready(facts: Facts) -> bool:
    """Whether the deployment is Ready with what the current spec asks for, and pods are left that can answer."""
    return answers(facts) and _holds(facts, ConditionType.UP_TO_DATE) and not behind(facts)


def answers(facts: Facts) -> bool:
    """Whether the deployment is Ready, be it with another revision than the spec asks for, and pods are left that can answer."""
    return _holds(facts, ConditionType.READY) and _endpoint(facts).state is not State.FAILED


def _holds(facts: Facts, kind: ConditionType) -> bool:
    condition = condition_of(facts, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def behind(facts: Facts) -> bool:
    """Whether the status is about an older spec."""
    return facts.status.observed_generation < facts.generation


def condition_of(facts: Facts, kind: ConditionType) -> Condition | None:
    """The condition of a type, if it was ever written."""
    return next((one for one in facts.status.conditions if one.type == kind), None)


def _chain(facts: Facts) -> Iterator[Check]:
    yield (first := _object(facts))
    if first.state is State.FAILED:
        yield from _skipped(("operator", "license", "model", "plan", "weights", "activation", *_AFTER_A_STOP), first)
        return
    yield _operator(facts)
    yield from _reconcile(facts)
    yield from (_judged(facts, name, kind) for name, kind in _BY_OPERATOR)
    if condition_of(facts, ConditionType.WEIGHTS_COPIED) is not None:
        yield _judged(facts, "copy", ConditionType.WEIGHTS_COPIED)
    yield (activation := _activation(facts))
    if activation.state is State.FAILED:
        yield from _skipped(_AFTER_A_STOP, activation)
        return
    yield from (steps := [step(facts) for step in _STEPS])
    yield from _door(facts)
    yield from _routing(facts)
    yield from _guard(facts)
    yield from _memory(facts)
    yield from starts.told(facts.status.cold_start)
    yield from () if facts.deployment is None else schedule.told(facts.deployment.spec.scaling, facts.now)
    yield from _objects(facts)
    yield from _way_in(facts)
    yield from _adapters(facts)
    yield from events.told(facts.warnings, pods.target(facts), steps, facts.now)


def _skipped(names: tuple[str, ...], because: Check) -> Iterator[Check]:
    return (Check(name, State.SKIPPED, f"{because.name} has to pass first") for name in names)


def _object(facts: Facts) -> Check:
    name = "object"
    if facts.deleted_at is not None:
        held = f"; finalizers: {', '.join(facts.finalizers)}" if facts.finalizers else ""
        text = f"is being deleted, asked for {age(facts.deleted_at, facts.now)} ago{held}"
        return Check(name, State.FAILED, text, _until_gone(facts))
    if facts.problems:
        return Check(
            name,
            State.FAILED,
            "; ".join(str(problem) for problem in facts.problems),
            f"kubectl edit lld {facts.name} -n {facts.namespace}: {facts.problems[0].path}",
        )
    return Check(name, State.PASSED, f"generation {facts.generation} is valid")


def _until_gone(facts: Facts) -> str:
    """What to wait for: its children where they go first, or who set a finalizer. The operator sets none."""
    others = [name for name in facts.finalizers if name not in _OF_KUBERNETES]
    if others:
        return (
            f"whoever set {', '.join(others)} has to take it away; apply the manifest again when the deployment is gone"
        )
    return "wait for its children to go, then apply the manifest again"


_OF_KUBERNETES = frozenset({"foregroundDeletion", "orphan"})
"""Finalizers that the garbage collector takes away by itself."""


def _operator(facts: Facts) -> Check:
    name, lease = "operator", facts.lease
    seen = facts.status.observed_generation
    about = f"the status is about the current generation {facts.generation}"
    if behind(facts):
        about = f"the status is about generation {seen}, the spec is at {facts.generation}"
    if seen < 0:
        about = "no operator has looked at this deployment yet"
    if isinstance(lease, Unknown):
        # A status that keeps up shows that an operator works.
        return Check(name, State.WAITING if behind(facts) else State.PASSED, f"{about} (its Lease: {lease.why})")
    if lease is None:
        return Check(name, State.FAILED, f"no operator holds a Lease; {about}", _START_OPERATOR)
    if not lease.alive(facts.now):
        return Check(name, State.FAILED, f"{_silence(lease, facts.now)}; {about}", _START_OPERATOR)
    text = f"{lease.holder} leads, renewed {age(lease.renewed, facts.now)} ago; {about}"
    return Check(name, State.WAITING if behind(facts) else State.PASSED, text)


_START_OPERATOR = "start the operator: `kubectl llama doctor` says what there is of it"


def _silence(lease: LeaseFacts, now: datetime) -> str:
    if not lease.holder:
        return "no operator leads: the last one gave up its Lease"
    return f"{lease.holder} does not renew its Lease any more: the last time {age(lease.renewed, now)} ago"


def _reconcile(facts: Facts) -> Iterator[Check]:
    """Whether the last pass over it failed: what it could not write, no later step can have."""
    failed = next((one for one in facts.status.conditions if one.reason in _FAILED), None)
    if failed is not None and failed.observed_generation == facts.generation:
        yield Check("reconcile", State.FAILED, f"{failed.reason}: {failed.message}", unblock(facts, failed))


_FAILED = frozenset({Reason.WRITE_REFUSED, Reason.INTERNAL_ERROR, Reason.KUBERNETES_ERROR})

_BY_OPERATOR = (
    ("license", ConditionType.LICENSE_ACCEPTED),
    ("model", ConditionType.MODEL_RESOLVED),
    ("plan", ConditionType.PLANNED),
    ("weights", ConditionType.WEIGHTS_ACCESSIBLE),
)

_ASKING = frozenset(
    {
        Reason.ACCESS_CHECKING,
        Reason.ACCESS_CHECK_FAILED,
        Reason.OFFLINE,
        Reason.COPYING,
        Reason.COPY_FAILED,
        Reason.COPY_STALLED,
        Reason.SOURCE_UNREACHABLE,
    }
)
"""The Hub is asked, or weights are copied; or that is tried again."""


def _judged(facts: Facts, name: str, kind: ConditionType) -> Check:
    condition = condition_of(facts, kind)
    if condition is None:
        return Check(name, State.WAITING, "the operator has not looked at it yet")
    if condition.observed_generation < facts.generation:
        return Check(name, State.WAITING, f"said about an older spec: {condition.reason}: {condition.message}")
    if condition.status is ConditionStatus.TRUE:
        return Check(name, State.PASSED, _plan_evidence(facts, condition) if name == "plan" else condition.message)
    if condition.reason in _ASKING:
        return Check(name, State.WAITING, f"{condition.reason}: {condition.message}", unblock(facts, condition))
    unknown = condition.status is ConditionStatus.UNKNOWN and condition.reason != Reason.NOT_UNDERSTOOD
    if condition.reason == Reason.WAITING or unknown:
        return Check(name, State.SKIPPED, condition.message or "an earlier condition has to become True first")
    return Check(name, State.FAILED, f"{condition.reason}: {condition.message}", unblock(facts, condition))


def _plan_evidence(facts: Facts, condition: Condition) -> str:
    chosen = facts.status.plan.chosen if facts.status.plan else None
    if chosen is None:
        return condition.message
    sizes = f"tensor {chosen.tensor_parallel_size} × pipeline {chosen.pipeline_parallel_size}"
    room = chosen.adapter_bytes_per_gpu
    kept = f", {room / (1 << 20):,.0f} MiB a GPU for adapters" if room else ""
    if chosen.guard_bytes_per_gpu:
        kept += f", {chosen.guard_bytes_per_gpu / (1 << 20):,.0f} MiB a GPU for the guard"
    return f"{plan_label(chosen)}, {sizes}, {chosen.max_model_length:,} tokens of context{kept}"


def _activation(facts: Facts) -> Check:
    name = "activation"
    if facts.deployment is None:
        return Check(name, State.SKIPPED, "the spec cannot be read")
    spec, address = facts.deployment.spec, f"lld {facts.name} -n {facts.namespace}"
    if spec.activation is not Activation.ACTIVE:
        patch = '{"spec":{"activation":"Active"}}'
        return Check(
            name,
            State.FAILED,
            f"spec.activation is {spec.activation}: no hardware is held",
            f"kubectl patch {address} --type merge -p '{patch}'",
        )
    if spec.scaling.mode is not ScalingMode.QUEUE_DEPTH and spec.replicas == 0:
        return Check(
            name, State.FAILED, "spec.replicas is 0: no hardware is held", f"kubectl scale {address} --replicas 1"
        )
    if spec.scaling.mode is ScalingMode.EXTERNAL and spec.replicas is None:
        evidence = "may hold hardware; nobody has written spec.replicas yet, and no autoscaler can read /scale before"
        return Check(
            name, State.PASSED, evidence, f"kubectl scale {address} --replicas {max(1, facts.status.replicas)}"
        )
    return Check(name, State.PASSED, "may hold hardware")


def _rollout(facts: Facts) -> Check:
    name, revisions = "rollout", facts.status.revisions
    condition = condition_of(facts, ConditionType.UP_TO_DATE)
    if condition is None:
        return Check(name, State.SKIPPED, "no revision was started yet")
    pending, active = (revisions.pending, revisions.active) if revisions else ("", "")
    how = _strategy(facts, pending or active)
    if condition.status is ConditionStatus.TRUE:
        return Check(name, State.PASSED, f"{condition.message}{how}")
    serves = f"; {active} has the traffic" if active else ""
    if (earlier := _told_before(facts, condition)) is not None:
        return Check(name, State.SKIPPED, f"{earlier} has to become True first{serves}")
    if condition.reason not in _UNDER_WAY:
        return Check(name, State.FAILED, f"{condition.reason}: {condition.message}{serves}", unblock(facts, condition))
    if condition.reason == Reason.WAITING:
        return Check(name, State.SKIPPED, f"{condition.message}{serves}")
    coming = f"{pending} is on its way{how}{serves}; " if pending else ""
    return Check(name, State.WAITING, f"{coming}{condition.reason}: {condition.message}")


def _told_before(facts: Facts, current: Condition) -> ConditionType | None:
    """The earlier condition that says what keeps the spec from being rolled out; None if none does."""
    earlier = (kind for _, kind in _BY_OPERATOR)
    return next(
        (kind for kind in earlier if (said := condition_of(facts, kind)) and said.reason == current.reason), None
    )


_UNDER_WAY = frozenset({Reason.WAITING, Reason.STARTING, Reason.ROLLING_OUT})
"""Reasons of UpToDate that pass by waiting, or by what an earlier step says."""


def _strategy(facts: Facts, revision: str) -> str:
    if isinstance(facts.revisions, Unknown):
        return ""
    pinned = next((entry for entry in facts.revisions if entry.name == revision), None)
    if pinned is None or pinned.strategy is None:
        return ""
    return f" (revision {pinned.number}, {pinned.strategy}: {pinned.strategy_reason})"


def _endpoint(facts: Facts) -> Check:
    name, condition = "endpoint", condition_of(facts, ConditionType.ENDPOINT_READY)
    if condition is None or condition.observed_generation < facts.generation:
        return Check(name, State.WAITING, "the operator has not looked at it yet")
    if condition.status is ConditionStatus.TRUE:
        replicas = f"{facts.status.ready_replicas} of {facts.status.replicas} replicas"
        return pods.endpoint(facts, Check(name, State.PASSED, f"{facts.status.url} answers, {replicas}"))
    return Check(name, State.WAITING, f"{condition.reason}: {condition.message}")


def _door(facts: Facts) -> Iterator[Check]:
    """Who may send requests to what serves: it keeps no deployment from being Ready."""
    access = facts.status.access
    if access is None:
        return
    who = f"keys from {access.keys}" if access.keys else "open: anyone who reaches the Service"
    text = f"{who} (revision {access.revision}, path {access.path})"
    text += f"; {access.house_limits}" if access.house_limits else ""
    if access.advice:
        yield Check("door", State.WARNING, text, access.advice)
    elif facts.keys == 0:
        make = f"kubectl llama key create {facts.name} -n {facts.namespace} --tenant TENANT"
        yield Check("door", State.WARNING, f"{text}: it has no key, so every request is refused", make)
    else:
        yield Check("door", State.PASSED, text)


def _routing(facts: Facts) -> Iterator[Check]:
    """How a replica is chosen, where there are several: advice, which keeps no deployment from being Ready."""
    if facts.deployment is None or most_replicas(facts.deployment.spec) == 1:
        return
    advised = routing_advice(facts.deployment.spec)
    yield Check("routing", State.PASSED, "; or ".join((advised.words, *advised.others)))


def _memory(facts: Facts) -> Iterator[Check]:
    """What the engines measured against the plan, once they did: it keeps no deployment from being Ready."""
    condition = condition_of(facts, ConditionType.PLAN_ACCURATE)
    if (
        condition is None
        or condition.observed_generation < facts.generation
        or condition.status is ConditionStatus.UNKNOWN
    ):
        return
    harmful = condition.reason == Reason.KV_CACHE_SMALLER_THAN_PLANNED
    yield Check("memory", State.WARNING if harmful else State.PASSED, condition.message, unblock(facts, condition))


def _objects(facts: Facts) -> Iterator[Check]:
    """Whether somebody keeps changing what the operator made: it keeps no deployment from being Ready, but explains much."""
    condition = condition_of(facts, ConditionType.OBJECTS_KEPT)
    if condition is not None and condition.status is ConditionStatus.FALSE:
        yield Check("objects", State.WARNING, condition.message, unblock(facts, condition))


def _way_in(facts: Facts) -> Iterator[Check]:
    """Whether requests from outside get to the endpoint, where the spec asks for it: Ready does not depend on it."""
    name, condition = "way in", condition_of(facts, ConditionType.EXPOSED)
    if condition is None or condition.observed_generation < facts.generation:
        return
    said = condition.message.partition(BEFORE_HINT)[0]
    if condition.status is ConditionStatus.TRUE:
        state = State.WARNING if condition.reason == Reason.OPEN_TO_EVERYONE else State.PASSED
        yield Check(name, state, f"{', '.join(facts.status.urls or ())}: {said}", unblock(facts, condition))
        return
    state = State.WAITING if condition.status is ConditionStatus.UNKNOWN else State.WARNING
    yield Check(name, state, f"{condition.reason}: {said}", unblock(facts, condition))


def _adapters(facts: Facts) -> Iterator[Check]:
    """Whether all replicas serve all adapters, where the spec lists some: Ready does not depend on it."""
    name, condition = "adapters", condition_of(facts, ConditionType.ADAPTERS_READY)
    if condition is None or condition.observed_generation < facts.generation:
        return
    passing = condition.status is ConditionStatus.UNKNOWN or condition.reason == Reason.ADAPTERS_LOADING
    state = State.WAITING if passing else State.WARNING
    if condition.status is ConditionStatus.TRUE:
        state = State.PASSED
    yield Check(name, state, f"{condition.reason}: {condition.message}", unblock(facts, condition))


def _guard(facts: Facts) -> Iterator[Check]:
    """Whether the guard runs, and on what: Ready does not depend on it."""
    name, condition = "guard", condition_of(facts, ConditionType.GUARD_READY)
    if condition is None or condition.observed_generation < facts.generation:
        return
    chosen = None if facts.status.plan is None else facts.status.plan.guard
    plan = "" if chosen is None else f"; {chosen.model}, {_on(chosen)}"
    text = f"{condition.message}{plan}"
    if condition.status is ConditionStatus.TRUE:
        state = State.WARNING if condition.reason == Reason.GUARD_FAILS_OPEN else State.PASSED
    else:
        state = State.WARNING if condition.reason == Reason.GUARD_DOWN else State.WAITING
    yield Check(name, state, text, unblock(facts, condition))


def _on(guard: ChosenPlan) -> str:
    if guard.placement is GuardPlacement.SHARED:
        return f"{guard.precision} on a share of the model's {guard.accelerator}"
    return f"{label(guard)}: {guard.gpus_per_replica} per replica"


_STEPS: tuple[_Step, ...] = (_rollout, pods.capacity, pods.cluster, pods.engine, _endpoint)
