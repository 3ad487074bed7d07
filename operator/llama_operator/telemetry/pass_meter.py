"""Measures each pass: its id in the logs, its span, its numbers. `process` gives it to the controller."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.trace import Status, StatusCode, Tracer

from llama_operator.kube.port import Ref
from llama_operator.telemetry.context import CURRENT_PASS, PassContext
from llama_operator.telemetry.metrics import Metrics
from llama_operator.telemetry.passes import MeasuredPass, Outcome

_FAILED: Final = frozenset({Outcome.ERROR, Outcome.TOO_LONG})


def new_id() -> str:
    """Make an id of a pass: short, and different from all others of a day."""
    return secrets.token_hex(4)


class PassMeter:
    """A `Meter` for logs, metrics and traces.

    Args:
        metrics: Counts passes.
        tracer: Makes a span for each pass; None when no collector would get it.
        clock: Monotonic seconds.
        ids: Makes ids of passes.
    """

    def __init__(
        self,
        metrics: Metrics,
        tracer: Tracer | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        ids: Callable[[], str] = new_id,
    ) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._clock = clock
        self._ids = ids

    @contextmanager
    def measure(self, ref: Ref) -> Iterator[MeasuredPass]:
        """Meter one pass of `ref`, for as long as it is entered."""
        current = PassContext(ref, self._ids())
        token = CURRENT_PASS.set(current)
        running = MeasuredPass()
        started = self._clock()
        try:
            with self._span(current, running):
                yield running
        finally:
            CURRENT_PASS.reset(token)
            labels = {"result": running.outcome.value}
            self._metrics.reconciles.add(1, labels)
            self._metrics.reconcile_duration.record(self._clock() - started, labels)
            if running.outcome in _FAILED:
                self._metrics.retries.add(1)

    @contextmanager
    def _span(self, current: PassContext, running: MeasuredPass) -> Iterator[None]:
        if self._tracer is None:
            yield
            return
        attributes = {
            "k8s.namespace.name": current.ref.namespace,
            "llama_operator.deployment": current.ref.name,
            "llama_operator.reconcile_id": current.reconcile_id,
        }
        with self._tracer.start_as_current_span("reconcile", attributes=attributes) as span:
            yield
            if running.outcome in _FAILED:
                span.set_status(Status(StatusCode.ERROR))
