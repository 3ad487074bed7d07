"""In which queue of Kueue a RayService waits for its quota. Called by `desired.objects`."""

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_operator.decide.placement.queue import DEFAULT_QUEUE, LABEL_PRIORITY, LABEL_QUEUE, Queue


def queue_of(observed: Observed, revision: str) -> Queue | None:
    """The queue of the RayService of a revision: that of the one that exists, else what the LlamaDeployment says."""
    service = next((one for one in observed.ray_services if one.name == revision), None)
    return wanted_queue(observed.deployment, default=observed.default_queue) if service is None else service.queue


def wanted_queue(deployment: LlamaDeployment, *, default: bool) -> Queue | None:
    """The queue that a RayService gets when it is made.

    Args:
        deployment: Its labels name the queue and the priority.
        default: Whether its namespace has a LocalQueue that takes everything.
    """
    labels = deployment.metadata.labels
    name = labels.get(LABEL_QUEUE) or (DEFAULT_QUEUE if default else "")
    return Queue(name, labels.get(LABEL_PRIORITY, "")) if name else None


def evicted(observed: Observed) -> tuple[RayServiceFacts, ...]:
    """RayServices whose quota Kueue took back, whose pods are gone, and that KubeRay still calls Ready.

    KubeRay 1.6 finds no head then and gives up before it writes their status (kuberay#4686). Kueue believes it, so it neither lends
    their quota to others nor asks for it again. One that is made anew waits in the queue like any other.
    """
    if observed.pods is None:
        return ()
    with_pods = {pod.revision for pod in observed.pods}
    return tuple(
        one
        for one in observed.ray_services
        if one.waits and one.endpoints > 0 and not one.leaving and one.name not in with_pods
    )
