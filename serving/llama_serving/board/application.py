"""The HTTP application of the board: status, license pages and the list of models. None of them needs an engine.

It answers in two places: in a Serve application of its own (`board.deployment`), which never scales to zero, and in every
replica of the direct path (`engine.direct`), because requests for these paths may come there as well.
"""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from llama_serving.board.status import ReplicaCount, summarize
from llama_serving.config import ABOUT_PATH, BOARD_PREFIX, LICENSES_PATH, STATUS_PATH, ServingConfig
from llama_serving.contract.status import ReplicaReport, ScalingState, ServingStatus
from llama_serving.door.caller import Caller, caller_of
from llama_serving.door.refusals import Dialect, Refusal, body_of
from llama_serving.door.routes import MODELS_PATH
from llama_serving.licenses.files import LicenseFile
from llama_serving.licenses.headers import LicenseHeaders, headers_of
from llama_serving.licenses.pages import model_metadata
from llama_serving.licenses.routes import LicenseDesk, license_router

_OWN: Final = (ABOUT_PATH, LICENSES_PATH, MODELS_PATH, BOARD_PREFIX)

Scope = Any
ASGIApp = Callable[[Scope, Any, Any], Awaitable[None]]


class Board(Protocol):
    """The reports of replicas and ingresses: `board.reporting.BoardClient`."""

    async def snapshot(self) -> tuple[tuple[ReplicaReport, ...], int]:
        """Return fresh reports and the number of open requests."""
        ...

    async def licenses(self) -> tuple[LicenseFile, ...] | None:
        """Return the license texts; None while no engine has read them."""
        ...

    async def guard_licenses(self) -> tuple[LicenseFile, ...] | None:
        """Return those of the guard; None while its engine has not read them."""
        ...


class Counts(Protocol):
    """How many replicas there are: `board.reporting.ReplicaCounts`."""

    async def read(self) -> ReplicaCount | None:
        """Return how many there are; None while nobody knows."""
        ...

    async def scaling(self) -> ScalingState | None:
        """Return what the autoscaler decided on; None while nobody knows."""
        ...


Adapters = Callable[[], Awaitable[tuple[str, ...]]]
"""Returns the names of the adapters that can be asked for."""


async def no_adapters() -> tuple[str, ...]:
    """Where none can be loaded."""
    return ()


def board_application(
    config: ServingConfig,
    board: Board,
    counts: Counts,
    adapters: Adapters = no_adapters,
    aliases: Callable[[], Iterable[str]] = tuple,
) -> FastAPI:
    """Build the application; its paths are below `BOARD_PREFIX` where it has a prefix, and at the root in a replica.

    Args:
        config: What is served.
        board: Has what the replicas report.
        counts: How many replicas there are.
        adapters: The adapters that can be asked for.
        aliases: Returns the further names of the model.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    guard = None
    if config.guard is not None:
        guard = LicenseDesk(config.guard.model_id, config.guard.license, board.guard_licenses)
    desk = LicenseDesk(config.model_id, config.license, board.licenses, guard=guard)
    app.include_router(license_router(lambda: desk))

    @app.get(STATUS_PATH.removeprefix(BOARD_PREFIX))
    async def status() -> ServingStatus:
        return await status_of(config, board, counts)

    async def cards(request: Request) -> list[dict[str, Any]]:
        """The model and its adapters, as far as the key may ask for them."""
        caller = caller_of(request.scope)
        own = [model_card(config, name) for name in names_for(caller, config.model_id, aliases())]
        return own + [adapter_card(config, name) for name in await adapters() if caller.may_ask_for(name)]

    @app.get(MODELS_PATH)
    async def models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": await cards(request)})

    @app.get(MODELS_PATH + "/{name:path}")
    async def model(name: str, request: Request) -> JSONResponse:
        # The same words for a model that is not there and for one that the key may not ask for.
        card = next((one for one in await cards(request) if one["id"] == name), None)
        if card is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no model {name!r} is served here; {MODELS_PATH} lists what is")
        return JSONResponse(card)

    app.add_exception_handler(HTTPException, refuse)
    headers = headers_of(config.license)
    app.add_middleware(LicenseHeaders, headers=lambda: headers)
    return app


async def status_of(config: ServingConfig, board: Board, counts: Counts) -> ServingStatus:
    """Replicas, queue and measured KV cache of the deployment.

    Raises:
        HTTPException: 503 while Serve does not say how many replicas there are.
    """
    known = await counts.read()
    if known is None:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "Serve does not say how many replicas there are")
    reports, open_requests = await board.snapshot()
    status = summarize(
        config, reports=reports, open_requests=open_requests, running=known.running(reports), target=known.target
    )
    return status.model_copy(update={"scaling": await counts.scaling()})


def names_for(caller: Caller, model: str, aliases: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `caller` may ask for, the model's own first: a key for the model opens its aliases too."""
    names = dict.fromkeys((model, *aliases))
    return tuple(names) if caller.may_ask_for(model) else tuple(filter(caller.may_ask_for, names))


def model_card(config: ServingConfig, name: str) -> dict[str, Any]:
    """Return the entry of the model under one of its names in the list of models, as OpenAI has it."""
    metadata = {
        "model_id": config.model_id,
        "max_request_context_length": config.engine.max_model_len,
        **model_metadata(config.model_id, config.license),
    }
    return {"id": name, "object": "model", "created": 0, "owned_by": "llama-operator", "metadata": metadata}


def adapter_card(config: ServingConfig, name: str) -> dict[str, Any]:
    """Return the entry of an adapter: that of its model under its own name, with its model as parent."""
    card = model_card(config, config.model_id)
    return {**card, "id": name, "parent": config.model_id, "metadata": {**card["metadata"], "model_id": name}}


async def refuse(request: Request, error: Exception) -> Response:
    """Answer an error as OpenAI does; FastAPI's own form is not shown by OpenAI's clients."""
    del request
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    body = body_of(Refusal(status, str(error.detail), code=status.name.lower()), Dialect.OPENAI)
    return Response(body, status, headers=error.headers, media_type="application/json")


class BoardFirst:
    """Pure ASGI: requests for the board's paths go to its application, all others to the engine's.

    Args:
        app: vLLM's application.
        board: `board_application`.
    """

    def __init__(self, app: ASGIApp, *, board: ASGIApp) -> None:
        self._app = app
        self._board = board

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Choose by the path."""
        if scope["type"] != "http" or not _is_own(scope["path"]):
            await self._app(scope, receive, send)
            return
        prefixed = _below(scope["path"], BOARD_PREFIX)
        await self._board({**scope, "root_path": BOARD_PREFIX} if prefixed else scope, receive, send)


def _is_own(path: str) -> bool:
    return any(_below(path, own) for own in _OWN)


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
