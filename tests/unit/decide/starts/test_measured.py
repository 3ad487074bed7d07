"""What a start takes: what pods and replicas tell is put together by stage, and nothing is guessed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llama_operator import catalog
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.bounds import knobs
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Settings
from llama_operator.decide.pods import PodFacts
from llama_operator.decide.starts.measured import cold_start, measured_seconds, predicted, seen
from llama_operator.desired import revision
from llama_operator.status import summary
from llama_serving.contract.status import DeploymentIdentity, ReplicaReport, ServingStatus, StartReport

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CATALOG = catalog.load()


def at(seconds):
    return BEGIN + timedelta(seconds=seconds)


def pod(name="chat-0", *, created=0, scheduled=290, running=410):
    return PodFacts(
        name=name, revision="r", role="worker", phase="Running",
        created=at(created), scheduled=at(scheduled), running_since=at(running),
    )  # fmt: skip


def start(began=425, ready=600, host="chat-0", **stages):
    return StartReport(host=host, began=at(began).timestamp(), ready=at(ready).timestamp(), **stages)


def told(*starts, revision="r"):
    return ServingStatus(
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision=revision), model_id="m",
        replicas=len(starts), target_replicas=len(starts), queue_depth=0, running_requests=0,
        reports=tuple(
            ReplicaReport(replica=f"r{number}", waiting=0, running=0, kv_cache_usage=0.0, start=each)
            for number, each in enumerate(starts)
        ),
    )  # fmt: skip


FULL = {"weights_seconds": 61.2, "compile_seconds": 42.0, "graphs_seconds": 21.4}


def test_stages_add_up_to_the_start():
    (one,) = seen(told(start(**FULL)), [pod()])
    assert (one.node_seconds, one.image_seconds) == (290, 120)
    assert (one.weights_seconds, one.compile_seconds, one.graphs_seconds) == (61, 42, 21)
    assert one.engine_seconds == 15 + 175 - 61 - 42 - 22, "Ray's own start and what no stage tells"
    assert one.total_seconds == 600


@pytest.mark.parametrize(
    ("pods", "total"),
    [
        pytest.param([], 175, id="pods were not read"),
        pytest.param([pod(name="chat-1")], 175, id="the pod of another replica"),
        pytest.param([pod(running=-3600, scheduled=-3700, created=-3800)], 175, id="the pod was there before"),
        pytest.param([pod(running=4000)], 175, id="its container was started again since"),
        pytest.param([replace(pod(), scheduled=None)], 175, id="nobody says when it got a node"),
    ],
)
def test_what_the_replica_did_not_wait_for_is_no_part_of_its_start(pods, total):
    (one,) = seen(told(start()), pods)
    assert (one.total_seconds, one.node_seconds, one.image_seconds) == (total, None, None)


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param(start(began=600, ready=400), id="ready before it began"),
        pytest.param(StartReport(host="", began=0.0, ready=253_402_300_799.0), id="the longest that can be told"),
        pytest.param(start(weights_seconds=1e6, compile_seconds=1e6), id="stages that are longer than the whole"),
    ],
)
def test_what_no_replica_can_mean_stops_no_pass(strange):
    answer = told(strange)
    (report,) = answer.reports
    answer = answer.model_copy(update={"reports": (report.model_copy(update={"replica": "r" * 9999}),)})
    (one,) = seen(answer, [pod()])
    assert one.total_seconds >= 0
    assert len(one.replica) == 253


def test_replicas_of_before_tell_nothing():
    assert seen(told(None), [pod()]) == ()


@pytest.fixture
def world(observed):
    """A deployment whose revision is pinned, and what its pods say."""

    def make(*starts, status=None, pods=(), other=False):
        nothing = observed()
        decision = decide(nothing, CATALOG)
        pinned = replace(revision.new(nothing, decision, Settings()), served_at="2026-03-02T09:00:00Z")
        answer = told(*starts, revision="another" if other else pinned.name)
        facts = {"revisions": (pinned,), "pods": tuple(pods), "now": at(1000)}
        given = observed(serving=answer if starts else None, facts=facts)
        if status is not None:
            given = replace(given, deployment=given.deployment.model_copy(update={"status": status}))
        return given, decide(given, CATALOG)

    return make


def look(given, decision):
    return summary.build(given, decision, failure=None, now=given.now)


def test_before_a_start_the_plan_is_all_that_is_known(world):
    given, decision = world()
    said = look(given, decision).cold_start
    assert said.predicted_seconds == decision.chosen.cold_start_seconds
    assert (said.measured_seconds, said.starts) == (None, ())
    assert [stage.name for stage in said.stages] == ["Node", "Image", "Engine", "Weights", "Compile", "Graphs"]
    assert sum(stage.predicted_seconds for stage in said.stages) == said.predicted_seconds


def test_the_median_of_the_last_five_counts(world):
    starts = [start(0, 100 + 10 * number, host=f"chat-{number}", **FULL) for number in range(7)]
    said = look(*world(*starts)).cold_start
    assert [one.total_seconds for one in said.starts] == [160, 150, 140, 130, 120]
    assert said.measured_seconds == 140
    stages = {stage.name: (stage.predicted_seconds, stage.measured_seconds) for stage in said.stages}
    assert stages["Weights"][1] == 61
    assert stages["Node"][1] is None, "nobody saw it"
    assert stages["Node"][0] is not None


def test_a_start_stays_known_when_its_replica_is_gone_and_later_looks_add_to_it(world):
    first = look(*world(start(**FULL)))
    assert first.cold_start.starts[0].node_seconds is None
    second = look(*world(start(first_token_seconds=0.6, **FULL), status=first, pods=[pod()]))
    third = look(*world(status=second))
    assert third.cold_start == second.cold_start
    (one,) = third.cold_start.starts
    assert (one.node_seconds, one.first_token_seconds, one.total_seconds) == (290, 1, 600)
    again = look(*world(start(first_token_seconds=0.6, **FULL), status=third))
    assert again.cold_start == third.cold_start, "a pass that sees nothing new writes nothing"


def test_starts_of_other_revisions_with_the_same_plan_count_and_those_of_another_plan_do_not(world):
    first = look(*world(start(**FULL)))
    other = first.cold_start.model_copy(update={"plan": "llama-2-7b BF16 H100-80GB TP1"})
    changed = look(*world(status=first.model_copy(update={"cold_start": other})))
    assert changed.cold_start.starts == ()
    unknown = look(*world(start(**FULL), other=True))
    assert unknown.cold_start.starts == (), "pods of a revision that nobody remembers"


def test_a_card_that_is_known_no_more_leaves_what_was_measured(world):
    given, decision = world(start(**FULL))
    chosen = decision.chosen.model_copy(update={"accelerator": "Gone-1"})
    assert predicted(given, CATALOG, decision.model, chosen) == ()
    said = cold_start(given, decision.chosen, (), given.serving, None)
    assert (said.predicted_seconds, said.measured_seconds) == (None, 175)


def test_the_autoscaler_is_told_the_median_and_not_of_every_breath(world):
    given, decision = world(start(0, 200))
    status = look(given, decision)
    chosen = decision.chosen
    assert measured_seconds(None, chosen, None) is None
    assert measured_seconds(status.cold_start, chosen, None) == 200.0
    assert measured_seconds(status.cold_start, chosen, 180.0) == 180.0, "near enough: Serve is left alone"
    assert measured_seconds(status.cold_start, chosen, 100.0) == 200.0
    assert measured_seconds(status.cold_start, chosen.model_copy(update={"tensor_parallel_size": 8}), None) is None


def test_the_live_settings_carry_it_without_another_revision(world):
    given, decision = world(start(0, 200))
    status = look(given, decision)
    later, again = world(start(0, 200), status=status)
    (record,) = later.revisions
    live = revision.with_live(record, later.deployment, again, runs=True).live
    assert live.desk.scaling == knobs(later.deployment.spec.scaling, 200.0)
    assert again.revision == decision.revision
    unmeasured = later.deployment.model_copy(update={"status": LlamaDeploymentStatus()})
    assert revision.with_live(record, unmeasured, again, runs=True).live.desk.scaling.cold_start is None
