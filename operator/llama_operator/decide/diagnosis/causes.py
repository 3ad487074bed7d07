"""Finds the causes. Called by `status`, `decide.rollout` and `cli.explain`.

What keeps pods from coming stands first, then what keeps them from running, then what their engines say. A message has no
names of pods and no counters: those of a pod that is made again and again would change with each.
"""

from collections.abc import Iterable, Iterator

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.diagnosis import cluster, hints, pods
from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.decide.diagnosis.engine_message import ENGINE_FAILED, engine_message, refusal
from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_serving.config import BOARD_APPLICATION_NAME, CHECKPOINT_REFUSED


def causes(observed: Observed, revision: str) -> tuple[Cause, ...]:
    """Why the revision does not answer, or answers with fewer replicas than are wanted.

    Args:
        observed: What is known.
        revision: Name of the revision.

    Returns:
        The nearest cause first; empty when nothing is known to be wrong.
    """
    service = next((one for one in observed.ray_services if one.name == revision), None)
    if service is not None and service.leaving:
        return ()
    found = (
        *(() if service is None else cluster.causes(observed, service)),
        *pods.causes(observed, revision, serves=service is not None and service.serves),
        *(() if service is None else _of_engines(service)),
        *(() if service is None else _of_board(service)),
        *pods.not_ready(observed, revision, answers=service is not None and service.endpoints > 0),
    )
    return tuple(_with_hints(found, observed, revision))


def none_left(observed: Observed, revision: str) -> bool:
    """Whether nodes are lost, and no pod of the revision is left that could answer.

    KubeRay and the endpoints learn of a lost node only when Kubernetes has given its pods up, a minute later. False where
    pods or nodes were not read.
    """
    if observed.pods is None or observed.nodes is None:
        return False
    living = {node.name for node in observed.nodes} | {node.name for node in observed.away if not node.lost}
    here = [pod for pod in observed.pods if pod.revision == revision]
    lost = any(pod.node not in living for pod in here if pod.node)
    # Replicas run on workers; head and guard have none.
    return lost and not any(
        pod.ready and not pod.leaving and pod.role not in {"head", "guard"} and pod.node in living for pod in here
    )


def next_look(observed: Observed) -> float | None:
    """Seconds until the passing of time alone makes a cause of something; None if only an event can."""
    here = [service for service in observed.ray_services if not service.leaving]
    times = [
        seconds
        for service in here
        for seconds in (*cluster.waits(observed, service), *pods.waits(observed, service.name))
    ]
    return min((seconds for seconds in times if seconds > 0), default=None)


def _of_engines(service: RayServiceFacts) -> Iterator[Cause]:
    told = refusal(service)
    if told and not service.serves:
        reason = Reason.CHECKPOINT_REFUSED if told.startswith(CHECKPOINT_REFUSED) else Reason.LICENSE_FILES_MISSING
        yield Cause(reason, ConditionType.MODEL_LOADED, told)
    elif service.application_status in ENGINE_FAILED:
        message = engine_message(service) or f"Serve reports {service.application_status}"
        yield Cause(Reason.ENGINE_FAILED, ConditionType.MODEL_LOADED, message)


def _of_board(service: RayServiceFacts) -> Iterator[Cause]:
    """The board keeps a new cluster from being used: KubeRay waits until all applications have run once."""
    # Where both fail, what the engines say is nearer.
    if service.board_status in ENGINE_FAILED and service.application_status not in ENGINE_FAILED:
        message = service.board_message or f"Serve reports {service.board_status}"
        text = f"the application {BOARD_APPLICATION_NAME}, for status, licenses and models, failed: {message}"
        yield Cause(Reason.BOARD_FAILED, ConditionType.ENDPOINT_READY, text)


def _with_hints(found: Iterable[Cause], observed: Observed, revision: str) -> Iterator[Cause]:
    metadata, status = observed.deployment.metadata, observed.deployment.status
    pinned = observed.pinned(revision)
    plan = pinned.plan if pinned is not None else status.plan if status is not None else None
    chosen = None if plan is None else plan.chosen
    for cause in found:
        hint = hints.hint(cause.reason, cause.message)
        if hint is None:
            yield cause
            continue
        text = hint.do.format(
            name=metadata.name,
            namespace=metadata.namespace,
            revision=revision,
            accelerator="GPU" if chosen is None else chosen.accelerator,
        )
        yield Cause(cause.reason, cause.condition, cause.message, text)
