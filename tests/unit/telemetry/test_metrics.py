"""Numbers and spans, through the real OpenTelemetry SDK."""

import re
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from generate.process_reference import metrics as reference
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.settings.operator import Switch
from llama_operator.telemetry import metrics as telemetry_metrics
from llama_operator.telemetry.context import CURRENT_PASS
from llama_operator.telemetry.export import Export, OtlpSettings
from llama_operator.telemetry.measured import MeasuredCluster
from llama_operator.telemetry.metrics import (
    COLD_START,
    DEMAND,
    INSTRUMENTS,
    PLAN_RATIO,
    QUEUE_DEPTH,
    Instrument,
    InstrumentKind,
    Metrics,
    cold_starts,
    demand,
    given_up,
    plan_ratios,
)
from llama_operator.telemetry.pass_meter import PassMeter
from llama_operator.telemetry.passes import Outcome
from llama_serving.contract.status import DeploymentIdentity, ScalingState, ServingStatus

CHAT = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
NOTHING_SENT = OtlpSettings(traces=False, metrics=False)
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "chat", "namespace": "team-a"},
    "spec": {"ports": [{"port": 8000}]},
}


@pytest.fixture
async def export():
    async with Export(Switch.ENABLED, NOTHING_SENT) as found:
        yield found


def value(export, name, **labels):
    """One number of /metrics."""
    for line in export.scrape().decode().splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) == labels:
            return float(found[2])
    return None


def test_passes_are_counted_by_result_with_their_duration(export):
    clock = iter([10.0, 10.5, 20.0, 21.0])
    meter = PassMeter(Metrics(export.meter), None, clock=lambda: next(clock))
    with meter.measure(CHAT) as measured:
        measured.outcome = Outcome.SUCCESS
    with meter.measure(CHAT) as measured:
        measured.outcome = Outcome.ERROR
    assert value(export, "llama_operator_reconciles_total", result="success") == 1
    assert value(export, "llama_operator_reconciles_total", result="error") == 1
    assert value(export, "llama_operator_retries_total") == 1
    assert value(export, "llama_operator_reconcile_duration_seconds_sum", result="success") == 0.5


def test_the_id_of_a_pass_is_known_inside_of_it_only(export):
    meter = PassMeter(Metrics(export.meter), None, ids=lambda: "77aa")
    with meter.measure(CHAT):
        assert CURRENT_PASS.get().reconcile_id == "77aa"
    assert CURRENT_PASS.get() is None


def test_gauges_are_read_when_somebody_asks(export):
    depth = 3
    Metrics(export.meter).observe(QUEUE_DEPTH, lambda: [({}, depth)])
    assert value(export, "llama_operator_queue_depth") == 3
    depth = 5
    assert value(export, "llama_operator_queue_depth") == 5


def test_deployments_that_come_and_go_leave_the_series_of_the_next_ones(export):
    """The kind of kedacore/keda#3326, with an SDK that never forgets a series and writes one without labels when there are too many."""
    turn = [0]

    def fifty():
        return [({"namespace": "ci", "deployment": f"run-{turn[0]}-{number}"}, number) for number in range(50)]

    Metrics(export.meter).observe(DEMAND[0], fifty)
    for turn[0] in range(60):
        export.scrape()
    assert value(export, "llama_operator_wanted_replicas", namespace="ci", deployment="run-59-7") == 7
    assert value(export, "llama_operator_wanted_replicas", namespace="ci", deployment="run-0-7") is None
    assert "overflow" not in export.scrape().decode()


def test_the_plans_of_deployments_are_compared_with_what_was_measured(export):
    kv_cache = {"revision": "chat-1", "plannedTokens": 1000, "measuredTokens": 850}
    deployments = [
        {"metadata": {"namespace": "team-a", "name": "chat"}, "status": {"kvCache": kv_cache}},
        {"metadata": {"namespace": "team-a", "name": "starting"}, "status": {"conditions": []}},
        {"metadata": {"namespace": "team-a", "name": "new"}},
    ]
    Metrics(export.meter).observe(PLAN_RATIO, lambda: plan_ratios(deployments))
    name = "llama_operator_plan_kv_cache_ratio"
    assert value(export, name, namespace="team-a", deployment="chat") == 0.85
    assert value(export, name, namespace="team-a", deployment="starting") is None
    assert value(export, name, namespace="team-a", deployment="new") is None


def test_starts_are_shown_by_stage_as_planned_and_as_measured(export):
    stages = [{"name": "Node", "predictedSeconds": 300}, {"name": "FirstToken", "measuredSeconds": 1}, "strange"]
    told = {"plan": "p", "predictedSeconds": 700, "measuredSeconds": 410, "stages": stages}
    deployments = [
        {"metadata": {"namespace": "team-a", "name": "chat"}, "status": {"coldStart": told}},
        {"metadata": {"namespace": "team-a", "name": "new"}},
    ]
    Metrics(export.meter).observe(COLD_START, lambda: cold_starts(deployments))
    name, chat = "llama_operator_cold_start_seconds", {"namespace": "team-a", "deployment": "chat"}
    assert value(export, name, **chat, stage="Total", basis="predicted") == 700
    assert value(export, name, **chat, stage="Total", basis="measured") == 410
    assert value(export, name, **chat, stage="FirstToken", basis="measured") == 1
    assert value(export, name, **chat, stage="Node", basis="measured") is None


@pytest.mark.parametrize(("minute", "missing"), [(5, 2), (15, 0)])
def test_what_found_no_node_is_counted_until_it_is_tried_again(minute, missing):
    status = {"givenUp": {"missing": 2, "retryAt": "2026-03-02T09:10:00Z"}}
    deployments = [
        {"metadata": {"namespace": "team-a", "name": "chat"}, "status": status},
        {"metadata": {"namespace": "team-a", "name": "new"}},
    ]
    found = [*given_up(deployments, datetime(2026, 3, 2, 9, minute, tzinfo=UTC))]
    assert [(labels["deployment"], value) for labels, value in found] == [("chat", missing), ("new", 0)]


def serving(name="chat", scaling=None, **numbers):
    given = {"replicas": 2, "target_replicas": 3, "queue_depth": 7, "running_requests": 1} | numbers
    identity = DeploymentIdentity(namespace="team-a", name=name, revision="r")
    return ServingStatus(identity=identity, model_id="m", scaling=scaling, **given)


POLICY = ScalingState(
    at=1.0, wanted_replicas=3, needed_replicas=4, unbounded_replicas=5, requests_per_second=8.0, seconds_per_request=0.5
)


def test_the_policys_own_wish_is_a_number_for_autoscalers_of_others(export):
    """With External and Manual the bounds are what somebody fixed: the wish is beyond them."""
    answers = [serving(scaling=POLICY), serving("before")]
    metrics = Metrics(export.meter)
    for gauge in DEMAND:
        metrics.observe(gauge, lambda gauge=gauge: demand(answers)[gauge])
    told = {gauge.name: value(export, gauge.prometheus_name, namespace="team-a", deployment="chat") for gauge in DEMAND}
    assert told == {
        "wanted_replicas": 5,
        "needed_replicas": 4,
        "target_replicas": 3,
        "ready_replicas": 2,
        "starting_replicas": 1,
        "waiting_requests": 7,
        "arrivals": 8,
        "arriving_work": 4,
    }
    older = {
        gauge.name: value(export, gauge.prometheus_name, namespace="team-a", deployment="before") for gauge in DEMAND
    }
    assert older["ready_replicas"] == 2
    assert (older["wanted_replicas"], older["arrivals"], older["arriving_work"]) == (None, None, None), "absent, not 0"


async def test_writes_are_counted_by_kind_verb_and_result(export):
    cluster = MeasuredCluster(MemoryCluster().client("llama-operator"), Metrics(export.meter), None)
    await cluster.apply(SERVICE)
    await cluster.apply(SERVICE)
    await cluster.get(Ref(kinds.SERVICE, "team-a", "chat"))
    with pytest.raises(NotFoundError):
        await cluster.delete(Ref(kinds.SERVICE, "team-a", "other"))
    name = "llama_operator_writes_total"
    assert value(export, name, kind="Service", verb="apply", result="success") == 2
    assert value(export, name, kind="Service", verb="delete", result="error") == 1
    assert value(export, name, kind="Service", verb="get", result="success") is None


async def test_a_pass_is_one_span_with_its_requests_below_it(export):
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer, metrics = provider.get_tracer("test"), Metrics(export.meter)
    cluster = MeasuredCluster(MemoryCluster().client("llama-operator"), metrics, tracer)
    with PassMeter(metrics, tracer).measure(CHAT) as measured:
        await cluster.apply(SERVICE)
        measured.outcome = Outcome.SUCCESS
    request, whole = spans.get_finished_spans()
    assert (request.name, whole.name) == ("apply Service", "reconcile")
    assert request.parent.span_id == whole.context.span_id
    assert whole.attributes["k8s.namespace.name"] == "team-a"
    provider.shutdown()


async def test_with_everything_off_nothing_is_counted_and_nothing_fails():
    async with Export(Switch.DISABLED, NOTHING_SENT) as export:
        with PassMeter(Metrics(export.meter), None).measure(CHAT) as measured:
            measured.outcome = Outcome.SUCCESS
        assert export.scrape() == b""


def test_the_table_has_every_number_of_its_module():
    declared = {name for name, value in vars(telemetry_metrics).items() if isinstance(value, Instrument)}
    assert {name for name in declared if getattr(telemetry_metrics, name) in INSTRUMENTS} == declared


async def test_every_number_that_is_documented_exists_and_no_other(export):
    metrics = Metrics(export.meter)
    for each in INSTRUMENTS:
        labels = dict.fromkeys(each.labels, "x")
        if each.kind is InstrumentKind.GAUGE:
            metrics.observe(each, lambda labels=labels: [(labels, 1)])
    metrics.reconciles.add(1, {"result": "x"})
    metrics.reconcile_duration.record(1, {"result": "x"})
    metrics.retries.add(1)
    metrics.failures.add(1, {"stage": "x", "error": "x"})
    metrics.unreadable.add(1, {"kind": "x"})
    metrics.writes.add(1, {"kind": "x", "verb": "x", "result": "x"})
    metrics.events.add(1, {"kind": "x"})
    found = set(re.findall(r"^# TYPE (llama_operator_\w+)", export.scrape().decode(), re.MULTILINE))
    assert found == {each.prometheus_name for each in INSTRUMENTS}
    assert all(f"`{name}`" in reference() for name in found)


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False, False),
    ],
)
def test_the_standard_variables_say_what_is_sent(environment, traces, metrics):
    assert OtlpSettings.read(environment) == OtlpSettings(traces=traces, metrics=metrics)
