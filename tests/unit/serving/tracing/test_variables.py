"""Which variables of a pod switch traces on, and what is added beside them."""

import pytest

from llama_serving.contract.tracing import engine_arguments, protocol, sends_traces, variables_beside

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "chat", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": {"configMapKeyRef": {"name": "otel", "key": "endpoint"}}}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_an_endpoint_switches_traces_on(environment, on):
    assert sends_traces(environment) is on
    assert bool(variables_beside(environment, service="chat")) is on
    assert bool(engine_arguments(environment | ENDPOINT if on else environment)) is on


def test_what_is_added():
    added = variables_beside(ENDPOINT, service="chat", attributes={"service.namespace": "team-a", "a": "b"})
    assert added == {
        "OTEL_SERVICE_NAME": "chat",
        "OTEL_RESOURCE_ATTRIBUTES": "a=b,service.namespace=team-a",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "llama_serving.tracing.exporting:span_processors",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "0",
    }


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({"OTEL_SERVICE_NAME": "mine"}, {"OTEL_SERVICE_NAME"}),
        ({"OTEL_TRACES_SAMPLER_ARG": "1"}, {"OTEL_TRACES_SAMPLER_ARG"}),
        # Without a share, this one means all: nothing is guessed beside a sampler that somebody chose.
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}),
        (
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "vllm, ray_serve"},
            {"RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH", "RAY_SERVE_TRACING_SAMPLING_RATIO"},
        ),
    ],
)
def test_what_somebody_says_is_not_said_again(said, left):
    usual = variables_beside(ENDPOINT, service="chat")
    added = variables_beside(ENDPOINT | said, service="chat")
    assert added == {name: value for name, value in usual.items() if name not in left}


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        (ENDPOINT, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/base"}, "http://c/base/v1/traces"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x"}, "http://c:1/x"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://c:4317",
        ),
        (ENDPOINT | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "ray_serve,vllm"}, None),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"}, None),
    ],
)
def test_vllm_sends_to_the_same_place(environment, endpoint):
    assert engine_arguments(environment).get("otlp_traces_endpoint") == endpoint


@pytest.mark.parametrize("given", [{}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}])
def test_all_in_a_pod_speak_one_protocol(given):
    before = ENDPOINT | given
    pod = before | variables_beside(before, service="chat")
    assert pod["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == protocol(before) == protocol(pod)
