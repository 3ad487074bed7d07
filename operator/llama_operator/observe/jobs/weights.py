"""Reads copies of weights: their claims, the Jobs that make and erase them, and what these Jobs said. Called by `observe.gather`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from llama_operator.api import meta, readings
from llama_operator.api.readings import mapping, mappings, moment, text
from llama_operator.api.reasons import Reason
from llama_operator.decide.copies.facts import ClaimFacts, CopiedFacts, CopyJobFacts, ErasedFacts, WeightsFacts
from llama_operator.decide.copies.source import Copy, Role, of_json
from llama_operator.desired.naming import MANAGER
from llama_operator.desired.weights_claim import RETAIN
from llama_operator.desired.weights_job import CONTAINER
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe.jobs.end import end_of
from llama_operator.observe.unreadable import Unreadable
from llama_serving.contract.weights import ERASE, CopyVerdict

_FINISHED: Final = frozenset({Reason.ERASED.value, Reason.COPY_SHARED.value})
"""States of a copy whose license has ended, and that no pod of the deployment reads."""


async def weights_facts(cluster: Cluster, namespace: str, unreadable: Unreadable) -> WeightsFacts:
    """Read all copies of a namespace.

    Raises:
        KubeError: If Kubernetes cannot be read.
    """
    ours = {"app.kubernetes.io/managed-by": MANAGER}
    items = (await cluster.list(kinds.PERSISTENT_VOLUME_CLAIM, namespace=namespace, labels=ours)).items
    claims = [item for item in items if _copy_id(item)]
    deployments = (await cluster.list(kinds.LLAMA_DEPLOYMENT, namespace=namespace)).items
    here = {item["metadata"]["name"]: text(item["metadata"].get("uid")) for item in deployments}
    found: list[CopyJobFacts] = []
    for job in (await cluster.list(kinds.JOB, namespace=namespace, labels=ours)).items:
        copy_id = _copy_id(job)
        if not copy_id:
            continue
        # Of what its claim remembers, nobody asks the pods any more.
        named = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        pods = (await cluster.list(kinds.POD, namespace=namespace, labels=named)).items
        found += unreadable.all((job,), partial(copy_job_facts, pods=pods))
    read = unreadable.all(claims, partial(claim_facts, here=here))
    readers, finished = _told(deployments, finished=False), _told(deployments, finished=True)
    return WeightsFacts(read, tuple(found), readers=readers, finished=finished)


def _told(deployments: Iterable[Object], *, finished: bool) -> dict[tuple[str, str], frozenset[str]]:
    """Who reads which copy in which claim, as the status of each deployment says; or who did, until its license ended."""
    names: dict[tuple[str, str], frozenset[str]] = {}
    for item in deployments:
        for entry in mappings(mapping(item.get("status")).get("weights")):
            key = (text(entry.get("claim")), text(entry.get("id")))
            if (text(entry.get("state")) in _FINISHED) is finished:
                names[key] = names.get(key, frozenset()) | {text(item["metadata"].get("name"))}
    return names


def _copy_id(item: Object) -> str:
    return readings.labels(item).get(meta.LABEL_WEIGHTS, "")


def claim_facts(claim: Object, here: Mapping[str, str]) -> ClaimFacts:
    """What a claim says of itself, of its copy and of its users.

    Args:
        claim: The claim.
        here: Deployments of its namespace, uid by name.
    """
    metadata, spec, status = claim["metadata"], mapping(claim.get("spec")), mapping(claim.get("status"))
    annotations, owners = readings.annotations(claim), mappings(metadata.get("ownerReferences"))
    ours = [owner for owner in owners if _is_deployment(owner)]
    said = {
        name.removeprefix(meta.USER_PREFIX): value.split()
        for name, value in annotations.items()
        if name.startswith(meta.USER_PREFIX)
    }
    return ClaimFacts(
        name=metadata["name"],
        id=_copy_id(claim),
        uid=text(metadata.get("uid")),
        version=text(metadata.get("resourceVersion")),
        copy=_source(annotations.get(meta.ANNOTATION_WEIGHTS_SOURCE, ""), metadata["name"]),
        phase=text(status.get("phase")),
        storage_class=text(spec.get("storageClassName")),
        access_modes=tuple(mode for mode in spec.get("accessModes") or () if isinstance(mode, str)),
        requested=text(mapping(mapping(spec.get("resources")).get("requests")).get("storage")),
        capacity=text(mapping(status.get("capacity")).get("storage")),
        owners={text(owner.get("name")): text(owner.get("uid")) for owner in ours},
        strangers=len(ours) < len(owners),
        users={name: words[0] for name, words in said.items() if words and here.get(name) == words[0]},
        retaining=frozenset(name for name, words in said.items() if words[1:] == [RETAIN]),
        copied=_copied(annotations.get(meta.ANNOTATION_WEIGHTS_COPIED, "")),
        erased=_erased(annotations.get(meta.ANNOTATION_WEIGHTS_ERASED, "")),
        created=moment(metadata.get("creationTimestamp")),
        leaving="deletionTimestamp" in metadata,
    )


def _is_deployment(owner: Mapping[str, Any]) -> bool:
    group = text(owner.get("apiVersion")).partition("/")[0]
    return group == meta.GROUP and owner.get("kind") == kinds.LLAMA_DEPLOYMENT.kind


def _source(written: str, claim: str) -> Copy | None:
    """What a claim says of its copy. What for is not said: users may differ in that."""
    return of_json({**_values(written), "role": Role.MODEL.value, "claim": claim, "owned": True})


def _copied(written: str) -> CopiedFacts | None:
    values = _values(written)
    at = moment(values.get("at"))
    if at is None:
        return None
    size, files, seconds = (readings.whole(values.get(name)) or 0 for name in ("bytes", "files", "seconds"))
    return CopiedFacts(text(values.get("digest")), size, files, text(values.get("commit")), seconds, at)


def _erased(written: str) -> ErasedFacts | None:
    values = _values(written)
    at = moment(values.get("at"))
    if at is None:
        return None
    return ErasedFacts(readings.whole(values.get("bytes")) or 0, readings.whole(values.get("files")) or 0, at)


def _values(written: str) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(written)) if written else {}
    except (ValueError, RecursionError):
        return {}


def copy_job_facts(job: Object, pods: Sequence[Object]) -> CopyJobFacts:
    """What came of a Job that copies or erases.

    Args:
        job: The Job.
        pods: Its pods, as far as they still exist: of several the newest has the last word.
    """
    metadata, annotations = job["metadata"], readings.annotations(job)
    newest_first = sorted(pods, key=lambda pod: text(pod["metadata"].get("creationTimestamp")), reverse=True)
    end = end_of(job, newest_first, CONTAINER)
    verdict = next((one for one in map(_verdict, end.words) if one is not None), None)
    return CopyJobFacts(
        name=metadata["name"],
        id=_copy_id(job),
        erases=annotations.get(meta.ANNOTATION_WEIGHTS_TASK) == ERASE,
        subject=annotations.get(meta.ANNOTATION_SUBJECT, ""),
        deployment=readings.labels(job).get(meta.LABEL_DEPLOYMENT, ""),
        attempt=end.attempt,
        created=moment(metadata.get("creationTimestamp")),
        deadline=readings.whole(mapping(job.get("spec")).get("activeDeadlineSeconds")) or 0,
        finished=end.finished,
        succeeded=end.succeeded,
        verdict=verdict,
        detail=end.detail,
        uid=text(metadata.get("uid")),
        leaving="deletionTimestamp" in metadata,
        copy=of_json(_values(annotations.get(meta.ANNOTATION_WEIGHTS_SOURCE, ""))),
    )


def _verdict(word: str) -> CopyVerdict | None:
    """What the program wrote; None for anything else, an image without it say."""
    try:
        return CopyVerdict.model_validate_json(word)
    except ValidationError:
        return None
