"""From the JSON of a Pod to what a diagnosis needs of it. Called by `observe.gather`, and by the handlers for what is news."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_operator.api import readings
from llama_operator.api.meta import LABEL_REVISION
from llama_operator.api.readings import mapping, mappings, moment, text
from llama_operator.api.said import said, shortened
from llama_operator.decide.pods import PodFacts
from llama_operator.kube.port import Object
from llama_serving.contract.guard import GUARD_GROUP

ROLE: Final = "ray.io/node-type"
GROUP: Final = "ray.io/group"
_LONGEST: Final = 1024
"""Bytes of a message that somebody else wrote."""
_OF_RAY: Final = "ray-"
"""What the names of the containers that Ray runs in begin with."""
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits for nothing but its turn."""


@dataclass(frozen=True, slots=True)
class _Container:
    """State of one container."""

    name: str
    image: str
    ready: bool
    waiting: Mapping[str, Any]
    ended: Mapping[str, Any]
    """Its end, if it has ended now."""
    ended_before: Mapping[str, Any]
    """Its end before it was started again."""
    running: Mapping[str, Any]

    @property
    def blocked(self) -> bool:
        """Whether it waits for something that may never come."""
        return bool(self.waiting) and text(self.waiting.get("reason")) not in _STARTING

    @property
    def broke(self) -> Mapping[str, Any]:
        """The end that it came to, other than a good one; empty if it did not."""
        return next((end for end in (self.ended, self.ended_before) if _is_bad(end)), {})


def pod_facts(obj: Object) -> PodFacts:
    """What a Pod says about why it does not run."""
    metadata, status = obj["metadata"], mapping(obj.get("status"))
    labels = readings.labels(obj)
    conditions = {text(one.get("type")): one for one in mappings(status.get("conditions"))}
    ready, scheduled = conditions.get("Ready", {}), conditions.get("PodScheduled", {})
    first = tuple(map(_container, mappings(status.get("initContainerStatuses"))))
    containers = tuple(map(_container, mappings(status.get("containerStatuses"))))
    phase = text(status.get("phase")) or "Pending"
    troubled = _troubled((*first, *containers))
    # Ray's containers run until somebody deletes their pod: also one that ended well does not do its work any more.
    over = next((one for one in _ray_first(containers) if one.ended), None) if phase == "Succeeded" else None
    troubled = troubled or over
    end = {} if troubled is None else troubled.broke or (troubled.ended if troubled is over else {})
    waits = any(text(one.waiting.get("reason")) in _STARTING for one in containers)
    # A sidecar that keeps running is ready; what runs and is not holds up the others.
    preparing = next((one for one in first if one.running and not one.ready), None) if waits else None
    turned = moment(ready.get("lastTransitionTime"))
    return PodFacts(
        name=metadata["name"],
        revision=labels.get(LABEL_REVISION, ""),
        role=_role(labels),
        phase=phase,
        node=text(mapping(obj.get("spec")).get("nodeName")),
        ready=ready.get("status") == "True",
        unschedulable=_short(scheduled.get("message")) if scheduled.get("status") == "False" else "",
        waiting="" if troubled is None else text(troubled.waiting.get("reason")),
        waiting_message="" if troubled is None else _short(troubled.waiting.get("message")),
        last_exit=_exit(end),
        image="" if troubled is None else _awaited(troubled, mapping(obj.get("spec"))),
        container="" if troubled is None else troubled.name,
        exit_code=readings.whole(end.get("exitCode")),
        exit_message=_short(end.get("message")),
        ended=any(one.ended for one in containers) or any(one.ended and one.broke for one in first),
        failed=text(status.get("reason")) if phase == "Failed" else "",
        failed_message=_short(status.get("message")) if phase == "Failed" else "",
        unready_since=None if ready.get("status") == "True" else turned,
        ready_since=turned if ready.get("status") == "True" else None,
        starting=waits and preparing is None and not any(one.blocked or one.broke for one in first),
        preparing="" if preparing is None else preparing.name,
        preparing_since=None if preparing is None else moment(preparing.running.get("startedAt")),
        prepared=conditions.get("PodReadyToStartContainers", {}).get("status") != "False",
        leaving="deletionTimestamp" in metadata,
        created=moment(metadata.get("creationTimestamp")),
        scheduled=moment(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        running_since=next(
            (moment(one.running.get("startedAt")) for one in _ray_first(containers) if one.running), None
        ),
    )


def _awaited(container: _Container, spec: Mapping[str, Any]) -> str:
    """The image that a container waits for: its own, or one that it mounts, where the kubelet's message names that."""
    message = text(container.waiting.get("message"))
    mounted = (text(mapping(volume.get("image")).get("reference")) for volume in mappings(spec.get("volumes")))
    return next((reference for reference in mounted if reference and reference in message), container.image)


def _role(labels: Mapping[str, str]) -> str:
    """What the pod is; to KubeRay a guard is a worker, to us it holds no replica of the model."""
    role = labels.get(ROLE, "")
    return "guard" if role == "worker" and labels.get(GROUP, "").startswith(GUARD_GROUP) else role


def _ray_first(containers: Iterable[_Container]) -> list[_Container]:
    """The kubelet sorts them by their names."""
    return sorted(containers, key=lambda one: not one.name.startswith(_OF_RAY))


def _container(status: Mapping[str, Any]) -> _Container:
    state, before = mapping(status.get("state")), mapping(status.get("lastState"))
    return _Container(
        name=text(status.get("name")),
        image=text(status.get("image")),
        ready=status.get("ready") is True,
        waiting=mapping(state.get("waiting")),
        ended=mapping(state.get("terminated")),
        ended_before=mapping(before.get("terminated")),
        running=mapping(state.get("running")),
    )


def _troubled(containers: Iterable[_Container]) -> _Container | None:
    """The container whose trouble is the nearest; None if none has any, or has even begun.

    Of those that broke, the first one: the others may have broken for want of it.
    """
    known = sorted(containers, key=lambda one: text(one.broke.get("finishedAt")))
    return next((one for rank in _RANKS for one in known if rank(one)), None)


_RANKS: Final[tuple[Callable[[_Container], bool], ...]] = (
    lambda one: one.blocked,
    lambda one: _is_bad(one.ended),
    lambda one: bool(one.broke) and not one.ready,
    lambda one: bool(one.waiting),
    lambda one: bool(one.broke),
)


def _is_bad(end: Mapping[str, Any]) -> bool:
    """Whether a container ended, and not well."""
    return end.get("exitCode") != 0 if "exitCode" in end else text(end.get("reason")) not in {"", "Completed"}


def _exit(end: Mapping[str, Any]) -> str:
    """Why a container ended; empty if it ended well, or did not."""
    return (text(end.get("reason")) or f"exit code {end.get('exitCode')}") if end else ""


def _short(written: object) -> str:
    return shortened(" ".join(said(written).split()), _LONGEST)
