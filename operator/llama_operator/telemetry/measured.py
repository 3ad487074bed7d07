"""Counts the writes to Kubernetes and gives each request its span. Wired in by `process` between the cache and the client."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from opentelemetry.trace import SpanKind, Tracer

from llama_operator.kube.port import (
    NO_PRECONDITIONS,
    Cluster,
    JsonPatch,
    Kind,
    Listing,
    Object,
    Preconditions,
    Propagation,
    Ref,
    WatchEvent,
)
from llama_operator.telemetry.metrics import Metrics

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class MeasuredCluster:
    """Does what `inner` does, and counts.

    Args:
        inner: The cluster itself.
        metrics: Counts writes.
        tracer: Makes a span for each request; None when nobody would see them.
    """

    def __init__(self, inner: Cluster, metrics: Metrics, tracer: Tracer | None) -> None:
        self._inner = inner
        self._metrics = metrics
        self._tracer = tracer

    async def get(self, ref: Ref) -> Object:
        """See `Cluster.get`."""
        with self._span("get", ref.kind.kind, ref.name):
            return await self._inner.get(ref)

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] = _NO_LABELS,
        fields: Mapping[str, str] = _NO_LABELS,
    ) -> Listing:
        """See `Cluster.list`."""
        with self._span("list", kind.kind, ""):
            return await self._inner.list(kind, namespace=namespace, labels=labels, fields=fields)

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """See `Cluster.watch`."""
        return self._inner.watch(kind, since=since, namespace=namespace)

    async def apply(self, obj: Object, *, force: bool = True) -> Object:
        """See `Cluster.apply`."""
        with self._write("apply", obj["kind"], obj["metadata"]["name"]):
            return await self._inner.apply(obj, force=force)

    async def apply_status(self, obj: Object) -> Object:
        """See `Cluster.apply_status`."""
        with self._write("apply_status", obj["kind"], obj["metadata"]["name"]):
            return await self._inner.apply_status(obj)

    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """See `Cluster.patch`."""
        with self._write("patch", ref.kind.kind, ref.name):
            return await self._inner.patch(ref, operations)

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = NO_PRECONDITIONS,
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        """See `Cluster.delete`."""
        with self._write("delete", ref.kind.kind, ref.name):
            await self._inner.delete(ref, preconditions=preconditions, propagation=propagation)

    @contextmanager
    def _write(self, verb: str, kind: str, name: str) -> Iterator[None]:
        result = "error"
        try:
            with self._span(verb, kind, name):
                yield
            result = "success"
        finally:
            self._metrics.writes.add(1, {"kind": kind, "verb": verb, "result": result})

    @contextmanager
    def _span(self, verb: str, kind: str, name: str) -> Iterator[None]:
        if self._tracer is None:
            yield
            return
        attributes = {"k8s.object.kind": kind, "k8s.object.name": name}
        with self._tracer.start_as_current_span(f"{verb} {kind}", kind=SpanKind.CLIENT, attributes=attributes):
            yield
