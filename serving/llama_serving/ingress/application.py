"""The deployment that answers HTTP: `ray.serve.llm`'s OpenAI routes, the status endpoint and the license pages.

Serve imports `Ingress` through `replicas`.
"""

from typing import Any

from ray import serve
from ray.llm._internal.serve.core.configs.openai_api_models import to_model_metadata
from ray.llm._internal.serve.core.ingress.ingress import DEFAULT_ENDPOINTS, init
from ray.serve.handle import DeploymentHandle
from ray.serve.llm import LLMConfig
from ray.serve.llm.ingress import OpenAiIngress, make_fastapi_ingress
from starlette.exceptions import HTTPException

from llama_serving.board.application import refuse, status_of
from llama_serving.board.reporting import BoardClient, CountOpenRequests, OpenRequests, ReplicaCounts
from llama_serving.config import APPLICATION_NAME, STATUS_PATH, ServingConfig
from llama_serving.contract.status import ServingStatus
from llama_serving.licenses.headers import Headers, LicenseHeaders, headers_of
from llama_serving.licenses.pages import model_metadata
from llama_serving.licenses.routes import LicenseDesk, license_router
from llama_serving.llm_config import llm_config_of


class StatusIngress(OpenAiIngress):
    """The OpenAI routes for one model, and its status.

    Args:
        config: A `ServingConfig` as JSON.
        server: Handle of the engine's deployment.
    """

    def __init__(self, config: dict[str, Any], server: DeploymentHandle) -> None:
        self._config = ServingConfig.model_validate(config)
        self._board = BoardClient()
        self._counts = ReplicaCounts(APPLICATION_NAME, self._config.server_deployment)
        model = self._config.model_id
        duties = self._config.license
        self.license_desk = LicenseDesk(model, duties, self._board.licenses)
        self.license_headers = headers_of(duties)
        card = to_model_metadata(
            model, LLMConfig.model_validate(llm_config_of(self._config)), model_metadata(model, duties)
        )
        super().__init__(llm_deployments={model: server}, model_cards={model: card})

    async def llama_status(self) -> ServingStatus:
        """Replicas, queue and measured KV cache of this deployment."""
        return await status_of(self._config, self._board, self._counts)


def _desk() -> LicenseDesk:
    """Desk of the ingress in this process: Serve copies the application before the ingress exists."""
    desk: LicenseDesk = serve.get_replica_context().servable_object.license_desk
    return desk


def _license_headers() -> Headers:
    headers: Headers = serve.get_replica_context().servable_object.license_headers
    return headers


def _application() -> Any:
    app = init()
    app.include_router(license_router(_desk))
    app.add_exception_handler(HTTPException, refuse)
    app.add_middleware(CountOpenRequests, requests=OpenRequests())
    # Outermost, so that also an answer of the other layers carries them.
    app.add_middleware(LicenseHeaders, headers=_license_headers)
    return app


Ingress = make_fastapi_ingress(
    StatusIngress,
    app=_application(),
    endpoint_map={**DEFAULT_ENDPOINTS, "llama_status": lambda app: app.get(STATUS_PATH)},
)
