"""One step of a rollout: which revisions run, which has the traffic, which are over."""

from dataclasses import replace
from datetime import timedelta

import pytest

from llama_operator.api.v1alpha1.llamadeployment import RolloutStrategy
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, PlanStatus
from llama_operator.decide.observed import RevisionFacts, TrafficFacts
from llama_operator.decide.placement.pod_settings import PodSettingsByRole
from llama_operator.decide.placement.requests import Held, shapes
from llama_operator.decide.rollout.rollout import roll_out
from llama_operator.decide.rollout.strategy import Strategy, choose_strategy, needs_count
from support.deployments import node_of

OLD, NEW = "chat-old", "chat-new"
BESIDE = Strategy(RolloutStrategy.BLUE_GREEN, "test")
AFTER = Strategy(RolloutStrategy.RECREATE, "test")


def record(name, number=1, **facts):
    return RevisionFacts(name, number, PlanStatus(), {}, {}, {}, **facts)


SERVED = record(OLD, served_at="2026-01-01T00:00:00Z")


def chosen(**changes):
    counts = dict.fromkeys(ChosenPlan.model_fields, 8)
    names = {"model": "m", "precision": "FP8", "repository": "", "accelerator": "H100-80GB", "warning": ""}
    return ChosenPlan(**(counts | names | {"placement": None} | changes))


@pytest.fixture
def world(observed, service_facts, now):
    """The old revision has the traffic and serves; the new one is starting."""
    starting = service_facts(NEW, status="DEPLOYING", endpoints=0, created=now)
    return observed(
        ray_services=(service_facts(OLD, created=now), starting),
        facts={"revisions": (SERVED, record(NEW, 2)), "traffic": TrafficFacts(OLD), "now": now},
        rollout={"progressDeadlineSeconds": 600, "drainSeconds": 300},
    )


def names(services):
    return [service.name for service in services]


def test_traffic_stays_with_the_old_revision_until_the_new_one_serves(world, service_facts, now):
    starting = roll_out(NEW, world, BESIDE)
    assert (starting.traffic, names(starting.obsolete), set(starting.run)) == (OLD, [], {OLD, NEW})
    both = replace(world, ray_services=(service_facts(OLD), service_facts(NEW)))
    moved = roll_out(NEW, both, BESIDE)
    assert (moved.traffic, moved.traffic_since, names(moved.obsolete)) == (NEW, now, [])
    assert moved.next_check == 300


def test_the_old_revision_goes_when_its_drain_time_is_over(world, service_facts, now):
    both = replace(world, ray_services=(service_facts(OLD), service_facts(NEW)), traffic=TrafficFacts(NEW, now))
    assert names(roll_out(NEW, replace(both, now=now + timedelta(seconds=299)), BESIDE).obsolete) == []
    assert names(roll_out(NEW, replace(both, now=now + timedelta(seconds=300)), BESIDE).obsolete) == [OLD]


def test_an_unknown_time_of_the_switch_counts_from_now(world, service_facts, now):
    both = replace(world, ray_services=(service_facts(OLD), service_facts(NEW)), traffic=TrafficFacts(NEW))
    assert roll_out(NEW, both, BESIDE).traffic_since == now


def test_an_old_revision_whose_engine_failed_makes_room(world, service_facts):
    broken = replace(world, ray_services=(service_facts(OLD, status="DEPLOY_FAILED", endpoints=0),))
    assert names(roll_out(NEW, broken, BESIDE).obsolete) == [OLD]


def test_one_that_never_served_makes_room(world, service_facts):
    never = replace(world, ray_services=(service_facts(OLD, status="", endpoints=0),), revisions=(record(OLD),))
    assert names(roll_out(NEW, never, BESIDE).obsolete) == [OLD]


def test_one_that_served_and_stumbles_keeps_the_traffic(world, service_facts):
    stumbling = replace(world, ray_services=(service_facts(OLD, status="DEPLOYING", endpoints=0),))
    found = roll_out(NEW, stumbling, BESIDE)
    assert (found.traffic, names(found.obsolete)) == (OLD, [])


def test_a_third_revision_replaces_the_second_that_never_served(world, service_facts):
    found = roll_out("chat-third", world, BESIDE)
    assert (found.traffic, names(found.obsolete), set(found.run)) == (OLD, [NEW], {OLD, "chat-third"})


def test_recreate_starts_only_when_the_hardware_of_the_old_one_is_free(world, service_facts):
    here = replace(world, ray_services=(service_facts(OLD),))
    first = roll_out(NEW, here, AFTER)
    assert (names(first.obsolete), first.run, first.waiting_for) == ([OLD], (), (OLD,))
    leaving = replace(world, ray_services=(service_facts(OLD, leaving=True),))
    second = roll_out(NEW, leaving, AFTER)
    assert (names(second.obsolete), second.run, second.waiting_for) == ([], (), (OLD,))
    assert roll_out(NEW, replace(world, ray_services=()), AFTER).run == (NEW,)


def test_one_that_is_being_deleted_cannot_be_had_back_before_it_is_gone(world, service_facts):
    leaving = replace(world, ray_services=(service_facts(NEW, leaving=True),))
    assert roll_out(NEW, leaving, BESIDE).run == ()


def test_a_revision_that_does_not_serve_in_time_is_given_up(world, now):
    early = roll_out(NEW, replace(world, now=now + timedelta(seconds=599)), BESIDE)
    assert (early.given_up, early.next_check) == (None, 1)
    late = roll_out(NEW, replace(world, now=now + timedelta(seconds=600)), BESIDE)
    assert late.given_up.now
    assert (late.target, late.traffic, names(late.obsolete)) == (OLD, OLD, [NEW])


def test_what_was_given_up_is_not_tried_again(world, service_facts):
    given_up = replace(
        world,
        ray_services=(service_facts(OLD),),
        revisions=(SERVED, record(NEW, 2, failed_at="2026-01-01T00:00:00Z", failure="CUDA out of memory")),
    )
    found = roll_out(NEW, given_up, BESIDE)
    assert (found.run, found.given_up.message, found.given_up.now) == ((OLD,), "CUDA out of memory", False)


def test_after_recreate_the_revision_gone_back_to_waits_for_the_hardware_too(world, service_facts, now):
    failed = service_facts(NEW, status="DEPLOY_FAILED", endpoints=0, message="no kernel image", created=now)
    late = replace(world, ray_services=(failed,), traffic=TrafficFacts(NEW, now), now=now + timedelta(seconds=600))
    first = roll_out(NEW, late, AFTER)
    assert (first.target, first.run, names(first.obsolete)) == (OLD, (), [NEW])
    assert first.given_up.message == "no kernel image"
    marked = (SERVED, record(NEW, 2, failed_at="2026-01-01T00:00:00Z"))
    assert roll_out(NEW, replace(late, ray_services=(), revisions=marked), AFTER).run == (OLD,)


def test_the_first_revision_is_tried_on_because_there_is_none_to_go_back_to(world, service_facts, now):
    alone = replace(
        world,
        ray_services=(service_facts(NEW, status="DEPLOYING", endpoints=0, created=now),),
        revisions=(record(NEW),),
        traffic=TrafficFacts(NEW),
        now=now + timedelta(days=1),
    )
    found = roll_out(NEW, alone, BESIDE)
    assert (found.run, found.given_up, found.overdue) == ((NEW,), None, True)


def test_one_that_has_served_is_never_given_up(world, service_facts, now):
    broken = service_facts(NEW, status="UNHEALTHY", endpoints=0, created=now)
    later = replace(
        world,
        ray_services=(broken,),
        revisions=(SERVED, record(NEW, 2, served_at="2026-01-01T00:00:00Z")),
        now=now + timedelta(days=9),
    )
    assert roll_out(NEW, later, BESIDE).given_up is None


@pytest.mark.parametrize(
    ("free", "limits", "kind"),
    [
        ((8,), {}, RolloutStrategy.BLUE_GREEN),
        ((7,), {}, RolloutStrategy.RECREATE),
        ((4, 4), {}, RolloutStrategy.RECREATE),
        ((), {}, RolloutStrategy.RECREATE),
        ((8, 8), {"maxGPUs": 15}, RolloutStrategy.RECREATE),
        ((8, 8), {"maxGPUs": 16}, RolloutStrategy.BLUE_GREEN),
        (None, {}, RolloutStrategy.BLUE_GREEN),
    ],
)
def test_auto_takes_a_second_copy_only_where_there_is_room_for_it(observed, service_facts, known, free, limits, kind):
    rooms = None if free is None else tuple(node_of(f"n{n}", "H100-80GB", count).room for n, count in enumerate(free))
    world = observed(
        ray_services=(service_facts(OLD),), facts={"free": rooms}, hardware={"accelerator": "H100-80GB"} | limits
    )
    model = known.model("llama-3.1-8b")
    held = Held(model, model.variants[0], known.accelerator("H100-80GB"), devices=8)
    plan = chosen(gpus_per_replica=8, nodes_per_replica=1)
    found = choose_strategy(world, NEW, plan, None, shapes(held, PodSettingsByRole()))
    assert (found.kind, found.pinned) == (kind, True)


def test_what_auto_came_to_stays(observed, service_facts):
    world = observed(ray_services=(service_facts(OLD),), facts={"free": (node_of("n", "H100-80GB", 80).room,)})
    pinned = record(NEW, strategy=RolloutStrategy.RECREATE, strategy_reason="7 were free")
    assert choose_strategy(world, NEW, chosen(), pinned) == Strategy(
        RolloutStrategy.RECREATE, "7 were free", pinned=True
    )


def test_free_accelerators_are_counted_only_when_the_choice_needs_it(observed, service_facts):
    old = (service_facts(OLD),)
    assert needs_count(observed(ray_services=old), NEW)
    assert not needs_count(observed(ray_services=()), NEW)
    assert not needs_count(observed(ray_services=old, rollout={"strategy": "Recreate"}), NEW)
    pinned = record(NEW, strategy=RolloutStrategy.RECREATE)
    assert not needs_count(observed(ray_services=old, facts={"revisions": (pinned,)}), NEW)
