"""The status endpoint tells the truth about a loaded and an idle deployment."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from llama_operator import catalog
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import revision
from llama_operator.desired.serve_config import serve_config
from llama_operator.status import summary
from llama_serving.config import LiveSettings
from support.deployments import deployment_of, service_facts_of

PLACEHOLDER = LiveSettings(
    min_replicas=0, max_replicas=1, target_queue_depth=1, max_ongoing_requests=1, max_queued_requests=-1
)

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]


def test_the_measured_kv_cache_has_the_size_that_was_asked_for(app, eventually):
    status = eventually(
        lambda: found if (found := app.cluster.status()).reports else None, seconds=300, what="a report"
    )

    # 64 MiB / (2 layers x 4 KV heads x head size 32 x keys and values x 2 bytes).
    assert status.kv_cache_tokens == 65_536
    # vLLM's own count of sequences of 512 tokens, which is how it tells the same size.
    assert status.max_concurrency == 65_536 / app.config.engine.max_model_len
    assert {(each.kv_cache_tokens, each.max_concurrency) for each in status.reports} == {(65_536, 128.0)}
    assert status.identity == app.config.identity
    assert (status.replicas, status.target_replicas) == (1, 1)


def test_no_process_of_a_pod_gives_way_to_others(app):
    # Ray's own default lets engines, replicas and HAProxy come last on a busy node.
    assert {process.nice() for process in app.cluster.processes()} == {0}


def test_a_replica_tells_how_it_started_and_the_engines_own_log_by_stage(app, eventually):
    status = eventually(
        lambda: found if (found := app.cluster.status()).reports else None, seconds=300, what="a report"
    )
    start = status.reports[0].start
    # A tiny model is read in no time: vLLM says 0.00.
    assert start.weights_seconds is not None, "the words of vLLM are read"
    assert 0 <= start.weights_seconds < start.ready - start.began
    assert start.host
    assert app.greedy("llama", tokens=4)
    told = eventually(
        lambda: next(
            (one.start for one in app.cluster.status().reports if one.start.first_token_seconds is not None), None
        ),
        seconds=60,
        what="the first token to be told",
    )
    assert (told.began, told.ready) == (start.began, start.ready)


def test_the_operator_finds_the_plan_accurate_by_what_the_pods_say(app, eventually):
    answer = eventually(
        lambda: found if (found := app.cluster.status()).reports else None, seconds=300, what="a report"
    )
    found = judged(app.config, answer)

    assert (found.kv_cache.planned_tokens, found.kv_cache.measured_tokens) == (65_536, 65_536)
    assert found.kv_cache.measured_concurrency == found.kv_cache.planned_concurrency == 128
    (told,) = (each for each in found.conditions if each.type == "PlanAccurate")
    assert (told.status, told.reason) == ("True", "KVCacheAsPlanned")


def judged(config, answer):
    """Status of a deployment whose pinned revision has `config`, when its pods give `answer`."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    name = config.identity.revision
    deployment = deployment_of(
        name=config.identity.name,
        namespace=config.identity.namespace,
        model={"name": "tiny-random-llama"},
        hardware={"accelerator": "CPU"},
        context={"maxModelLength": 512},
    )
    decision = decide(Observed(deployment), catalog.load())
    pinned = revision.new(Observed(deployment), decision, Settings())
    # The operator would have chosen this cache by the load it plans for; here the test did.
    pinned = replace(
        pinned, name=name, serve_config=serve_config(config, PLACEHOLDER), served_at="2026-03-02T00:00:00Z"
    )
    rollout = replace(decision.rollout, wanted=name, target=name, traffic=name)
    observed = Observed(
        deployment,
        ray_services=(service_facts_of(name),),
        revisions=(pinned,),
        now=now,
        serving=answer,
    )
    return summary.build(observed, replace(decision, rollout=rollout), failure=None, now=now)


def test_the_queue_shows_while_more_is_asked_than_runs_and_is_gone_afterwards(app, load, eventually):
    answers = load(24, tokens=300)

    busy = eventually(
        lambda: found if (found := app.cluster.status()).queue_depth > 8 and found.running_requests else None,
        seconds=300,
        what="a queue",
    )
    # Four run, all others wait in the engine, which says how many there are.
    assert busy.running_requests <= app.config.engine.max_num_seqs
    assert busy.queue_depth <= 24
    assert max(report.waiting for report in busy.reports) > 8 - app.config.engine.max_num_seqs

    assert [answer.result() for answer in answers] == [300] * 24
    idle = eventually(
        lambda: found if (found := app.cluster.status()).running_requests == found.queue_depth == 0 else None,
        seconds=300,
        what="the queue to be empty",
    )
    assert idle.replicas == 1
