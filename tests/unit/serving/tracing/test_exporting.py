"""How spans leave a process: to a real collector, to none, and to one that does not answer."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llama_serving.contract.tracing import SPAN_PROCESSORS, variables_beside
from llama_serving.tracing import switch
from llama_serving.tracing.exporting import Bounded, Discreet
from support.serving.collector import collecting
from support.serving.ray_cluster import SERVING_SOURCES, free_ports

WORDS = "What is a llama?"
PATIENCE = 60.0
"""Seconds that no step takes on the slowest machine, and that is nothing beside a wait."""

A_PROCESS = """
import asyncio, sys, time
from llama_serving.door.installed import middlewares
from llama_serving.tracing import switch

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def receive():
    return {"type": "http.request", "body": b""}

async def send(message):
    pass

(middleware,) = middlewares()
door = middleware.cls(app, *middleware.args, **middleware.kwargs)
slowest = 0.0
for _ in range(int(sys.argv[1])):
    scope = {"type": "http", "method": "GET", "path": "/about", "headers": [], "query_string": b""}
    began = time.perf_counter()
    asyncio.run(door(scope, receive, send))
    slowest = max(slowest, time.perf_counter() - began)
began = time.perf_counter()
switch.flush()
print(slowest, time.perf_counter() - began)
"""


def in_a_process(*, requests, **variables):
    """Ask a door of another process; return its slowest request and the time of its end, in seconds, and what it logged."""
    environment = {
        "PATH": "/usr/bin",
        "HOME": "/nonexistent",
        "PYTHONPATH": str(SERVING_SOURCES),
        "LLAMA_SERVING_DOOR": '{"access": "Open"}',
        "OTEL_TRACES_SAMPLER": "always_on",
        **variables,
    }
    environment |= variables_beside(environment, service="chat", attributes={"service.namespace": "team-a"})
    command = [sys.executable, "-W", "ignore", "-c", A_PROCESS, str(requests)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    slowest, end = map(float, done.stdout.split())
    return slowest, end, done.stderr


@pytest.fixture
def collector():
    with collecting() as running:
        yield running


def test_spans_reach_the_collector_that_the_variables_name(collector):
    in_a_process(requests=3, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    spans = collector.spans()
    assert [span.name for span in spans] == ["GET /about"] * 3
    assert spans[0].resource["service.name"] == "chat"
    assert spans[0].resource["service.namespace"] == "team-a"
    assert spans[0].scope == "llama_serving"
    assert len({span.trace for span in spans}) == 3


class OverGRPC(TraceServiceServicer):
    def __init__(self):
        self.names = []

    def Export(self, request, context):  # noqa: N802 - the protocol's name
        self.names += [
            span.name for each in request.resource_spans for scope in each.scope_spans for span in scope.spans
        ]
        return ExportTraceServiceResponse()


def test_spans_travel_by_grpc_if_the_variables_say_so():
    server, collector = grpc.server(futures.ThreadPoolExecutor(max_workers=1)), OverGRPC()
    add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        in_a_process(
            requests=2,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
    finally:
        server.stop(None).wait()
    assert collector.names == ["GET /about"] * 2


def test_a_setting_that_nobody_understands_is_said_and_serves_all_the_same(collector):
    _, _, log = in_a_process(
        requests=1,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL="carrier-pigeon",
    )
    assert collector.raw == b""
    assert "carrier-pigeon" in log


@pytest.fixture
def mute():
    """The port of a collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("is_there", [False, True])
def test_no_request_waits_for_a_collector_that_says_nothing_and_the_end_waits_for_seconds_only(mute, is_there):
    port = mute if is_there else free_ports(1)[0]
    # More requests than the queue holds, so that some are dropped. Who waited for an answer would wait for ten minutes.
    settings = {"OTEL_BSP_MAX_QUEUE_SIZE": "600", "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
    slowest, end, _ = in_a_process(requests=1000, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", **settings)
    assert slowest < PATIENCE
    assert end < PATIENCE


def test_traces_cost_nothing_where_they_are_off():
    code = "import sys; import llama_serving.door.installed; print('opentelemetry.sdk' in sys.modules)"
    environment = {"PATH": "/usr/bin", "PYTHONPATH": str(SERVING_SOURCES)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_serve_takes_the_way_out_by_its_name(monkeypatch, collector):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    code = (
        f"from ray.serve._private import tracing_utils as t; print(t._load_span_processors({SPAN_PROCESSORS!r}, 'f'))"
    )
    environment = os.environ | {"PYTHONPATH": str(SERVING_SOURCES)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Bounded" in done.stdout, done.stderr


def test_the_words_of_an_exception_stay_here():
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Discreet(kept)))
    tracer = provider.get_tracer("serve")
    with pytest.raises(ValueError, match="llama"), tracer.start_as_current_span("span", attributes={"a": 1}):
        raise ValueError(WORDS)
    with tracer.start_as_current_span("without") as span:
        span.add_event("event", {"b": 2})
    failed, without = kept.get_finished_spans()
    assert WORDS not in failed.to_json()
    assert failed.events[0].attributes == {"exception.type": "ValueError", "exception.escaped": "False"}
    assert (failed.status.is_ok, dict(failed.attributes or {}), failed.name) == (False, {"a": 1}, "span")
    assert failed.get_span_context().span_id != without.get_span_context().span_id
    assert without.events[0].attributes == {"b": 2}


class Stuck(SpanExporter):
    def __init__(self):
        self.free = threading.Event()

    def export(self, spans):
        self.free.wait()
        return SpanExportResult.FAILURE


def test_an_end_is_bounded_also_if_the_exporter_is_stuck():
    stuck = Stuck()
    processor = Bounded(BatchSpanProcessor(stuck), seconds=0.05)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for _ in range(5):
        provider.get_tracer("test").start_span("span").end()
    began = time.monotonic()
    assert processor.force_flush() is False
    processor.shutdown()
    assert time.monotonic() - began < PATIENCE
    stuck.free.set()


def test_without_an_endpoint_there_are_no_traces(monkeypatch):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert switch.traces() is None
    switch.flush()
