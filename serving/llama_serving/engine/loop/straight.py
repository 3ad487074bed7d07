"""Calls vLLM's handlers straight, past the layers of FastAPI that have nothing to do for them. `frontend` puts it in.

FastAPI reads who may be asked for what out of the signature of a handler, and goes through all of it for each request: stacks of
things to close, dependencies, the type of the body again. vLLM and Starlette then start three tasks to find out that the client
has left, which Serve's own server watches already, and ends the request. Sixteen requests that come together wait for all of that.

What is not plain goes the long way as before. Three things are not: a body that the handler's model does not take, because its error
is FastAPI's and vLLM's; a request that came through another process, because no server here watches its client; and a route that
takes more than a body and the request.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.routing import APIRoute

from llama_serving.door.asgi import ASGIApp, Message, Receive, Scope, Send
from llama_serving.door.body import replayed
from llama_serving.door.caller import AT_OWN_DOOR
from llama_serving.engine.loop.together import send_parts

_WATCHES: Final = "with_cancellation.<locals>.wrapper"
"""vLLM's layer that looks whether the client has left."""

_KNOWN: Final = frozenset(("validate_json_request",))
"""Dependencies of vLLM's routes that the door has fulfilled: it hands on no other type of body."""

_OTHER_PARAMETERS: Final = ("path_params", "query_params", "header_params", "cookie_params")
_OTHER_NAMES: Final = (
    "http_connection_param_name",
    "websocket_param_name",
    "response_param_name",
    "background_tasks_param_name",
    "security_scopes_param_name",
)
_LOGGER = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Handler:
    """How a route is called without FastAPI.

    Attributes:
        route: The route.
        field: Reads the body.
        call: Its function.
        body: Name of the parameter that takes the body.
        request: Name of the one that takes the request.
    """

    route: APIRoute
    field: Any
    call: Callable[..., Awaitable[Any]]
    body: str
    request: str


def handler_of(route: Any) -> Handler | None:
    """Return how `route` is called; None if it needs what FastAPI does."""
    if not isinstance(route, APIRoute) or route.body_field is None or route.methods != {"POST"}:
        return None
    wants = route.dependant
    if any(getattr(wants, name) for name in (*_OTHER_PARAMETERS, *_OTHER_NAMES)) or len(wants.body_params) != 1:
        return None
    if wants.request_param_name is None or not wants.is_coroutine_callable:
        return None
    if any(getattr(one.call, "__name__", "") not in _KNOWN or one.dependencies for one in wants.dependencies):
        return None
    call: Any = route.endpoint
    if getattr(getattr(call, "__code__", None), "co_qualname", "") == _WATCHES:
        call = call.__wrapped__
    return Handler(route, route.body_field, call, wants.body_params[0].name, wants.request_param_name)


def go_straight(app: Any, *, joins: bool) -> tuple[str, ...]:
    """Let requests for the routes of `app` go straight where they can; return the paths of those.

    Args:
        app: The application. Layers in front of its routes, and what it makes of errors, stay.
        joins: Whether parts of a stream that are there at once may go out in one piece: no layer reads them one by one.
    """
    found = {route.path: handler for route in app.router.routes if (handler := handler_of(route)) is not None}
    if not found or app.dependency_overrides:
        _LOGGER.warning("vLLM's routes are other ones than are known here: requests go through all layers of FastAPI")
        return ()
    app.router.middleware_stack = Straight(app.router.middleware_stack, found, joins=joins)
    return tuple(found)


class Straight:
    """Pure ASGI in front of the routes.

    Args:
        app: The long way.
        handlers: By path.
        joins: Whether parts of a stream may go out in one piece.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[str, Handler], *, joins: bool) -> None:
        self._app = app
        self._handlers = handlers
        self._joins = joins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        handler = self._handler(scope)
        if handler is None:
            await self._app(scope, receive, send)
            return
        message = await receive()
        if message["type"] != "http.request" or message.get("more_body", False):
            await self._app(scope, _again(message, receive), send)
            return
        content: bytes = message.get("body", b"")
        asked = _read(handler, content)
        if asked is None:
            await self._app(scope, replayed(content, receive), send)
            return
        scope.update(route=handler.route, endpoint=handler.route.endpoint, path_params={})
        request = Request(scope, replayed(content, receive), send)
        # Kept in the request, as FastAPI does.
        await request.body()
        answer = await handler.call(**{handler.body: asked, handler.request: request})
        await self._answer(answer, scope, receive, send)

    async def _answer(self, answer: Any, scope: Scope, receive: Receive, send: Send) -> None:
        response = answer if isinstance(answer, Response) else JSONResponse(answer)
        if type(response) is not StreamingResponse:
            await response(scope, receive, send)
            return
        # Its own call would look whether the client has left, in two tasks more.
        if self._joins:
            head = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
            await send_parts(aiter(response.body_iterator), send, head=head, charset=response.charset)
        else:
            await response.stream_response(send)
        if response.background is not None:
            await response.background()

    def _handler(self, scope: Scope) -> Handler | None:
        if scope["type"] != "http" or scope["method"] != "POST" or not AT_OWN_DOOR.get():
            return None
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return self._handlers.get(path)


def _read(handler: Handler, content: bytes) -> Any:
    """The body as the handler wants it; None if it is wrong."""
    try:
        # FastAPI reads JSON by this module too.
        value = json.loads(content)
        asked, errors = handler.field.validate(value, {}, loc=("body",))
    except Exception:  # noqa: BLE001 - whatever it is, it comes again on the long way, which has the words for it
        return None
    return None if errors else asked


def _again(message: Message, receive: Receive) -> Receive:
    """What gives `message`, and then all that comes after it."""
    pending = [message]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again
