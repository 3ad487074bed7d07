"""The engine's Serve deployment on the direct path: the replica itself answers HTTP, with vLLM's own application.

Serve imports `DirectServer` by its path, see `app`. What the direct path needs of Ray's and vLLM's private names is here, and
tests/serving runs it: it serves, streams, scales, cuts off clients. See docs/designs/0020-data-plane.md.
"""

from typing import Any

from ray import serve

from llama_serving.board.application import BoardFirst, board_application
from llama_serving.board.reporting import BoardClient, ReplicaCounts
from llama_serving.config import APPLICATION_NAME
from llama_serving.contract.tenants import DeskSettings
from llama_serving.door.passed import OnlyThroughTheDoor
from llama_serving.engine.server import LlamaServer
from llama_serving.licenses.headers import LicenseHeaders, headers_of


class _DirectServer(LlamaServer):
    """`LlamaServer` with an HTTP application around vLLM's."""

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take new limits of tenants; Serve calls this at the start, and for each change, while requests go on."""
        self._limits = DeskSettings.model_validate(user_config)

    async def __serve_build_asgi_app__(self) -> Any:
        """Build the application; Serve calls this once the engine has started.

        Each layer that is added stands in front of those before it.
        """
        app = await super().__serve_build_asgi_app__()
        # vLLM has built its layers already; without this, none could be added.
        app.middleware_stack = None
        board = board_application(
            self._serving, BoardClient(), ReplicaCounts(APPLICATION_NAME, self._serving.server_deployment)
        )
        app.add_middleware(BoardFirst, board=board)
        app.add_middleware(OnlyThroughTheDoor, door=self._serving.door)
        headers = headers_of(self._serving.license)
        app.add_middleware(LicenseHeaders, headers=lambda: headers)
        return app


DirectServer = serve.ingress()(_DirectServer)
