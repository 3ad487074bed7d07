"""Counts the writes to Kubernetes and gives each request its span. Wired in by `process` between the fence and the client."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from opentelemetry.trace import SpanKind, Tracer
from typing_extensions import override

from llama_operator.kube.delegating import Delegating, Verb
from llama_operator.kube.port import Cluster, Ref
from llama_operator.telemetry.metrics import Metrics


class MeasuredCluster(Delegating):
    """Does what `inner` does, and counts.

    Args:
        inner: The cluster itself.
        metrics: Counts writes.
        tracer: Makes a span for each request; None when no collector would get it.
    """

    def __init__(self, inner: Cluster, metrics: Metrics, tracer: Tracer | None) -> None:
        super().__init__(inner)
        self._metrics = metrics
        self._tracer = tracer

    @override
    @asynccontextmanager
    async def _around(self, verb: Verb, ref: Ref) -> AsyncIterator[None]:
        result = "error"
        try:
            with self._span(verb, ref):
                yield
            result = "success"
        finally:
            if verb.writes:
                self._metrics.writes.add(1, {"kind": ref.kind.kind, "verb": verb.value, "result": result})

    def _span(self, verb: Verb, ref: Ref) -> AbstractContextManager[object]:
        if self._tracer is None:
            return nullcontext()
        attributes = {"k8s.object.kind": ref.kind.kind, "k8s.object.name": ref.name}
        return self._tracer.start_as_current_span(
            f"{verb.value} {ref.kind.kind}", kind=SpanKind.CLIENT, attributes=attributes
        )
