# ruff: noqa: PLC0415 - see the docstring
"""Where metrics and traces go: /metrics, and an OpenTelemetry collector when one is configured. Called by `process`.

The OpenTelemetry SDK and its exporters are imported only when something is exported; else its API stands in, which costs
nothing. The SDK reads the standard OTEL_* variables by itself; here only the ones that switch something on are read.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider, Tracer
from typing_extensions import override

from llama_operator import __version__
from llama_operator.settings.operator import PROGRAM, Switch

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import CollectorRegistry

_LOG = logging.getLogger(__name__)
_SCOPE: Final = "llama_operator"
_OFF: Final = "none"
_HTTP: Final = "http/protobuf"
_MOST_SERIES: Final = 100_000
"""Series of one gauge in the life of the process, those of deployments that are gone included: the SDK never forgets one, and what is beyond
becomes one number without labels. Its own limit of 2,000 is reached by a start's stages of 140 deployments. A series takes 1.4 KB."""


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """What the environment says about OTLP."""

    traces: bool
    metrics: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the standard variables; absent ones mean that nothing is sent."""
        if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return cls(traces=False, metrics=False)
        common = bool(environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
        protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", _HTTP)
        if common and protocol != _HTTP:
            _LOG.warning("OTEL_EXPORTER_OTLP_PROTOCOL: %r is not supported; %s is sent", protocol, _HTTP)

        def wanted(signal: str) -> bool:
            if environment.get(f"OTEL_{signal}_EXPORTER", "").lower() == _OFF:
                return False
            return common or bool(environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))

        return cls(traces=wanted("TRACES"), metrics=wanted("METRICS"))


class Export(AbstractAsyncContextManager["Export"]):
    """The ways out, for as long as it is entered; the last numbers and spans are sent at the end.

    Args:
        metrics: Whether /metrics answers.
        otlp: What is sent to a collector.
    """

    def __init__(self, metrics: Switch, otlp: OtlpSettings) -> None:
        self._scrape = metrics is Switch.ENABLED
        self._otlp = otlp
        self._stack = AsyncExitStack()
        self.registry: CollectorRegistry | None = None
        self.meter: Meter = NoOpMeterProvider().get_meter(_SCOPE)
        self.tracer: Tracer = NoOpTracerProvider().get_tracer(_SCOPE)

    @property
    def traces(self) -> bool:
        """Whether spans go anywhere."""
        return self._otlp.traces

    @override
    async def __aenter__(self) -> Self:
        """Start what is configured."""
        if self._scrape or self._otlp.metrics:
            self._start_metrics()
        if self._otlp.traces:
            self._start_traces()
        return self

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left and stop."""
        await self._stack.aclose()

    def scrape(self) -> bytes:
        """Return all numbers in Prometheus' text format; nothing when /metrics is off."""
        if self.registry is None:
            return b""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    def _start_metrics(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider, ObservableGauge
        from opentelemetry.sdk.metrics.export import CardinalityLimits, MetricReader

        limits: CardinalityLimits = {ObservableGauge: _MOST_SERIES}
        readers: list[MetricReader] = []
        if self._scrape:
            from opentelemetry.exporter.prometheus import PrometheusMetricReader
            from prometheus_client import CollectorRegistry, ProcessCollector

            self.registry = CollectorRegistry()
            ProcessCollector(registry=self.registry)
            readers.append(
                PrometheusMetricReader(scope_info_enabled=False, registry=self.registry, cardinality_limits=limits)
            )
        if self._otlp.metrics:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(), cardinality_limits=limits))
        provider = MeterProvider(readers, resource=_resource(), shutdown_on_exit=False)
        self._stack.callback(provider.shutdown)
        self.meter = provider.get_meter(_SCOPE, __version__)

    def _start_traces(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._stack.callback(provider.shutdown)
        self.tracer = provider.get_tracer(_SCOPE, __version__)


def _resource() -> "Resource":
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    resource = Resource.create({SERVICE_VERSION: __version__})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before our own name.
    unnamed = str(resource.attributes[SERVICE_NAME]).startswith("unknown_service")
    return resource.merge(Resource({SERVICE_NAME: PROGRAM})) if unnamed else resource
