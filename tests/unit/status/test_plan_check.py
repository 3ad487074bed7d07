"""Planned against measured: what was wrong is told, in which direction, and never against readiness."""

from dataclasses import replace

import pytest

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import Reason
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import RevisionFacts, Settings
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.desired import revision
from llama_operator.status import events, summary
from llama_serving.contract.status import DeploymentIdentity, ServingStatus

GPU = {
    "model": {"name": "llama-3.1-8b", "precision": "BF16"},
    "context": {"maxModelLength": 8192, "concurrentSequences": 4},
    "hardware": {"accelerator": "H100-80GB"},
}
CPU = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}}


def serving(name, tokens, concurrency=None, **changes):
    values = {
        "model_id": "m",
        "replicas": 1,
        "target_replicas": 1,
        "queue_depth": 0,
        "running_requests": 0,
        "kv_cache_tokens": tokens,
        "max_concurrency": concurrency,
    }
    identity = DeploymentIdentity(namespace="team-a", name="chat", revision=name)
    return ServingStatus(identity=identity, **(values | changes))


@pytest.fixture
def world(observed, service_facts, deployment, known):
    """A deployment whose pinned revision serves, and how large its planned KV cache is."""

    def build(spec, *, measured=None, concurrency=None, answering=None, before=None, **changes):
        spec = {"license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"}} | spec | changes
        name = revision_of(deployment(**spec)).name
        fresh = observed(**spec)
        pinned: RevisionFacts = revision.new(fresh, decide(fresh, known), Settings())
        share = measured if isinstance(measured, int) or measured is None else int(planned_of(pinned) * measured)
        found = observed(
            **spec,
            ray_services=(service_facts(name, holds_replicas=True),),
            serving=None if measured is None else serving(answering or name, share, concurrency),
            facts={"revisions": (replace(pinned, served_at="2026-03-02T09:00:00Z"),)},
        )
        if before is not None:
            found = replace(found, deployment=found.deployment.model_copy(update={"status": before}))
        return found

    return build


def planned_of(pinned):
    return pinned.plan.chosen.kv_cache_tokens


@pytest.fixture
def say(known, now):
    def build(found, *, at=now):
        return summary.build(found, decide(found, known), failure=None, now=at)

    return build


def accurate(status):
    found = next(condition for condition in status.conditions if condition.type == "PlanAccurate")
    return found.status, found.reason, found.message


def ready(status):
    return next(condition.status for condition in status.conditions if condition.type == "Ready")


@pytest.mark.parametrize(
    ("share", "status", "reason"),
    [
        (1.0, ConditionStatus.TRUE, Reason.KV_CACHE_AS_PLANNED),
        (0.901, ConditionStatus.TRUE, Reason.KV_CACHE_AS_PLANNED),
        (1.099, ConditionStatus.TRUE, Reason.KV_CACHE_AS_PLANNED),
        (0.899, ConditionStatus.FALSE, Reason.KV_CACHE_SMALLER_THAN_PLANNED),
        (1.101, ConditionStatus.FALSE, Reason.KV_CACHE_LARGER_THAN_PLANNED),
        (0.0, ConditionStatus.FALSE, Reason.KV_CACHE_SMALLER_THAN_PLANNED),
    ],
)
def test_more_than_a_tenth_off_is_wrong_in_the_direction_that_it_is(world, say, share, status, reason):
    told = say(world(GPU, measured=share))
    assert accurate(told)[:2] == (status, reason)
    assert ready(told) == "True"
    assert told.kv_cache.planned_tokens == told.plan.chosen.kv_cache_tokens
    assert told.kv_cache.measured_tokens == int(told.plan.chosen.kv_cache_tokens * share)


def test_too_small_says_whether_what_is_asked_for_still_fits(world, say):
    _, _, holds = accurate(say(world(GPU, measured=0.8)))
    assert "still holds the 4 asked for" in holds
    _, _, breaks = accurate(say(world(GPU, measured=3 * 8192)))
    assert "only 3 sequences of 8,192 tokens fit at once, 4 are asked for" in breaks
    assert "spec.context.maxModelLength" in breaks


def test_too_large_is_called_harmless_and_asks_for_nothing(world, say):
    _, _, message = accurate(say(world(GPU, measured=1.5)))
    assert "harmless" in message
    assert "lower" not in message


def test_the_engines_own_concurrency_counts(world, say):
    assert say(world(GPU, measured=1.0, concurrency=7.9)).kv_cache.measured_concurrency == 7


def test_on_cpu_the_cache_is_compared_with_the_size_that_is_set(world, say):
    (record,) = world(CPU).revisions
    mib = record.serve_config["applications"][0]["args"]["engine"]["cpu_kv_cache_mib"]
    # 2 layers x 4 KV heads x head size 32 x keys and values x 2 bytes = 1 KiB a token.
    told = say(world(CPU, measured=mib * 1024))
    status, reason, message = accurate(told)
    assert (status, reason) == (ConditionStatus.TRUE, Reason.KV_CACHE_AS_PLANNED)
    assert told.kv_cache.planned_tokens == told.plan.chosen.kv_cache_tokens == mib * 1024
    assert f"set to {mib:,} MiB" in message
    assert "nothing of the memory" in message
    assert accurate(say(world(CPU, measured=mib * 512)))[1] == Reason.KV_CACHE_SMALLER_THAN_PLANNED


def test_pods_that_do_not_tell_leave_it_unknown(world, say):
    old = world(GPU, measured=1.0)
    old = replace(old, serving=old.serving.model_copy(update={"kv_cache_tokens": None, "max_concurrency": None}))
    told = say(old)
    assert accurate(told)[:2] == (ConditionStatus.UNKNOWN, Reason.NOT_MEASURED)
    assert told.kv_cache is None
    assert ready(told) == "True"


def test_what_another_revision_measured_is_no_measurement_of_this_one(world, say):
    told = say(world(GPU, measured=0.5, answering="chat-old"))
    assert accurate(told)[:2] == (ConditionStatus.UNKNOWN, Reason.NOT_MEASURED)
    before = say(world(GPU, measured=0.5))
    later = say(world(GPU, measured=0.5, answering="chat-new", before=before, context={"maxModelLength": 4096}))
    assert later.kv_cache is None
    assert accurate(later)[1] == Reason.NOT_MEASURED


def test_a_measurement_stands_while_nobody_answers_and_nothing_is_written_for_it(world, say):
    first = say(world(GPU, measured=0.8))
    silent = say(world(GPU, before=first))
    assert silent.kv_cache == first.kv_cache
    assert accurate(silent) == accurate(first)
    again = say(world(GPU, measured=0.8, before=first))
    assert again == first


def test_a_few_blocks_more_or_less_write_nothing_and_what_matters_does(world, say):
    first = say(world(GPU, measured=0.950))
    assert say(world(GPU, measured=0.955, before=first)) == first
    later = say(world(GPU, measured=0.85, before=first))
    assert accurate(later)[1] == Reason.KV_CACHE_SMALLER_THAN_PLANNED
    assert later.kv_cache_tokens == later.kv_cache.measured_tokens < first.kv_cache_tokens


@pytest.mark.parametrize("changes", [{"activation": "Suspended"}, {"context": {"maxModelLength": 1_000_000}}])
def test_without_a_rollout_there_is_nothing_to_judge(world, say, observed, changes, known, now):
    before = say(world(GPU, measured=0.8))
    spec = {"license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"}} | GPU | changes
    found = observed(**spec)
    found = replace(found, deployment=found.deployment.model_copy(update={"status": before}))
    told = summary.build(found, decide(found, known), failure=None, now=now)
    assert accurate(told)[0] is ConditionStatus.UNKNOWN
    assert told.kv_cache is None


@pytest.mark.parametrize(("share", "kind"), [(0.5, "Warning"), (2.0, "Normal"), (1.0, None)])
def test_an_event_tells_it_once(world, say, known, share, kind):
    first = world(GPU, measured=share)
    told = say(first)
    facts = [
        e for e in events.events(first, decide(first, known), None, told, events.Done()) if e.reason == "PlanMissed"
    ]
    assert [event.type for event in facts] == ([kind] if kind else [])
    again = world(GPU, measured=share, before=told)
    assert not [
        e
        for e in events.events(again, decide(again, known), told, say(again), events.Done())
        if e.reason == "PlanMissed"
    ]


def test_a_status_without_a_measurement_is_read_and_written_as_before(world, say):
    told = say(world(GPU))
    assert "kvCache" not in told.to_api()
    full = say(world(GPU, measured=1.0)).to_api()["kvCache"]
    assert set(full) == {"revision", "plannedTokens", "measuredTokens", "plannedConcurrency", "measuredConcurrency"}
