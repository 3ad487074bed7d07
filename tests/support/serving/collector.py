"""A collector of OpenTelemetry in this process: it takes traces over HTTP and keeps them. For tests and `make bench-serving`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from llama_serving.contract.tracing import variables_beside

TRACES_PATH = "/v1/traces"


def variables_of(endpoint: str, **said: str) -> dict[str, str]:
    """Return what pods have in their environment if somebody sets `OTEL_EXPORTER_OTLP_ENDPOINT`, and `said` beside it."""
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **said}
    return given | variables_beside(given, service="chat", attributes={"service.namespace": "team-a"})


@dataclass(frozen=True, slots=True)
class Collected:
    """One span. Ids are hexadecimal; `parent` is empty for the first one of a trace."""

    name: str
    trace: str
    id: str
    parent: str
    scope: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    is_error: bool


class Collector:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Value of OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def raw(self) -> bytes:
        """All bytes that came, as they came."""
        return b"".join(self._bodies)

    def spans(self, trace: str | None = None) -> list[Collected]:
        """All spans, or those of one trace."""
        found = [span for body in list(self._bodies) for span in _spans(body)]
        return [span for span in found if trace is None or span.trace == trace]

    def forget(self) -> None:
        """Drop what came so far."""
        self._bodies.clear()

    def stop(self) -> None:
        """End; clients get no connection from then on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bodies = self._bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200 if self.path == TRACES_PATH else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.stop()


def _spans(body: bytes) -> Iterator[Collected]:
    request = ExportTraceServiceRequest.FromString(body)
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Collected(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    scope=of_scope.scope.name,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(each) for each in value.array_value.values)
    return None if kind is None else getattr(value, kind)
