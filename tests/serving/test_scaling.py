"""Live settings change without a restart, and the policy follows the queue."""

import pytest

from llama_serving.contract.scaling import ScalingKnobs
from llama_serving.contract.tenants import DeskSettings

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]


def running(app):
    return {name for name, state in app.cluster.replicas(app.config.server_deployment).items() if state == "RUNNING"}


def test_editing_live_settings_keeps_the_engine(app, live, eventually):
    before = running(app)

    app.apply(live(max_replicas=3, target_queue_depth=100, max_ongoing_requests=50, max_queued_requests=77))
    deployed = eventually(
        lambda: (
            found
            if (found := app.cluster.deployment_config(app.config.server_deployment))["max_queued_requests"] == 77
            else None
        ),
        seconds=300,
        what="Serve to take the edit over",
    )
    assert deployed["autoscaling_config"]["max_replicas"] == 3
    assert deployed["autoscaling_config"]["target_ongoing_requests"] == 100
    app.cluster.wait_until_running()
    assert app.greedy("llama", tokens=4)
    assert running(app) == before

    app.apply(live())
    app.cluster.wait_until_running()
    assert running(app) == before


def test_a_queue_brings_a_second_replica_and_idleness_takes_it_away(app, live, load, eventually):
    # What is wanted stays so while the second engine starts: then the first need not be busy meanwhile, which takes its cores.
    app.apply(live(max_replicas=2, downscale_delay_seconds=600))
    answers = load(40, tokens=400)
    eventually(lambda: app.cluster.status().target_replicas == 2, seconds=300, what="a second replica to be wanted")
    eventually(lambda: len(app.cluster.status().reports) == 2, seconds=300, what="two replicas")

    def two_serve_while_requests_keep_coming():
        unanswered = sum(not answer.done() for answer in answers)
        answers.extend(load(max(0, 40 - unanswered), tokens=400))
        status = app.cluster.status()
        return status.replicas == len(status.reports) == 2 and min(report.running for report in status.reports) > 0

    eventually(two_serve_while_requests_keep_coming, seconds=300, what="both replicas to work on the queue")
    assert {answer.result() for answer in answers} == {400}

    app.apply(live(max_replicas=2, downscale_delay_seconds=3))
    eventually(lambda: app.cluster.status().replicas == 1, seconds=300, what="one replica to be left")

    def both_are_told():
        told = app.cluster.status().scaling
        return None if told is None or len(told.changes) < 2 else told

    told = eventually(both_are_told, seconds=60, what="both changes and their reasons")
    down, up = told.changes[:2]
    assert [(one.before, one.after) for one in (up, down)] == [(1, 2), (2, 1)]
    assert up.reason.startswith("up: ")
    assert down.reason.startswith("down: ")
    assert all("requests/s" in one.reason and "needed" in one.reason for one in (up, down))
    assert told.cold_start_seconds > 1
    app.apply(live())


@pytest.mark.nightly
def test_a_reserve_is_added_to_a_load_that_one_replica_carries_and_nothing_restarts(app, live, load, eventually):
    before = running(app)
    app.apply(
        live(max_replicas=2, downscale_delay_seconds=3, desk=DeskSettings(scaling=ScalingKnobs(price=20, reserve=1)))
    )

    def two_serve_a_trickle():
        assert {answer.result() for answer in load(1, tokens=8)} == {8}
        return app.cluster.status().replicas == 2

    eventually(two_serve_a_trickle, seconds=300, what="the reserve")
    assert before < running(app)
    app.apply(live(downscale_delay_seconds=1))
    eventually(lambda: app.cluster.status().replicas == 1, seconds=300, what="the reserve to be gone")
    app.apply(live())


def test_an_idle_deployment_goes_to_zero_says_so_and_comes_back_for_a_key_only(app, live, collector, eventually):
    app.apply(live(min_replicas=0, downscale_delay_seconds=1))

    eventually(lambda: not app.cluster.replicas(app.config.server_deployment), seconds=300, what="no replica")
    empty = eventually(
        lambda: found if (found := app.cluster.status()).reports == () else None, seconds=300, what="no report"
    )
    assert (empty.replicas, empty.target_replicas, empty.queue_depth, empty.running_requests) == (0, 0, 0, 0)
    assert empty.kv_cache_tokens is None

    body = {"model": app.model, "prompt": "llama", "max_tokens": 4}
    assert app.cluster.post_with("/v1/completions", body, {"Authorization": "Bearer llm_nobody"}).status_code == 401
    for path in ("/about", "/licenses", "/v1/models", "/llama/about"):
        app.cluster.get(path)
    assert app.cluster.get("/v1/models").status_code == 200
    assert app.cluster.status().target_replicas == 0

    trace, client = "5" * 32, "5" * 16
    traced = {"traceparent": f"00-{trace}-{client}-01"}
    answer = app.cluster.post_with("/v1/completions", body | {"ignore_eos": True}, traced)
    assert answer.json()["usage"]["completion_tokens"] == 4

    # Serve has asked the policy, and not answered by itself.
    def woken():
        told = app.cluster.status().scaling
        return next((one for one in told.changes if one.before == 0), None) if told is not None else None

    woke = eventually(woken, seconds=60, what="the change from zero")
    assert woke.reason.startswith("up: requests wait and there is no replica")
    app.apply(live())
    app.cluster.wait_until_running()

    # It came in at Serve's proxy, and the engine began after it: door and desk were in two processes, and in one trace.
    def counted():
        return {span.name: span for span in collector.spans(trace)}.get(f"text_completion {app.model}")

    span = eventually(counted, seconds=60, what="the span of the desk")
    assert span.attributes["gen_ai.usage.output_tokens"] == 4
    above = {span.id: span.parent for span in collector.spans(trace)}
    way = [span.id]
    while way[-1] in above:
        way.append(above[way[-1]])
    assert way[-1] == client
    assert "text_completion" in {span.name for span in collector.spans(trace) if span.id in way}
