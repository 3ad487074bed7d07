"""What keeps pods from running, in the words of scheduler and kubelet. Called by `decide.diagnosis.causes`."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.decide.observed import Observed
from llama_operator.decide.pods import AwayNode, PodFacts

_CREATION_SECONDS: Final = 900.0
"""How long a node may pull an image before that is told: one has tens of GiB."""
_PREPARATION_SECONDS: Final = 120.0
"""How long a node may mount volumes and make a network."""
_GATE_SECONDS: Final = 120.0
"""How long a container may hold up the others of its pod once the head is ready: the one that waits for it asks each 5 s."""
_HEAD_SECONDS: Final = 180.0
"""How long a head may run and not be ready: Ray starts in half a minute."""
_MOST_NAMED: Final = 3
_IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_BACK_OFF: Final = frozenset({"CrashLoopBackOff"})
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_PASSING: Final = re.compile(r"\S+:\d+->|(?<![\w:])\"?\b[0-9a-f]{64}\b\"? ?")
"""What is another one each time: where a request came from, and the name of a container in its runtime. A digest stays."""
_CUT: Final = (" no new claims to deallocate", " preemption:")
"""Where the scheduler begins to tell what it tried in vain."""


def causes(observed: Observed, revision: str, *, serves: bool) -> Iterator[Cause]:
    """Yield what keeps pods of a revision from running, the nearest first; `serves` says whether it answers all the same."""
    pods = _of(observed, revision)
    replaced = _replaced(observed, pods, revision, serves=serves)
    pods = tuple(pod for pod in pods if pod not in replaced)
    yield from _nodes_lost(observed, pods)
    here = [pod for pod in pods if not pod.leaving]
    yield from _grouped(here, _unplaced, Reason.PODS_UNSCHEDULABLE, ConditionType.CAPACITY_FOUND)
    yield from _grouped(here, _image, Reason.IMAGE_NOT_PULLED, ConditionType.MODEL_LOADED)
    yield from _grouped(here, _stuck, Reason.CONTAINER_FAILED, ConditionType.MODEL_LOADED)
    ends = dict.fromkeys(_end(pod) for pod in _ended(observed, here, revision, serves=serves))
    yield from (Cause(Reason.CONTAINER_FAILED, ConditionType.MODEL_LOADED, text) for text in ends if text)
    late = [pod for pod in here if _creation_left(observed, pod) <= 0]
    yield from _grouped(late, _created, Reason.CONTAINER_FAILED, ConditionType.MODEL_LOADED)
    held = [pod for pod in here if _gate_left(observed, pod, here) <= 0]
    yield from _grouped(held, _held, Reason.CONTAINER_FAILED, ConditionType.MODEL_LOADED)


def _replaced(observed: Observed, pods: tuple[PodFacts, ...], revision: str, *, serves: bool) -> frozenset[PodFacts]:
    """Pods that are no more than a trace: they ended or are being deleted, and others do their work.

    Kubernetes keeps a pod of a silent node until the node is back, and one that the kubelet refused until somebody deletes
    it. Of a role of which a pod is still missed they tell why.
    """
    serving = observed.serving
    short = serving is not None and serving.identity.revision == revision and serving.replicas < serving.target_replicas
    if not serves or short:
        return frozenset()
    over = [pod for pod in pods if pod.leaving or pod.failed]
    stay = [pod for pod in pods if pod not in over]
    silent = {node.name for node in observed.away if node.lost}
    unwell = {pod.role for pod in stay if not (pod.ready or (_runs(pod) and pod.node not in silent))}
    well = {pod.role for pod in stay} - unwell
    return frozenset(pod for pod in over if pod.role in well)


def not_ready(observed: Observed, revision: str, *, answers: bool) -> Iterator[Cause]:
    """Yield that pods run and are not ready, where nothing else explains it.

    A worker is not ready before Serve has put a proxy on it, which takes as long as the model takes to load: it counts
    once the revision has served.

    Args:
        observed: What is known.
        revision: Name of the revision.
        answers: Whether it has an endpoint.
    """
    record = observed.pinned(revision)
    served = record is not None and bool(record.served_at)
    lost = {node.name for node in observed.away if node.lost}
    silent = [
        pod
        for pod in _of(observed, revision)
        if not pod.leaving
        and pod.node not in lost
        and _runs_unready(pod)
        and ((served and not answers) or _head_left(observed, pod) <= 0)
    ]
    if silent:
        since = min((pod.unready_since for pod in silent if pod.unready_since), default=None)
        text = f"{_count(silent, _of(observed, revision))} run and are not ready{_since(since)}"
        yield Cause(Reason.PROBE_FAILED, ConditionType.ENDPOINT_READY, text)


def waits(observed: Observed, revision: str) -> Iterator[float]:
    """Yield the seconds after which a pod has taken too long."""
    pods = _of(observed, revision)
    for pod in pods:
        if not pod.leaving and pod.preparing:
            yield _gate_left(observed, pod, pods)
        elif not pod.leaving and pod.starting:
            yield _creation_left(observed, pod)
        elif not pod.leaving and _runs_unready(pod) and pod.role == "head":
            yield _head_left(observed, pod)


def _of(observed: Observed, revision: str) -> tuple[PodFacts, ...]:
    return tuple(pod for pod in observed.pods or () if pod.revision == revision)


def _runs(pod: PodFacts) -> bool:
    return pod.phase == "Running" and not (pod.ended or pod.waiting)


def _runs_unready(pod: PodFacts) -> bool:
    return _runs(pod) and not (pod.ready or pod.last_exit)


def _head_left(observed: Observed, pod: PodFacts) -> float:
    since = pod.unready_since
    return _HEAD_SECONDS if since is None or pod.role != "head" else observed.age(since).left(_HEAD_SECONDS)


def _creation_left(observed: Observed, pod: PodFacts) -> float:
    """Seconds that the creation of its containers may still take."""
    patience = _CREATION_SECONDS if pod.prepared else _PREPARATION_SECONDS
    if not pod.node or not pod.starting or pod.unready_since is None:
        return patience
    return observed.age(pod.unready_since).left(patience)


def _gate_left(observed: Observed, pod: PodFacts, pods: Iterable[PodFacts]) -> float:
    """Seconds that a container may still hold up the others of its pod; it does so rightly until the head is ready."""
    head = next((one.ready_since for one in pods if one.role == "head" and one.ready), None)
    if not pod.preparing or pod.preparing_since is None or head is None:
        return _GATE_SECONDS
    return observed.age(max(head, pod.preparing_since)).left(_GATE_SECONDS)


def _ended(observed: Observed, here: list[PodFacts], revision: str, *, serves: bool) -> Iterator[PodFacts]:
    """Pods that ended badly, the head first: those that are here, and what is remembered of roles that are not well yet.

    What ends in the same way as is remembered is told in the words of before. A worker that holds no replica of its own, as
    one of several of an engine, is never ready and serves.
    """
    unwell = [pod for pod in here if not pod.ready and not (serves and _runs(pod))]
    roles = {pod.role for pod in unwell}
    roles |= set() if serves else {pod.role for pod in observed.ended} - {pod.role for pod in here}
    before = {pod.role: pod for pod in observed.ended if pod.revision == revision and pod.role in roles}
    ends = [
        before[pod.role] if pod.role in before and before[pod.role].same_end(pod) else pod
        for pod in sorted(unwell, key=_head_first)
        if pod.last_exit or pod.failed
    ]
    yield from sorted((*ends, *before.values()), key=lambda pod: pod.role != "head")


def _head_first(pod: PodFacts) -> tuple[bool, str]:
    return pod.role != "head", pod.name


def _nodes_lost(observed: Observed, pods: Iterable[PodFacts]) -> Iterator[Cause]:
    """Nodes of pods that are gone or silent: what is on them does not answer, whatever the phase of the pods says."""
    if observed.nodes is None:
        return
    known = {node.name for node in observed.nodes} | {node.name for node in observed.away}
    silent = {node.name: node for node in observed.away if node.lost}
    on = [pod for pod in pods if pod.node]
    # A node that was made just now may not have been seen yet: only what has run there counts.
    gone = Counter(pod.node for pod in on if pod.node not in known and pod.phase != "Pending")
    lost = Counter(pod.node for pod in on if pod.node in silent and not pod.ready)
    if gone:
        text = f"{_nodes(gone)} {_is(gone)} gone, with {_pods(gone.total())} of this revision"
        yield Cause(Reason.NODES_LOST, ConditionType.CAPACITY_FOUND, text)
    if lost:
        since = min((node.since for name, node in silent.items() if name in lost and node.since), default=None)
        text = f"{_nodes(lost)} {_is(lost)} not ready{_since(since)}, with {_pods(lost.total())} of this revision"
        yield Cause(Reason.NODES_LOST, ConditionType.CAPACITY_FOUND, text)


def _unplaced(pod: PodFacts) -> str:
    if not pod.unschedulable or pod.node:
        return ""
    text = pod.unschedulable
    for begins in _CUT:
        text = text.partition(begins)[0]
    return f"placed on no node: {text.rstrip(', ')}"


def _image(pod: PodFacts) -> str:
    if pod.waiting not in _IMAGE:
        return ""
    # The kubelet alternates between an attempt and a pause, whose message repeats that of the attempt.
    told = pod.waiting_message.rpartition("ErrImagePull: ")[2] or pod.waiting
    return f"without the image {pod.image or 'of ' + pod.container}: {_lasting(told)}"


def _stuck(pod: PodFacts) -> str:
    if not pod.waiting or pod.waiting in _IMAGE | _BACK_OFF | _STARTING:
        return ""
    return _sentence(f"stuck, container {pod.container} cannot start: {pod.waiting}", _lasting(pod.waiting_message))


def _end(pod: PodFacts) -> str:
    """How a pod ended; without its name and how many there are: KubeRay makes the next one at once."""
    who = "the head pod" if pod.role == "head" else f"a {pod.role} pod".replace("  ", " ")
    code = "" if pod.exit_code is None else f", exit code {pod.exit_code}"
    if pod.failed:
        return _sentence(f"{who} was ended: {pod.failed}", pod.failed_message or pod.exit_message)
    return _sentence(f"{who} broke, container {pod.container} ended: {pod.last_exit}{code}", _lasting(pod.exit_message))


def _created(pod: PodFacts) -> str:
    waits_for = "pulls its image" if pod.prepared else "has not mounted its volumes, or not made its network"
    return f"being created since {pod.unready_since:%Y-%m-%dT%H:%M:%SZ}: the node {waits_for}"


def _held(pod: PodFacts) -> str:
    return f"held up by container {pod.preparing}, which runs since {pod.preparing_since:%Y-%m-%dT%H:%M:%SZ} and does not end"


def _lasting(told: str) -> str:
    """What a runtime said, in the words that it has for each attempt: a status shall not change with every one."""
    return _PASSING.sub("", told)


def _sentence(said: str, more: str) -> str:
    return f"{said}: {more}" if more else said


def _grouped(
    pods: list[PodFacts], told: Callable[[PodFacts], str], reason: Reason, condition: ConditionType
) -> Iterator[Cause]:
    """One cause for all pods of which the same is told; that of the head, without which no other starts, comes first."""
    groups: dict[str, list[PodFacts]] = {}
    for pod in sorted(pods, key=_head_first):
        if text := told(pod):
            groups.setdefault(text, []).append(pod)
    yield from (
        Cause(reason, condition, f"{_count(members, pods)} {_are(members)} {text}") for text, members in groups.items()
    )


def _count(members: Iterable[PodFacts], of: Iterable[PodFacts]) -> str:
    """How many pods of which role, of how many: `the head pod`, `2 of 3 worker pods`."""
    roles, all_roles = Counter(pod.role for pod in members), Counter(pod.role for pod in of)
    return " and ".join(
        "the head pod"
        if role == "head" and count == 1
        else f"{count} of {all_roles[role]} {role} pods".replace("  ", " ")
        for role, count in roles.items()
    )


def _are(members: list[PodFacts]) -> str:
    return "is" if len(members) == 1 else "are"


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def _nodes(names: Iterable[str]) -> str:
    named = sorted(names)
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"node{'s' if len(named) > 1 else ''} {', '.join(named[:_MOST_NAMED])}{more}"


def _is(names: Counter[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _since(moment: datetime | None) -> str:
    return "" if moment is None else f" since {moment:%Y-%m-%dT%H:%M:%SZ}"


def away_text(nodes: Iterable[AwayNode]) -> str:
    """Nodes that take no pods and why, for people: `h100-8-1 is cordoned`; empty for none."""
    by_why: dict[str, list[AwayNode]] = {}
    for node in sorted(nodes, key=lambda node: node.name):
        by_why.setdefault(node.why, []).append(node)
    parts = []
    for why, those in by_why.items():
        names = ", ".join(node.name for node in those[:_MOST_NAMED])
        more = f" and {len(those) - _MOST_NAMED} more" if len(those) > _MOST_NAMED else ""
        since = min((node.since for node in those if node.since), default=None)
        plural = {"is": "are", "has": "have", "says": "say"}
        verb, _, rest = why.partition(" ")
        parts.append(f"{names}{more} {plural.get(verb, verb) if len(those) > 1 else verb} {rest}{_since(since)}")
    return "; ".join(parts)
