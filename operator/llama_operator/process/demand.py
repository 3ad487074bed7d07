"""Which answers of serving pods say something of a whole deployment now. Called by `process.gauges`.

Autoscalers of others do what the numbers say, at once and without looking around. So a number that is about something else is none.
"""

from collections.abc import Iterable, Iterator

from llama_operator.api import paths, readings
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Ref
from llama_serving.contract.status import DeploymentIdentity, ServingStatus


def of_whole(answers: Iterable[ServingStatus], cache: ObjectCache) -> Iterator[ServingStatus]:
    """Yield the answers of revisions that serve their deployment; those of one that is gone, or was made anew, are left out.

    While another revision still drains, its streams are no load of the one that answers: then that one asks for as many as it was
    given, or for more. In mode `QueueDepth` its lower bound does the same (`decide.rollout.handover`).

    Args:
        answers: What pods said last.
        cache: What the watches reported.
    """
    for answer in answers:
        identity = answer.identity
        live = cache.find(Ref(kinds.LLAMA_DEPLOYMENT, identity.namespace, identity.name)) or {}
        revisions = readings.mapping(paths.at(live, "status.revisions"))
        if readings.text(revisions.get("active")) == identity.revision:
            shares = _shares(identity, readings.text(revisions.get("pending")), cache)
            yield _no_fewer(answer) if shares else answer


def _shares(identity: DeploymentIdentity, pending: str, cache: ObjectCache) -> bool:
    """Whether a revision runs that had the traffic before; one that is on its way has none yet."""
    services = cache.list(kinds.RAY_SERVICE, identity.namespace, {LABEL_DEPLOYMENT: identity.name})
    return any(service["metadata"]["name"] not in {identity.revision, pending} for service in services)


def _no_fewer(answer: ServingStatus) -> ServingStatus:
    scaling = answer.scaling
    if scaling is None or scaling.unbounded_replicas is None:
        return answer
    least = max(scaling.unbounded_replicas, answer.target_replicas)
    return answer.model_copy(update={"scaling": scaling.model_copy(update={"unbounded_replicas": least})})
