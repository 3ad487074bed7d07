"""How spans leave a process: one queue and one thread for those of the door, of Serve and of vLLM.

Serve calls `span_processors` because of `contract.tracing.SPAN_PROCESSORS`; `tracing.switch` calls the rest where traces are on. A
request never waits for a collector: spans wait in a queue with an end, and what does not fit is dropped.
"""

import functools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from typing_extensions import override

from llama_serving.contract.tracing import GRPC, HTTP, PROTOCOL, protocol
from llama_serving.tracing import names
from llama_serving.tracing.request import Traces

_LOGGER = logging.getLogger("ray.serve")
_LAST_SECONDS: Final = 3.0
"""How long the end of a process waits for a collector; the SDK by itself waits half a minute."""
_BATCH: Final = 64
"""Spans that are written at once, some 3 ms: as long no token of another request moves. The SDK by itself takes 512."""
_SIZES: Final = frozenset(("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"))
_WORDS: Final = frozenset(("exception.message", "exception.stacktrace"))


def traces() -> Traces | None:
    """Return what begins the traces of this process; None if there is no way out."""
    out = way_out()
    if out is None:
        return None
    # It reads sampler and resource from the variables. Serve has a provider of its own, which decides otherwise.
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(out)
    return Traces(provider.get_tracer(names.SCOPE, schema_url=names.SCHEMA))


@functools.cache
def way_out() -> SpanProcessor | None:
    """Return the way out of this process, the same for all who ask; None if the variables cannot be understood."""
    try:
        said = not _SIZES.isdisjoint(os.environ)
        exporter = Discreet(_exporter(protocol(os.environ)))
        return Bounded(BatchSpanProcessor(exporter, max_export_batch_size=None if said else _BATCH))
    except Exception as error:  # noqa: BLE001 - a wrong setting of traces must not keep an endpoint from serving
        _LOGGER.error("Traces cannot be sent, so there are none: %s", error)  # noqa: TRY400 - the words are enough
        return None


def span_processors() -> list[SpanProcessor]:
    """Return the way out for the spans of Serve."""
    out = way_out()
    return [] if out is None else [out]


class Discreet(SpanExporter):
    """Sends no words of exceptions: whoever raised one may have put a prompt into it.

    Args:
        inner: Sends the spans.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send without words."""
        return self._inner.export([_without_words(span) for span in spans])

    @override
    def shutdown(self) -> None:
        """End."""
        self._inner.shutdown()

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._inner.force_flush(timeout_millis)


class Bounded(SpanProcessor):
    """Does what another one does, but its end takes a bounded time, whatever the collector does.

    Args:
        inner: The other one.
        seconds: How long its end may take.
    """

    def __init__(self, inner: SpanProcessor, *, seconds: float = _LAST_SECONDS) -> None:
        self._inner = inner
        self._seconds = seconds

    @override
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hand on."""
        self._inner.on_start(span, parent_context)

    @override
    def on_end(self, span: ReadableSpan) -> None:
        """Hand on."""
        self._inner.on_end(span)

    @override
    def shutdown(self) -> None:
        """End, within the time."""
        _within(self._seconds, self._inner.shutdown)

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits, within the time."""
        return _within(min(self._seconds, timeout_millis / 1000), self._inner.force_flush)


def _exporter(kind: str) -> SpanExporter:
    """Return what speaks to the collector; only the one that is needed is imported."""
    if kind == HTTP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as OverHTTP,
        )

        return OverHTTP()
    if kind == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as OverGRPC,
        )

        return OverGRPC()
    raise ValueError(f"{PROTOCOL} is {kind!r}, which is neither {HTTP} nor {GRPC}")


def _within(seconds: float, work: Callable[[], object]) -> bool:
    """Do `work`, and leave it to itself after `seconds`; return whether it was done."""
    thread = threading.Thread(target=work, name="llama-last-spans", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _without_words(span: ReadableSpan) -> ReadableSpan:
    if not span.events and not span.status.description:
        return span
    events = [
        Event(
            event.name,
            attributes={name: value for name, value in (event.attributes or {}).items() if name not in _WORDS},
            timestamp=event.timestamp,
        )
        for event in span.events
    ]
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
