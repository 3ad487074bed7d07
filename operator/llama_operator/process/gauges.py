"""What /metrics shows of the process: read when it is asked for. Called by `process.operator` once, at the start."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from llama_operator.api import paths, readings
from llama_operator.api.reasons import ConditionType
from llama_operator.handlers.resync import Resync
from llama_operator.handlers.watched import WATCHED
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.leadership.lease import Leadership
from llama_operator.observe.answers import KeptAnswers
from llama_operator.process.demand import of_whole
from llama_operator.telemetry import metrics as numbers
from llama_operator.telemetry.metrics import Instrument, Metrics
from llama_operator.work.controller import Controller


def observe(
    metrics: Metrics,
    controller: Controller,
    leadership: Leadership,
    cache: ObjectCache,
    resync: Resync,
    answers: KeptAnswers,
) -> None:
    """Register the gauges.

    Args:
        metrics: Where they are registered.
        controller: Its queue and its passes are counted.
        leadership: Whether this process leads.
        cache: Its objects are counted.
        resync: When it listed each kind.
        answers: What serving pods answered last.
    """

    def read(value: Callable[[], float]) -> Callable[[], numbers.Readings]:
        return lambda: [({}, value())]

    def cached() -> numbers.Readings:
        return [({"kind": each.kind.kind}, cache.count(each.kind)) for each in WATCHED]

    metrics.observe(numbers.QUEUE_DEPTH, read(lambda: controller.depth))
    metrics.observe(numbers.QUEUE_RUNNING, read(lambda: controller.running))
    metrics.observe(numbers.QUEUE_FAILING, read(lambda: controller.failing))
    metrics.observe(numbers.LEADER, read(lambda: int(leadership.seconds_left() > 0)))
    metrics.observe(numbers.CACHED, cached)
    metrics.observe(numbers.LISTED, lambda: [({"kind": kind.kind}, when) for kind, when in resync.listed.items()])
    metrics.observe(numbers.DEPLOYMENTS, lambda: by_ready(cache.list(kinds.LLAMA_DEPLOYMENT)))
    metrics.observe(numbers.PLAN_RATIO, lambda: numbers.plan_ratios(cache.list(kinds.LLAMA_DEPLOYMENT)))
    metrics.observe(numbers.COLD_START, lambda: numbers.cold_starts(cache.list(kinds.LLAMA_DEPLOYMENT)))
    metrics.observe(numbers.GIVEN_UP, lambda: numbers.given_up(cache.list(kinds.LLAMA_DEPLOYMENT), datetime.now(UTC)))
    for gauge in numbers.DEMAND:
        metrics.observe(gauge, partial(_demand, answers, cache, gauge))


def _demand(answers: KeptAnswers, cache: ObjectCache, gauge: Instrument) -> numbers.Readings:
    return numbers.demand(of_whole(answers.fresh(), cache))[gauge]


def by_ready(deployments: Iterable[Mapping[str, Any]]) -> numbers.Readings:
    """Count LlamaDeployments by the status of their condition Ready; one that cannot be read is Unknown."""
    counts = {"True": 0, "False": 0, "Unknown": 0}
    for deployment in deployments:
        conditions = readings.mappings(paths.at(deployment, "status.conditions"))
        ready = next((each.get("status") for each in conditions if each.get("type") == ConditionType.READY), None)
        counts[ready if isinstance(ready, str) and ready in counts else "Unknown"] += 1
    return [({"ready": status}, count) for status, count in counts.items()]
