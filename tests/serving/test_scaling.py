"""Live settings change without a restart, and the policy follows the queue."""

import pytest

from llama_serving.contract.scaling import ScalingKnobs
from llama_serving.contract.tenants import DeskSettings
from support.serving.scaling.watching import watching

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]


def running(app):
    return {name for name, state in app.cluster.replicas(app.config.server_deployment).items() if state == "RUNNING"}


def test_editing_live_settings_keeps_the_engine(app, live, eventually):
    before = running(app)

    with watching(app.cluster) as said:
        # With a setting for the engines, for which Serve takes a replica off its list, as it does for `max_ongoing_requests`.
        knobs = DeskSettings(scaling=ScalingKnobs(reserve=0, price=1))
        app.apply(
            live(max_replicas=3, target_queue_depth=100, max_ongoing_requests=50, max_queued_requests=77, desk=knobs)
        )
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
    assert said.replicas == {len(before)}, "what serves was called gone while its settings changed"
    assert not said.refused


@pytest.mark.nightly
def test_a_queue_brings_a_second_replica_and_idleness_takes_it_away(app, live, load, eventually):
    """Nightly: `make demo` scales a real engine from one replica to two, and `tests/unit/serving/autoscaling/test_adapter.py` has the policy as Serve asks it."""
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
        return None if told is None or len(told.changes) < 2 or told.changes[0].after != 1 else told

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
