"""The span of a request: one at the door, with what the desk finds out. `door.application` begins it, `desk` adds to it.

The door writes its own context into the request, so the spans of Serve and vLLM are below it without a patch of either. The span
holds names, numbers and codes. It never holds a key or the id of one, nor a word of a prompt or an answer.

A span ends once: when the door has finished, and all who hold it. Tokens of a request that was cut off are known a moment
after its client has left.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import trace as otel
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typing_extensions import override

from llama_serving.tracing import names

Header = tuple[bytes, bytes]

PARENT: Final = b"traceparent"
STATE: Final = b"tracestate"

_READER: Final = TraceContextTextMapPropagator()
_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_ASKED: Final = {"temperature": names.REQUEST_TEMPERATURE, "top_p": names.REQUEST_TOP_P, "n": names.REQUEST_CHOICES}
"""Fields of a request that are copied into its span, if they are numbers."""


class RequestTrace:
    """The trace of a request of which nothing is recorded: traces are off, or this request is left out.

    Args:
        headers: Where the layers behind the door find their parent; empty where traces are off.
    """

    def __init__(self, headers: tuple[Header, ...] = ()) -> None:
        self.headers = headers

    def __enter__(self) -> Self:
        """The door has the request."""
        # A request has a task of its own, and its context ends with it.
        CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """The door has finished with it."""

    def comes_from(self, tenant: str) -> None:
        """Note who asks."""

    def is_refused(self, code: str) -> None:
        """Note the code of the refusal."""

    def is_answered(self, status: int) -> None:
        """Note the status of the answer."""

    def asks(self, model: str, request: Mapping[str, Any], *, max_tokens: int | None) -> None:
        """Note what is asked for.

        Args:
            model: Name of the model.
            request: The body; only numbers are read.
            max_tokens: Longest answer that it allows; None if it does not say.
        """

    def hold(self) -> None:
        """Let the span not end before `has_used`."""

    def has_used(
        self, model: str, *, prompt_tokens: int, cached_tokens: int, output_tokens: int, finish_reason: str | None
    ) -> None:
        """Note what the engine made of it, and let go. Not more than once for each `hold`."""


UNTRACED: Final = RequestTrace()

CURRENT: ContextVar[RequestTrace] = ContextVar("llama_trace", default=UNTRACED)
"""The trace of the request that runs in this task, or in one that the task has started."""


class _Recorded(RequestTrace):
    """The trace of a request with a span.

    Args:
        span: The span.
        headers: Where the layers behind the door find their parent.
        operation: What the request asks for; None if it is nothing that a model does.
    """

    def __init__(self, span: Span, headers: tuple[Header, ...], operation: str | None) -> None:
        super().__init__(headers)
        self._span = span
        self._operation = operation
        self._holders = 0
        self._error: str | None = None
        self._status = 0

    @override
    def __enter__(self) -> Self:
        self._holders += 1
        return super().__enter__()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            self._error = self._error or (kind.__qualname__ if issubclass(kind, Exception) else names.CANCELLED)
        if self._status >= _FIRST_SERVER_ERROR or (kind is not None and issubclass(kind, Exception)):
            # Without words: those of an exception may repeat the request.
            self._span.set_status(Status(StatusCode.ERROR))
        self._let_go()

    @override
    def comes_from(self, tenant: str) -> None:
        self._span.set_attribute(names.TENANT, tenant)

    @override
    def is_refused(self, code: str) -> None:
        self._error = code

    @override
    def is_answered(self, status: int) -> None:
        self._status = status
        self._span.set_attribute(names.STATUS, status)
        if status >= _FIRST_ERROR:
            self._error = self._error or str(status)

    @override
    def asks(self, model: str, request: Mapping[str, Any], *, max_tokens: int | None) -> None:
        attributes: dict[str, str | bool | int | float] = {names.REQUEST_MODEL: model}
        if max_tokens is not None:
            attributes[names.REQUEST_MAX_TOKENS] = max_tokens
        if request.get("stream") is True:
            attributes[names.REQUEST_STREAM] = True
        for field, name in _ASKED.items():
            value = request.get(field)
            if isinstance(value, int | float) and not isinstance(value, bool):
                attributes[name] = value
        self._span.set_attributes(attributes)
        if self._operation is not None:
            self._span.update_name(f"{self._operation} {model}")

    @override
    def hold(self) -> None:
        self._holders += 1

    @override
    def has_used(
        self, model: str, *, prompt_tokens: int, cached_tokens: int, output_tokens: int, finish_reason: str | None
    ) -> None:
        attributes: dict[str, str | int | tuple[str, ...]] = {
            names.RESPONSE_MODEL: model,
            names.INPUT_TOKENS: prompt_tokens,
            names.CACHED_TOKENS: cached_tokens,
            names.OUTPUT_TOKENS: output_tokens,
        }
        if finish_reason is not None:
            attributes[names.FINISH_REASONS] = (finish_reason,)
        if finish_reason == names.ABORTED:
            self._error = self._error or names.CANCELLED
        self._span.set_attributes(attributes)
        self._let_go()

    def _let_go(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            if self._error is not None:
                self._span.set_attribute(names.ERROR, self._error)
            self._span.end()


class _GoneOn(_Recorded):
    """The same in another process than that of the door: the parent of the spans that the task begins."""

    @override
    def __enter__(self) -> Self:
        self._here = otel.use_span(self._span, record_exception=False, set_status_on_exception=False)
        self._here.__enter__()
        return super().__enter__()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, where)
        self._here.__exit__(None, None, None)


class Traces:
    """Begins the traces of one process.

    Args:
        tracer: Decides which request is traced, and takes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(
        self,
        *,
        method: str,
        route: str | None,
        operation: str | None,
        request_id: str,
        parent: tuple[bytes | None, bytes],
    ) -> RequestTrace:
        """Begin the trace of a request.

        Args:
            method: Its method, as the protocol knows it.
            route: Its path, if it is one of those that there are.
            operation: What it asks for, by the words of the conventions; None if it is nothing that a model does.
            request_id: Id that the door gave it.
            parent: The client's `traceparent`, None if there is none that can be read, and its `tracestate`.
        """
        attributes: dict[str, str] = {names.METHOD: method, names.REQUEST_ID: request_id}
        if route is not None:
            attributes[names.ROUTE] = route
        if operation is not None:
            attributes |= {names.OPERATION: operation, names.PROVIDER: names.VLLM}
        span = self._tracer.start_span(
            operation or (method if route is None else f"{method} {route}"),
            context=_context_of(parent),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        headers = _headers_of(span.get_span_context())
        return _Recorded(span, headers, operation) if span.is_recording() else RequestTrace(headers)

    def go_on(self, headers: list[Header], *, operation: str) -> RequestTrace:
        """Go on with the trace of a request whose door is in another process, in a span below that one.

        Args:
            headers: Of the request, with the door's place in its trace.
            operation: What it asks for, by the words of the conventions.
        """
        found = dict(headers_of_now() or headers)
        parent = (found.get(PARENT), found.get(STATE, b""))
        if parent[0] is None:
            return UNTRACED
        attributes = {names.OPERATION: operation, names.PROVIDER: names.VLLM}
        span = self._tracer.start_span(operation, context=_context_of(parent), attributes=attributes)
        inner = _headers_of(span.get_span_context())
        return _GoneOn(span, inner, operation) if span.is_recording() else RequestTrace(inner)


def headers_of_now() -> tuple[Header, ...]:
    """Return the headers with the span that runs here as the parent of what comes; empty where none is recorded.

    On the way from the door to the desk this is Serve's: so that of vLLM is below it, and not beside it.
    """
    span = otel.get_current_span()
    return _headers_of(span.get_span_context()) if span.is_recording() else ()


def _context_of(parent: tuple[bytes | None, bytes]) -> Any:
    if parent[0] is None:
        # An empty one, not that of the process.
        return otel.set_span_in_context(otel.INVALID_SPAN)
    carrier = {PARENT.decode(): parent[0].decode("latin-1"), STATE.decode(): parent[1].decode("latin-1")}
    return _READER.extract(carrier, context=otel.set_span_in_context(otel.INVALID_SPAN))


def _headers_of(context: SpanContext) -> tuple[Header, ...]:
    value = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    header = (PARENT, value.encode())
    state = context.trace_state.to_header() if context.trace_state else ""
    return (header, (STATE, state.encode("latin-1"))) if state else (header,)
