"""Prepares the nodes of a replica's placement group before its engine starts.

`ray.serve.llm` calls it in every replica (`callback_config`). Ray's own preparation starts a task on every node that imports
torch and vLLM, only to download the model. That is right for a model from a hub. If the weights are already on disk, or are
written here, it would waste 15 seconds and a gigabyte.
"""

from collections.abc import Callable
from typing import Any

import ray
from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llama_serving.config import ModelSource
from llama_serving.generated import checkpoint


class PrepareNodes(CallbackBase):
    """Gives every node of the replica the model's files. Argument `source`: a `ModelSource` as JSON."""

    async def on_before_node_init(self) -> None:
        """Write the generated checkpoint on every node; leave only models from elsewhere to Ray's download."""
        source = ModelSource.model_validate(self.kwargs["source"])
        if source.kind in {"HuggingFace", "ObjectStore"}:
            return
        self.ctx.run_init_node = False
        if source.kind == "Generated":
            await self._generate()

    async def _generate(self) -> None:
        folder = checkpoint.default_folder()
        checkpoint.ensure(folder)
        for task in on_other_nodes(checkpoint.ensure, folder, placement_group=self.ctx.placement_group):
            await task


def on_other_nodes(function: Callable[..., Any], *arguments: Any, placement_group: Any = None) -> list[Any]:
    """Start a function on each other node of the replica; what is returned is to be awaited.

    Args:
        function: What is run, in a process of its own.
        arguments: Its arguments.
        placement_group: The replica's; None for that of this process, and for no other node if it has none.
    """
    group = placement_group or ray.util.get_current_placement_group()
    if group is None:
        return []
    here = ray.get_runtime_context().get_node_id()
    others = set(ray.util.placement_group_table(group)["bundles_to_node_id"].values()) - {here}
    return [_on(node, function, *arguments) for node in sorted(others)]


def _on(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    affinity = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(function).options(num_cpus=0, scheduling_strategy=affinity).remote(*arguments)
