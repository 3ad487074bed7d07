"""The board's Serve deployment: it answers for the whole LlamaDeployment, also while no engine runs.

Serve imports `BoardServer` by its path, see `app`. The process imports neither vLLM nor `ray.serve.llm`.
"""

from typing import Any

from fastapi import FastAPI
from ray import serve

from llama_serving.board.application import board_application
from llama_serving.board.reporting import BoardClient, ReplicaCounts
from llama_serving.config import APPLICATION_NAME, ServingConfig


class _BoardServer:
    """Serves `board_application`.

    Args:
        config: A `ServingConfig` as JSON.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = ServingConfig.model_validate(config)

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application; Serve calls this once the replica is made."""
        counts = ReplicaCounts(APPLICATION_NAME, self._config.server_deployment)
        return board_application(self._config, BoardClient(), counts)


BoardServer = serve.ingress()(_BoardServer)
