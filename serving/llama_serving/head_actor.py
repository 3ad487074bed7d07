"""One actor of a name on the head of the Ray cluster, for all replicas. Called by `board.reporting` and `desk.ledger_actor`."""

from typing import Any, Final

import ray

from llama_serving.config import HEAD_RESOURCE

_NAMESPACE: Final = "llama-serving"


def head_actor(kind: type, name: str) -> Any:
    """Return the handle of an actor, which the first call makes. Ray starts it again when its process ends. Blocks.

    Args:
        kind: Class of the actor.
        name: Its name, the only one in the cluster.
    """
    return (
        ray.remote(kind)
        .options(
            name=name,
            namespace=_NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            num_cpus=0,
            # The head outlives the workers. And not within the placement group of the replica that asks first.
            resources={HEAD_RESOURCE: 0.001},
            scheduling_strategy="DEFAULT",
        )
        .remote()
    )
