"""Reads the Jobs that ask for access to weights, and what they said. Called by `observe.gather`."""

from collections.abc import Sequence
from functools import partial

from pydantic import ValidationError

from llama_operator.api import meta, readings
from llama_operator.api.meta import LABEL_ACCESS_CHECK, LABEL_DEPLOYMENT
from llama_operator.decide.observed import AccessCheckFacts
from llama_operator.desired import access_check
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object, Ref
from llama_operator.observe.jobs.end import end_of
from llama_operator.observe.unreadable import Unreadable
from llama_serving.contract.hub import AccessVerdict


async def access_checks(cluster: Cluster, ref: Ref, unreadable: Unreadable) -> tuple[AccessCheckFacts, ...]:
    """Read the Jobs that ask for access to the weights of the deployment at `ref`.

    The verdict stands in the status of a Job's pod: pods are read for it while a question is open, and not watched.
    """
    own = {LABEL_DEPLOYMENT: ref.name}
    checks: list[AccessCheckFacts] = []
    for job in (await cluster.list(kinds.JOB, namespace=ref.namespace, labels=own)).items:
        name: str = job["metadata"]["name"]
        if readings.labels(job).get(LABEL_ACCESS_CHECK) != name:
            continue
        pods = (await cluster.list(kinds.POD, namespace=ref.namespace, labels={LABEL_ACCESS_CHECK: name})).items
        checks += unreadable.all((job,), partial(access_check_facts, pods=pods))
    return tuple(checks)


def access_check_facts(job: Object, pods: Sequence[Object]) -> AccessCheckFacts:
    """What came of a Job that asks for access to weights.

    Args:
        job: The Job.
        pods: Its pods, as far as they still exist; their container's last word is the verdict.
    """
    metadata = job["metadata"]
    end = end_of(job, pods, access_check.CONTAINER)
    return AccessCheckFacts(
        name=metadata["name"],
        subject=readings.annotations(job).get(meta.ANNOTATION_SUBJECT, ""),
        attempt=end.attempt,
        finished=end.finished,
        succeeded=end.succeeded,
        verdict=next((word for word in map(_verdict, end.words) if word is not None), None),
        detail=end.detail,
        uid=metadata.get("uid", ""),
        leaving="deletionTimestamp" in metadata,
    )


def _verdict(word: str) -> AccessVerdict | None:
    """What the probe wrote; None for anything else, an image without the probe say."""
    try:
        return AccessVerdict.model_validate_json(word)
    except ValidationError:
        return None
