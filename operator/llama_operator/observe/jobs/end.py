"""How a Job of ours ended, and the words of its pods. Called by its neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from llama_operator.api import meta, readings
from llama_operator.api.readings import mapping, mappings, moment, text
from llama_operator.api.said import said, shortened
from llama_operator.kube.port import Object

_DETAIL_LIMIT: Final = 512
"""A registry's own error may be long."""
_MOST: Final = 1 << 30
"""More than any number of attempts."""


@dataclass(frozen=True, slots=True)
class End:
    """How far a Job is.

    Attributes:
        finished: When it ended; None while it runs.
        succeeded: Whether it ended well.
        words: Termination messages of its pods.
        detail: Why its pod waits, or how it ended; what it said itself is no part of it.
        attempt: Its number, from 1.
    """

    finished: datetime | None
    succeeded: bool
    words: tuple[str, ...]
    detail: str
    attempt: int


def end_of(job: Object, pods: Sequence[Object], container: str) -> End:
    """How far a Job is.

    Args:
        job: The Job.
        pods: Its pods, as far as they still exist.
        container: Name of the container that does the work.
    """
    conditions = mappings(mapping(job.get("status")).get("conditions"))
    ended = next(
        (
            each
            for each in conditions
            if text(each.get("type")) in {"Complete", "Failed"} and each.get("status") == "True"
        ),
        None,
    )
    states = [_state(pod, container) for pod in pods]
    told = (_state_text(state, pod) for state, pod in zip(states, pods, strict=True))
    detail = next((each for each in told if each), "")
    if ended is not None and ended["type"] == "Failed" and not detail:
        detail = text(ended.get("message")) or text(ended.get("reason"))
    created = moment(job["metadata"].get("creationTimestamp"))
    return End(
        finished=None if ended is None else moment(ended.get("lastTransitionTime")) or created,
        succeeded=ended is not None and ended["type"] == "Complete",
        words=tuple(text(mapping(state.get("terminated")).get("message")) for state in states),
        detail=shortened(said(detail), _DETAIL_LIMIT),
        attempt=_attempt(readings.annotations(job).get(meta.ANNOTATION_ATTEMPT, "")),
    )


def _attempt(written: str) -> int:
    """Number of an attempt; 1 where none can be read."""
    return min(max(1, readings.units(written) or 1), _MOST)


def _state(pod: Object, container: str) -> Mapping[str, Any]:
    """State of the container that does the work; a sidecar may stand before it in the list."""
    statuses = mappings(mapping(pod.get("status")).get("containerStatuses"))
    return mapping(next((one.get("state") for one in statuses if one.get("name") == container), {}))


def _state_text(state: Mapping[str, Any], pod: Object) -> str:
    """Why a container or its pod waits, or how it ended; what it said itself is no part of it."""
    waiting, ended = mapping(state.get("waiting")), mapping(state.get("terminated"))
    if not state:
        conditions = mappings(mapping(pod.get("status")).get("conditions"))
        return next((text(each.get("message")) for each in conditions if each.get("reason") == "Unschedulable"), "")
    if waiting.get("reason") == "ContainerCreating":
        return ""
    if waiting:
        return " ".join(part for part in (text(waiting.get("reason")), text(waiting.get("message"))) if part)
    return f"{text(ended.get('reason')) or 'Error'}, exit code {ended['exitCode']}" if ended.get("exitCode") else ""
