"""Numbers about the process, as OpenTelemetry instruments. Made by `export`; fed by `pass_meter`, `measured` and `process`.

One table says which there are; docs/reference/metrics.md is made from it. Without an exporter the instruments are those of
OpenTelemetry's API, which do nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from llama_operator.api import paths, readings
from llama_serving.contract.status import ServingStatus

PREFIX: Final = "llama_operator"
_DURATIONS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class InstrumentKind(StrEnum):
    """What a number is."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One number.

    Attributes:
        name: Name below the prefix, in OpenTelemetry's notation.
        kind: What it is.
        unit: UCUM unit; braces are annotations.
        labels: Names of its labels.
        description: What it says, for users.
    """

    name: str
    kind: InstrumentKind
    unit: str
    labels: tuple[str, ...]
    description: str

    @property
    def prometheus_name(self) -> str:
        """Name in /metrics."""
        suffix = "_seconds" if self.unit == "s" else ""
        total = "_total" if self.kind is InstrumentKind.COUNTER else ""
        return f"{PREFIX}_{self.name.replace('.', '_')}{suffix}{total}"


RECONCILES: Final = Instrument(
    "reconciles",
    InstrumentKind.COUNTER,
    "{reconcile}",
    ("result",),
    "Passes by result: success, error, too_long or cancelled.",
)
RECONCILE_DURATION: Final = Instrument(
    "reconcile.duration", InstrumentKind.HISTOGRAM, "s", ("result",), "Duration of a pass, from start to status."
)
RETRIES: Final = Instrument(
    "retries", InstrumentKind.COUNTER, "{retry}", (), "Passes that failed and were put back to be tried again."
)
FAILURES: Final = Instrument(
    "failures",
    InstrumentKind.COUNTER,
    "{failure}",
    ("stage", "error"),
    "Passes over LlamaDeployments that failed, by the part that failed (observe, decide, apply, report) and the class of the "
    "error. The status of the deployment has its words.",
)
UNREADABLE: Final = Instrument(
    "unreadable",
    InstrumentKind.COUNTER,
    "{look}",
    ("kind",),
    "Looks at an object, or at an answer of pods, that could not be read and was left out. The log and `kubectl llama doctor` "
    "name it.",
)
WRITES: Final = Instrument(
    "writes",
    InstrumentKind.COUNTER,
    "{write}",
    ("kind", "verb", "result"),
    "Writes sent to Kubernetes; an object that is as it should be is not sent. Result: success or error.",
)
EVENTS: Final = Instrument(
    "watch.events", InstrumentKind.COUNTER, "{event}", ("kind",), "Events that the watches received."
)
QUEUE_DEPTH: Final = Instrument(
    "queue.depth", InstrumentKind.GAUGE, "{deployment}", (), "LlamaDeployments that wait for a worker or their turn."
)
QUEUE_RUNNING: Final = Instrument(
    "queue.running", InstrumentKind.GAUGE, "{deployment}", (), "LlamaDeployments that are being reconciled."
)
QUEUE_FAILING: Final = Instrument(
    "queue.failing", InstrumentKind.GAUGE, "{deployment}", (), "LlamaDeployments whose last pass failed."
)
LEADER: Final = Instrument("leader", InstrumentKind.GAUGE, "1", (), "1 when this process may write, else 0.")
CACHED: Final = Instrument("cache.objects", InstrumentKind.GAUGE, "{object}", ("kind",), "Objects in the cache.")
LISTED: Final = Instrument(
    "list.last_success.time",
    InstrumentKind.GAUGE,
    "s",
    ("kind",),
    "Unix time of the last full list of a kind that succeeded. The watches keep the cache up to date in between; a time that "
    "is older than two resyncs says that what a watch missed is not found. Absent for a kind that is not installed.",
)
DEPLOYMENTS: Final = Instrument(
    "deployments",
    InstrumentKind.GAUGE,
    "{deployment}",
    ("ready",),
    "LlamaDeployments by the status of their condition Ready; Unknown also when there is none yet.",
)
PLAN_RATIO: Final = Instrument(
    "plan.kv_cache.ratio",
    InstrumentKind.GAUGE,
    "1",
    ("namespace", "deployment"),
    "KV cache that the engines of a LlamaDeployment measured, divided by the planned one; below 0.9 the plan promised too "
    "much. Absent until it was measured.",
)
COLD_START: Final = Instrument(
    "cold_start",
    InstrumentKind.GAUGE,
    "s",
    ("namespace", "deployment", "stage", "basis"),
    "Seconds that a start of a replica takes, by stage; stage Total is the whole. Basis: predicted by the plan, or measured, the median "
    "of the last starts. Absent while it is not known.",
)
GIVEN_UP: Final = Instrument(
    "given_up_replicas",
    InstrumentKind.GAUGE,
    "{replica}",
    ("namespace", "deployment"),
    "Replicas of a LlamaDeployment that were wanted and found no node in time, until they are tried again; 0 if there is none.",
)
WANTED_REPLICAS: Final = Instrument(
    "wanted_replicas",
    InstrumentKind.GAUGE,
    "{replica}",
    ("namespace", "deployment"),
    "Replicas that the policy of a LlamaDeployment would run if there were no bounds, also in modes External and Manual: the number for an "
    "autoscaler of your own. Absent while its pods do not answer; a metric that is absent must not scale anything.",
)
NEEDED_REPLICAS: Final = Instrument(
    "needed_replicas",
    InstrumentKind.GAUGE,
    "{replica}",
    ("namespace", "deployment"),
    "Replicas that the load of a LlamaDeployment needs, without those that are held or catch up.",
)
TARGET_REPLICAS: Final = Instrument(
    "target_replicas",
    InstrumentKind.GAUGE,
    "{replica}",
    ("namespace", "deployment"),
    "Replicas that Ray Serve was asked for, within the bounds.",
)
READY_REPLICAS: Final = Instrument(
    "ready_replicas", InstrumentKind.GAUGE, "{replica}", ("namespace", "deployment"), "Replicas that serve."
)
STARTING_REPLICAS: Final = Instrument(
    "starting_replicas",
    InstrumentKind.GAUGE,
    "{replica}",
    ("namespace", "deployment"),
    "Replicas that were asked for and do not serve yet, or wait for a node.",
)
WAITING_REQUESTS: Final = Instrument(
    "waiting_requests", InstrumentKind.GAUGE, "{request}", ("namespace", "deployment"), "Requests that wait."
)
ARRIVALS: Final = Instrument(
    "arrivals",
    InstrumentKind.GAUGE,
    "{request}",
    ("namespace", "deployment"),
    "Requests that arrive in a second, as the policy counts them.",
)
ARRIVING_WORK: Final = Instrument(
    "arriving_work",
    InstrumentKind.GAUGE,
    "{engine}",
    ("namespace", "deployment"),
    "Engine seconds that arrive in a second: so many replicas would be busy all the time. Divided by the ready ones it is their load.",
)
INSTRUMENTS: Final = tuple(each for each in list(globals().values()) if isinstance(each, Instrument))
"""All of them, in this order."""

Readings = Iterable[tuple[Mapping[str, str], float]]
"""Values of a gauge by labels."""


class Metrics:
    """The instruments of one process.

    Args:
        meter: Where they are made.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.reconciles = self._counter(RECONCILES)
        self.retries = self._counter(RETRIES)
        self.failures = self._counter(FAILURES)
        self.unreadable = self._counter(UNREADABLE)
        self.writes = self._counter(WRITES)
        self.events = self._counter(EVENTS)
        self.reconcile_duration: Histogram = meter.create_histogram(
            f"{PREFIX}.{RECONCILE_DURATION.name}",
            unit=RECONCILE_DURATION.unit,
            description=RECONCILE_DURATION.description,
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )

    def observe(self, gauge: Instrument, read: Callable[[], Readings]) -> None:
        """Ask `read` for the values of a gauge each time that they are exported."""

        def callback(_: CallbackOptions) -> Iterator[Observation]:
            for labels, value in read():
                yield Observation(value, labels)

        self._meter.create_observable_gauge(
            f"{PREFIX}.{gauge.name}", [callback], unit=gauge.unit, description=gauge.description
        )

    def _counter(self, instrument: Instrument) -> Counter:
        return self._meter.create_counter(
            f"{PREFIX}.{instrument.name}", unit=instrument.unit, description=instrument.description
        )


def plan_ratios(deployments: Iterable[Mapping[str, Any]]) -> Readings:
    """Values of `PLAN_RATIO` from LlamaDeployments as the API server has them."""
    for deployment in deployments:
        cache = readings.mapping(paths.at(deployment, "status.kvCache"))
        if planned := readings.whole(cache.get("plannedTokens")):
            yield _of(deployment), (readings.whole(cache.get("measuredTokens")) or 0) / planned


def cold_starts(deployments: Iterable[Mapping[str, Any]]) -> Readings:
    """Values of `COLD_START` from LlamaDeployments as the API server has them."""
    for deployment in deployments:
        status = readings.mapping(paths.at(deployment, "status.coldStart"))
        stages = [{"name": "Total", **status}, *readings.mappings(status.get("stages"))]
        for stage in stages:
            for basis in ("predicted", "measured"):
                seconds = readings.whole(stage.get(f"{basis}Seconds"))
                if seconds is not None:
                    labels = {"stage": readings.text(stage.get("name")), "basis": basis}
                    yield _of(deployment) | labels, seconds


def given_up(deployments: Iterable[Mapping[str, Any]], now: datetime) -> Readings:
    """Values of `GIVEN_UP` at `now`, from LlamaDeployments as the API server has them."""
    for deployment in deployments:
        status = readings.mapping(paths.at(deployment, "status.givenUp"))
        until = readings.moment(status.get("retryAt"))
        waits = until is not None and now < until
        yield _of(deployment), (readings.whole(status.get("missing")) or 0) if waits else 0


def _of(deployment: Mapping[str, Any]) -> dict[str, str]:
    metadata = deployment["metadata"]
    return {"namespace": metadata["namespace"], "deployment": metadata["name"]}


def demand(answers: Iterable[ServingStatus]) -> dict[Instrument, list[tuple[Mapping[str, str], float]]]:
    """Values of the gauges about replicas and load, from what serving pods answered last.

    What pods do not tell is absent, and never 0: a zero would scale to nothing.
    """
    found: dict[Instrument, list[tuple[Mapping[str, str], float]]] = {each: [] for each in DEMAND}
    for answer in answers:
        labels = {"namespace": answer.identity.namespace, "deployment": answer.identity.name}
        for gauge, value in _of_answer(answer).items():
            if value is not None:
                found[gauge].append((labels, value))
    return found


DEMAND: Final = (
    WANTED_REPLICAS,
    NEEDED_REPLICAS,
    TARGET_REPLICAS,
    READY_REPLICAS,
    STARTING_REPLICAS,
    WAITING_REQUESTS,
    ARRIVALS,
    ARRIVING_WORK,
)
"""Gauges of `demand`."""


def _of_answer(answer: ServingStatus) -> dict[Instrument, float | None]:
    scaling = answer.scaling
    rate, each = (None, None) if scaling is None else (scaling.requests_per_second, scaling.seconds_per_request)
    return {
        WANTED_REPLICAS: None if scaling is None else scaling.unbounded_replicas,
        NEEDED_REPLICAS: None if scaling is None else scaling.needed_replicas,
        TARGET_REPLICAS: answer.target_replicas,
        READY_REPLICAS: answer.replicas,
        STARTING_REPLICAS: max(0, answer.target_replicas - answer.replicas),
        WAITING_REQUESTS: answer.queue_depth,
        ARRIVALS: rate,
        ARRIVING_WORK: None if rate is None or each is None else rate * each,
    }
