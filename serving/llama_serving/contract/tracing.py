"""Traces of the data plane: which variables of a pod switch them on, and what the pod then needs beside them.

The variables are OpenTelemetry's own. A team sets them in `spec.pods.env`, a platform owner in `podDefaults.env`; the operator
adds what is missing (`variables_beside`), and `llama_serving.tracing` reads the result. Nobody who sets none gets a variable more,
so revisions stay as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"

USUAL_SAMPLER: Final = "parentbased_traceidratio"
USUAL_RATIO: Final = "0.1"
"""Share of the requests that are traced where neither the client nor the pod says it."""

SPAN_PROCESSORS: Final = "llama_serving.tracing.exporting:span_processors"
"""What Ray Serve calls in each of its processes for the way out of its own spans."""

SPANS_OF_SERVE: Final = "ray_serve"
SPANS_OF_VLLM: Final = "vllm"
"""Words in `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` that leave out the spans of one of them."""

_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_PATH: Final = "/v1/traces"


def sends_traces(environment: Mapping[str, Any]) -> bool:
    """Whether a process with these variables sends traces: an endpoint is there, and nothing switches it off.

    Args:
        environment: Variables by name: texts, or in a pod that is not made yet a `valueFrom` of Kubernetes.
    """
    if _word(environment, "OTEL_SDK_DISABLED") == "true" or _word(environment, "OTEL_TRACES_EXPORTER") == "none":
        return False
    return bool(environment.get(TRACES_ENDPOINT) or environment.get(ENDPOINT))


def wants_spans_of(who: str, environment: Mapping[str, Any]) -> bool:
    """Whether traces are on, and hold the spans of `SPANS_OF_SERVE` or `SPANS_OF_VLLM`."""
    left_out = {name.strip() for name in _word(environment, _DISABLED).split(",")}
    return sends_traces(environment) and who not in left_out


def variables_beside(
    environment: Mapping[str, Any], *, service: str, attributes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the variables that a pod with `environment` needs for its traces, without those that it has.

    Args:
        environment: Variables by name: texts, or a `valueFrom` of Kubernetes.
        service: Name of the service in traces.
        attributes: More about the service, by the names of OpenTelemetry's resources.
    """
    if not sends_traces(environment):
        return {}
    needed: dict[str, Any] = {
        "OTEL_SERVICE_NAME": service,
        # vLLM reads this one only, and takes gRPC without it.
        TRACES_PROTOCOL: environment.get(PROTOCOL) or HTTP,
    }
    if attributes:
        needed["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(f"{name}={value}" for name, value in sorted(attributes.items()))
    if SAMPLER not in environment:
        needed |= {SAMPLER: USUAL_SAMPLER, SAMPLER_ARGUMENT: USUAL_RATIO}
    if wants_spans_of(SPANS_OF_SERVE, environment):
        needed |= {
            "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": SPAN_PROCESSORS,
            # The door decides which request is traced. Calls of Serve that belong to no request are not.
            "RAY_SERVE_TRACING_SAMPLING_RATIO": "0",
        }
    return {name: value for name, value in needed.items() if name not in environment}


def protocol(environment: Mapping[str, str]) -> str:
    """Return how traces travel: `HTTP`, `GRPC`, or a word that nobody here understands."""
    return environment.get(TRACES_PROTOCOL) or environment.get(PROTOCOL) or HTTP


def engine_arguments(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the arguments of vLLM that make it send its span of a request; none where traces are off.

    An engine does not start with a protocol that vLLM does not know.
    """
    if not wants_spans_of(SPANS_OF_VLLM, environment) or protocol(environment) not in {HTTP, GRPC}:
        return {}
    endpoint = environment.get(TRACES_ENDPOINT)
    if not endpoint:
        base = environment[ENDPOINT]
        endpoint = base if protocol(environment) == GRPC else base.rstrip("/") + _PATH
    return {"otlp_traces_endpoint": endpoint}


def _word(environment: Mapping[str, Any], name: str) -> str:
    value = environment.get(name, "")
    return value.strip().lower() if isinstance(value, str) else ""
