"""What a start of a replica takes: as the plan predicts it, and as pods and replicas tell of the last ones.

Called by `decide.decision` for the prediction, by `status.summary` for both, and by `decide.bounds` for what the autoscaler is told.
The operator keeps no state: the last starts are in the status, each under the name of its replica.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from statistics import median_high
from typing import Final

from llama_operator.api.v1alpha1.llamadeployment_status import (
    MOST_STARTS,
    ChosenPlan,
    ColdStartStage,
    ColdStartStatus,
    ReplicaStart,
)
from llama_operator.catalog import Catalog
from llama_operator.catalog.declared import with_declared
from llama_operator.catalog.models import Model
from llama_operator.decide.copies.facts import CopiedFacts
from llama_operator.decide.copies.needed import caches
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.cold_start import Stage, copy_stage, stages_of, total_seconds
from llama_operator.decide.plan.memory import Sharding
from llama_operator.decide.plan.status import label
from llama_operator.decide.pods import PodFacts
from llama_serving.contract.status import ServingStatus, StartReport

_WARM_SECONDS: Final = 300.0
"""A pod that ran for longer before a replica began in it was there already: the start did not wait for it."""
_COPY: Final = "Copy"
_NAME_CHARACTERS: Final = 253
_FIELDS: Final = {
    "Node": "node_seconds",
    "Image": "image_seconds",
    "Engine": "engine_seconds",
    "Weights": "weights_seconds",
    "Compile": "compile_seconds",
    "Graphs": "graphs_seconds",
    "FirstToken": "first_token_seconds",
}
_TELLING: Final = 0.2
"""Share by which a measured start must differ before the autoscaler is told another one: each change disturbs Serve a little."""


def predicted(
    observed: Observed,
    catalog: Catalog,
    model: Model | None,
    chosen: ChosenPlan | None,
    copies: Sequence[Copy] = (),
) -> tuple[Stage, ...]:
    """Return what the plan predicts by stage; nothing where model or card are not known any more.

    Args:
        observed: Its records and nodes add cards to the catalog.
        catalog: Models and cards that come with the operator.
        model: The model of the plan.
        chosen: The plan, also one that was pinned by an older version.
        copies: Copies that are made before; none if that is not known.
    """
    if model is None or chosen is None:
        return ()
    variant = next((one for one in model.variants if (one.repository or "") == chosen.repository), None)
    known = with_declared(catalog, observed.accelerators).accelerators
    cards = (*known, *(node.card for node in observed.nodes or () if node.card is not None))
    card = next((one for one in cards if one.name == chosen.accelerator), None)
    if variant is None or card is None:
        return ()
    sharding = Sharding(chosen.tensor_parallel_size, chosen.pipeline_parallel_size)
    start = stages_of(model, variant, card, sharding, observed.deployment.spec.weights.cache.mode)
    if not caches(observed.deployment) or model.generated:
        return start
    sizes = [one.expected_bytes or 0 for one in copies] or [variant.bytes_to_read]
    return (copy_stage(sizes), *start)


def cold_start(
    observed: Observed,
    chosen: ChosenPlan | None,
    expected: tuple[Stage, ...],
    told: ServingStatus | None,
    before: ColdStartStatus | None,
    copied: Sequence[CopiedFacts | None] = (),
) -> ColdStartStatus | None:
    """Put together what is known of starts; None without a plan.

    Args:
        observed: Its pods tell when they got a node and an image.
        chosen: The plan of the revision that the spec asks for.
        expected: `predicted` of it.
        told: What the replicas of the revision with the traffic say.
        before: What the status said before.
        copied: What is known of the copies, each; none if that is not known.
    """
    if chosen is None:
        return None
    subject = subject_of(chosen)
    known = before.starts if before is not None and before.plan == subject else ()
    if told is not None and _subject_of_revision(observed, told.identity.revision) == subject:
        known = _joined(known, seen(told, observed.pods or ()))
    return ColdStartStatus(
        plan=subject,
        predicted_seconds=total_seconds(expected) if expected else None,
        measured_seconds=_median(one.total_seconds for one in known),
        stages=(*_copied(expected, copied, before), *_stages(expected, known)),
        starts=known,
    )


def subject_of(chosen: ChosenPlan) -> str:
    """Return what starts have in common: weights and sharding."""
    return f"{chosen.model} {label(chosen)}" + (f" {chosen.repository}" if chosen.repository else "")


def measured_seconds(observed: ColdStartStatus | None, chosen: ChosenPlan | None, told: float | None) -> float | None:
    """Return what the autoscaler is told of starts of a plan; None before one was measured.

    Args:
        observed: What the status says.
        chosen: The plan.
        told: What the autoscaler was told last; it stays as long as it is near enough.
    """
    if observed is None or chosen is None or observed.measured_seconds is None or observed.plan != subject_of(chosen):
        return None
    seconds = float(max(1, observed.measured_seconds))
    return told if told is not None and abs(seconds - told) <= _TELLING * told else seconds


def seen(told: ServingStatus, pods: Iterable[PodFacts]) -> tuple[ReplicaStart, ...]:
    """Return the starts that replicas tell, with what their pods say about the time before."""
    by_name = {pod.name: pod for pod in pods}
    return tuple(
        _start(report.replica, report.start, by_name.get(report.start.host))
        for report in told.reports
        if report.start is not None
    )


def _start(replica: str, start: StartReport, pod: PodFacts | None) -> ReplicaStart:
    node = image = None
    waited = 0.0
    if pod is not None and pod.created is not None and pod.scheduled is not None and pod.running_since is not None:
        idle = start.began - pod.running_since.timestamp()
        if -1 <= idle <= _WARM_SECONDS:
            node = max(0.0, (pod.scheduled - pod.created).total_seconds())
            image = max(0.0, (pod.running_since - pod.scheduled).total_seconds())
            waited = max(0.0, idle)
    process = max(0.0, start.ready - start.began)
    parts = (start.weights_seconds, start.compile_seconds, start.graphs_seconds)
    engine = max(0.0, process + waited - sum(part or 0.0 for part in parts))
    return ReplicaStart(
        replica=replica[:_NAME_CHARACTERS],
        ready=datetime.fromtimestamp(int(start.ready), UTC),
        total_seconds=round((node or 0.0) + (image or 0.0) + waited + process),
        node_seconds=_whole(node),
        image_seconds=_whole(image),
        engine_seconds=_whole(engine),
        weights_seconds=_whole(start.weights_seconds),
        compile_seconds=_whole(start.compile_seconds),
        graphs_seconds=_whole(start.graphs_seconds),
        first_token_seconds=_whole(start.first_token_seconds),
    )


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _joined(known: tuple[ReplicaStart, ...], fresh: tuple[ReplicaStart, ...]) -> tuple[ReplicaStart, ...]:
    """The newest starts; of one that is known already, what it tells by now is added and nothing is lost."""
    starts = {one.replica: one for one in known}
    for one in fresh:
        before = starts.get(one.replica)
        starts[one.replica] = one if before is None else _added(before, one)
    return tuple(sorted(starts.values(), key=lambda one: (one.ready, one.replica), reverse=True)[:MOST_STARTS])


def _added(before: ReplicaStart, now: ReplicaStart) -> ReplicaStart:
    # While its pod could not be read, less was known of the same start.
    fuller = now if before.node_seconds is None and now.node_seconds is not None else before
    return fuller.model_copy(update={"first_token_seconds": before.first_token_seconds or now.first_token_seconds})


def _copied(
    expected: tuple[Stage, ...], copied: Sequence[CopiedFacts | None], before: ColdStartStatus | None
) -> Iterator[ColdStartStage]:
    """The copy, which is made once before the first start. Of several the longest counts: they are made side by side."""
    planned = next((stage.seconds for stage in expected if stage.name == _COPY), None)
    if planned is None:
        return
    seconds = None if None in copied else max((one.seconds for one in copied if one is not None), default=None)
    if not copied and before is not None:
        seconds = next((stage.measured_seconds for stage in before.stages if stage.name == _COPY), None)
    yield ColdStartStage(name=_COPY, predicted_seconds=planned, measured_seconds=seconds)


def _stages(expected: tuple[Stage, ...], known: tuple[ReplicaStart, ...]) -> Iterator[ColdStartStage]:
    planned: dict[str, int] = {stage.name: stage.seconds for stage in expected}
    for name, field in _FIELDS.items():
        measured = _median(seconds for one in known if (seconds := getattr(one, field)) is not None)
        if name in planned or measured is not None:
            yield ColdStartStage(name=name, predicted_seconds=planned.get(name), measured_seconds=measured)


def _median(seconds: Iterable[int]) -> int | None:
    values = list(seconds)
    return median_high(values) if values else None


def _subject_of_revision(observed: Observed, revision: str) -> str:
    record = observed.pinned(revision)
    chosen = None if record is None else record.plan.chosen
    return "" if chosen is None else subject_of(chosen)
