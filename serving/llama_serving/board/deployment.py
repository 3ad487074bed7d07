"""The board's Serve deployment: it answers for the whole LlamaDeployment, also while no engine runs.

Serve imports `BoardServer` by its path, see `app`. The process imports neither vLLM nor `ray.serve.llm`.
"""

from typing import Any

from fastapi import FastAPI
from ray import serve

from llama_serving.board.application import board_application
from llama_serving.board.reporting import BoardClient, ReplicaCounts
from llama_serving.config import APPLICATION_NAME, ServingConfig
from llama_serving.contract.tenants import DeskSettings


class _BoardServer:
    """Serves `board_application`.

    Args:
        config: A `ServingConfig` as JSON.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = ServingConfig.model_validate(config)
        self._settings = DeskSettings()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take the adapters and the further names of the model; Serve calls this at the start, and for each change."""
        self._settings = DeskSettings.model_validate(user_config)

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application; Serve calls this once the replica is made."""
        counts = ReplicaCounts(APPLICATION_NAME, self._config.server_deployment)
        board = BoardClient()

        async def adapters() -> tuple[str, ...]:
            """What replicas serve; while none tells anything, what the next one will be asked to load."""
            reports, _ = await board.snapshot()
            told = {(one.name, one.source) for report in reports for one in report.adapters if one.loaded}
            listed = self._settings.adapters or ()
            return tuple(one.name for one in listed if not reports or (one.name, one.source) in told)

        return board_application(self._config, board, counts, adapters, lambda: self._settings.aliases or ())


BoardServer = serve.ingress()(_BoardServer)
