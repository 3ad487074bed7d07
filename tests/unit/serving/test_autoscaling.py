import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_serving.autoscaling import (
    METRIC_KV_USAGE,
    METRIC_RUNNING,
    METRIC_SLOTS,
    METRIC_WAITING,
    Memory,
    QueueDepthPolicy,
    ReplicaLoad,
    Settings,
    Signal,
    decide,
)

untimed = settings(deadline=None)
"""The machine that runs this may be busy."""

NOW = 10_000.0
SETTLED = NOW - 1000


def signal(*, queued=0.0, waiting=0.0, running=0.0, kv=0.0, slots=8.0, ready=1, target=None, **bounds):
    """A fleet of equal replicas; `waiting`, `running` and `kv` are those of each."""
    values = {"target_queue_depth": 4.0, "minimum": 0, "maximum": 100} | bounds
    load = ReplicaLoad(waiting=waiting, running=running, kv_usage=kv, slots=slots)
    return Signal(
        queued=queued, loads=(load,) * ready, ready=ready, target=ready if target is None else target, **values
    )


def replicas(found):
    return decide(found, Memory(ready=found.ready, ready_since=SETTLED), now=NOW).replicas


loads = st.builds(
    ReplicaLoad,
    waiting=st.floats(0, 100),
    running=st.floats(0, 64),
    kv_usage=st.floats(0, 1),
    slots=st.floats(1, 64),
)
garbage = st.one_of(st.floats(max_value=-0.001), st.just(math.nan), st.just(math.inf))


queues = st.floats(0, 1e6)


@st.composite
def signals(draw, *, queued=queues):
    minimum = draw(st.integers(0, 20))
    ready = draw(st.integers(0, 20))
    return Signal(
        queued=draw(queued),
        loads=tuple(draw(st.lists(loads, min_size=ready, max_size=ready))),
        ready=ready,
        target=draw(st.integers(0, 40)),
        target_queue_depth=draw(st.floats(0.5, 100)),
        minimum=minimum,
        maximum=draw(st.integers(max(1, minimum), 40)),
    )


def with_queue(found, queued):
    return replace(found, queued=queued)


memories = st.builds(Memory, ready=st.integers(0, 20), ready_since=st.floats(0, NOW))
anything = st.one_of(st.floats(), st.floats(0, 1e6))


@untimed
@given(signals(queued=anything), memories)
def test_no_signal_leaves_the_bounds(found, memory):
    assert found.minimum <= decide(found, memory, now=NOW).replicas <= found.maximum


@untimed
@given(signals(), memories, st.floats(0, 1e6))
def test_a_longer_queue_never_gives_fewer_replicas(found, memory, more):
    longer = with_queue(found, found.queued + more)

    assert decide(longer, memory, now=NOW).replicas >= decide(found, memory, now=NOW).replicas


@untimed
@given(signals(), memories)
def test_no_decision_asks_for_more_than_twice_the_replicas_that_serve(found, memory):
    wanted = decide(found, memory, now=NOW).replicas

    assert wanted <= max(2 * found.ready, 1, found.target, found.minimum)


@untimed
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.integers(1, 10))
def test_a_cold_start_that_outlasts_any_queue_does_not_run_away(seen, ready):
    memory, target = Memory(ready=ready, ready_since=SETTLED), ready
    for tick, queued in enumerate(seen):
        found = signal(queued=queued, waiting=4, running=8, ready=ready, target=target, minimum=1, maximum=1000)
        decision = decide(found, memory, now=NOW + tick)
        memory, target = decision.memory, decision.replicas
        assert target <= 2 * ready


@untimed
@given(signals(), memories, garbage)
def test_an_absurd_queue_changes_nothing(found, memory, absurd):
    decision = decide(with_queue(found, absurd), memory, now=NOW)

    assert decision.replicas == min(max(found.target, found.minimum), found.maximum)


@untimed
@given(signals(), memories, garbage, st.sampled_from(["waiting", "running", "kv_usage", "slots"]))
def test_an_absurd_report_of_one_replica_changes_nothing(found, memory, absurd, field):
    healthy = {"waiting": 1.0, "running": 1.0, "kv_usage": 0.1, "slots": 8.0}
    broken = ReplicaLoad(**(healthy | {field: absurd}))
    spoiled = replace(found, loads=(*found.loads[1:], broken), ready=max(1, found.ready))

    assert decide(spoiled, memory, now=NOW).replicas == min(max(found.target, found.minimum), found.maximum)


def test_a_replica_that_has_not_reported_changes_nothing():
    full = signal(queued=100, waiting=4, running=8, ready=3)
    missing = replace(full, loads=full.loads[:2])

    assert replicas(full) > 3
    assert replicas(missing) == 3


@pytest.mark.parametrize(
    ("queued", "expected"),
    [
        (0, 2),  # the engines' own queues are within the target
        (1, 3),
        (12, 3),  # one replica runs eight more and queues four
        (13, 4),
        (1000, 4),  # at most twice what serves
    ],
)
def test_new_replicas_are_as_many_as_take_what_exceeds_the_target(queued, expected):
    assert replicas(signal(queued=queued, waiting=4, running=8, slots=8, ready=2)) == expected


def test_replicas_that_start_count_as_if_they_served():
    assert replicas(signal(queued=12, waiting=4, running=8, slots=8, ready=2, target=3)) == 3


def test_the_relief_of_a_new_replica_is_awaited_before_another_is_added():
    found = signal(queued=100, waiting=4, running=8, ready=2)
    just_ready = Memory(ready=1, ready_since=SETTLED)

    first = decide(found, just_ready, now=NOW)
    later = decide(found, first.memory, now=NOW + Settings().settle_seconds)

    assert first.replicas == 2
    assert later.replicas > 2


def test_a_request_wakes_a_fleet_at_zero_with_one_replica():
    assert replicas(signal(queued=1, ready=0)) == 1
    assert replicas(signal(queued=500, ready=0)) == 1
    assert replicas(signal(queued=500, ready=0, target=1)) == 1


def test_a_fleet_at_zero_stays_there_while_nobody_asks():
    assert replicas(signal(ready=0)) == 0
    assert replicas(signal(ready=0, minimum=2)) == 2


def test_an_idle_fleet_shrinks_by_halves_and_then_to_zero():
    seen = [9]
    while seen[-1] > 0:
        seen.append(replicas(signal(ready=seen[-1])))

    assert seen == [9, 5, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ({"running": 1.0}, 2),
        ({"running": 7.0}, 4),  # busy, though nothing waits
        ({"running": 1.0, "kv": 0.8}, 4),  # few requests, but long ones
        ({"running": 1.0, "waiting": 1.0}, 4),  # something waits
        ({"running": 1.0, "waiting": 0.3}, 2),  # requests pass through the queue
    ],
)
def test_a_fleet_shrinks_only_to_what_holds_its_load_with_room_to_spare(load, expected):
    assert replicas(signal(ready=4, **load)) == expected


def test_a_replica_that_still_runs_something_is_not_taken_to_zero():
    assert replicas(signal(ready=1, running=1)) == 1


def context(**changes):
    values = {
        "current_num_replicas": 1,
        "target_num_replicas": 1,
        "capacity_adjusted_min_replicas": 0,
        "capacity_adjusted_max_replicas": 10,
        "current_time": NOW,
        "policy_state": {},
        "running_replicas": ["r1"],
        "config": SimpleNamespace(target_ongoing_requests=4.0),
        "total_queued_requests": 20.0,
        "total_num_requests": 32.0,
        "aggregated_metrics": {
            METRIC_WAITING: {"r1": 4.0},
            METRIC_RUNNING: {"r1": 8.0},
            METRIC_KV_USAGE: {"r1": 0.2},
            METRIC_SLOTS: {"r1": 8.0},
        },
    }
    return SimpleNamespace(**(values | changes))


def settled(policy, **changes):
    """What the policy says once the first replica has been ready for long."""
    _, state = policy(context(**changes))
    return policy(context(**changes, policy_state=state, current_time=NOW + 60))[0]


def test_the_policy_reads_its_set_point_from_the_live_config():
    assert settled(QueueDepthPolicy()) == 2
    assert settled(QueueDepthPolicy(), config=SimpleNamespace(target_ongoing_requests=50.0)) == 1


def test_the_policy_wakes_the_fleet_for_a_request_that_a_router_holds_back():
    asleep = {"current_num_replicas": 0, "target_num_replicas": 0, "running_replicas": [], "aggregated_metrics": None}

    assert settled(QueueDepthPolicy(), **asleep, total_queued_requests=0.0, total_num_requests=1.0) == 1
    assert settled(QueueDepthPolicy(), **asleep, total_queued_requests=0.0, total_num_requests=0.0) == 0


@pytest.mark.parametrize("metrics", [None, {}, {METRIC_WAITING: {"r1": 4.0}}, {METRIC_WAITING: {"another": 4.0}}])
def test_the_policy_holds_while_reports_are_missing(metrics):
    assert settled(QueueDepthPolicy(), aggregated_metrics=metrics) == 1


def test_the_policy_never_raises_and_then_holds(caplog):
    policy = QueueDepthPolicy()

    assert policy(context(config=None, target_num_replicas=7)) == (7, {})
    assert policy(context(total_queued_requests="many", target_num_replicas=7)) == (7, {})
    # Serve calls it ten times a second.
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
