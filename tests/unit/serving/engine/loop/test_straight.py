"""Requests that go straight to their handler, and are answered as by the long way. Which of vLLM's routes do: tests/serving/frontend."""

import asyncio
import functools
import json
from http import HTTPStatus
from typing import Annotated

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from llama_serving.door.caller import AT_OWN_DOOR
from llama_serving.engine.loop import straight


class Asked(BaseModel):
    model: str
    stream: bool = False
    fails: bool = False


async def validate_json_request(raw_request: Request):
    raw_request.state.validated = True


async def other():
    return 1


def with_cancellation(function):
    """As vLLM's: a task that waits for the client."""

    @functools.wraps(function)
    async def wrapper(*arguments, **named):
        named["raw_request"].state.watched = True
        return await function(*arguments, **named)

    return wrapper


def application():
    app = FastAPI()
    app.state.seen, app.state.closed = [], 0

    @app.exception_handler(RequestValidationError)
    async def invalid(request, error):
        return JSONResponse({"error": str(error.errors()[0]["loc"])}, HTTPStatus.BAD_REQUEST)

    @app.exception_handler(KeyError)
    async def missing(request, error):
        return JSONResponse({"error": f"no {error}"}, HTTPStatus.NOT_FOUND)

    async def parts():
        try:
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0)
        finally:
            app.state.closed += 1

    @app.post("/plain", dependencies=[Depends(validate_json_request)])
    @with_cancellation
    async def plain(request: Asked, raw_request: Request):
        app.state.seen.append([hasattr(raw_request.state, "watched"), (await raw_request.body()).decode()])
        if request.fails:
            raise KeyError(request.model)
        if request.stream:
            return StreamingResponse(parts(), media_type="text/event-stream", headers={"x-own": "1"})
        return JSONResponse({"model": request.model, "path": raw_request.url.path})

    @app.post("/words")
    async def words(request: Asked, raw_request: Request):
        return {"model": request.model}

    return app


async def ask(app, body, *, path="/plain", at_own_door=True, parts=1, method="POST"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = max(1, -(-len(content) // parts))
    pieces = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    waiting = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    waiting[-1]["more_body"] = False
    answer = []

    async def receive():
        if waiting:
            return waiting.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(message):
        answer.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "query_string": b"",
        "http_version": "1.1",
    }
    scope |= {"headers": [(b"content-type", b"application/json")], "server": ("here", 80), "scheme": "http"}

    async def one():
        AT_OWN_DOOR.set(at_own_door)
        await app(scope, receive, send)

    # As in a server: each request has a task of its own.
    await asyncio.create_task(one())
    return answer


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("path", ["/plain", "/words"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"model": "m", "more": [1]},
        {"model": "m", "stream": True},
        {"model": "m", "fails": True},
        {"model": 5},
        {},
        [],
        b"",
        b"{",
        b"\xff",
    ],
)
async def test_the_answer_is_that_of_the_long_way(path, parts, body, joins):
    long, short = application(), application()
    assert straight.go_straight(short, joins=joins) == ("/plain", "/words")
    ours, theirs = await ask(short, body, path=path, parts=parts), await ask(long, body, path=path, parts=parts)
    assert ours[0] == theirs[0]
    whole = [b"".join(message["body"] for message in answer[1:]) for answer in (ours, theirs)]
    assert whole[0] == whole[1]
    assert not ours[-1].get("more_body")
    assert joins or ours == theirs
    assert short.state.closed == long.state.closed
    assert [text for _, text in short.state.seen] == [text for _, text in long.state.seen]


async def test_nobody_waits_for_the_client_but_the_server():
    app = application()
    straight.go_straight(app, joins=True)
    await ask(app, {"model": "m"})
    await ask(app, {"model": "m"}, at_own_door=False)
    assert [watched for watched, _ in app.state.seen] == [False, True]


async def test_a_stream_that_the_server_ends_is_closed():
    app = application()
    straight.go_straight(app, joins=True)
    stuck = asyncio.Event()

    async def forever():
        try:
            yield "data: 0\n\n"
            await asyncio.Event().wait()
        finally:
            app.state.closed += 1

    @app.post("/forever")
    async def endless(request: Asked, raw_request: Request):
        return StreamingResponse(forever())

    app.router.middleware_stack = app.router.app
    assert "/forever" in straight.go_straight(app, joins=True)

    async def receive():
        return {"type": "http.request", "body": b'{"model": "m"}', "more_body": False}

    async def send(message):
        if message.get("body"):
            stuck.set()

    scope = {"type": "http", "method": "POST", "path": "/forever", "root_path": "", "query_string": b"", "headers": []}

    async def one():
        AT_OWN_DOOR.set(True)
        await app(scope, receive, send)

    task = asyncio.create_task(one())
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert app.state.closed == 1


async def test_other_requests_go_on():
    app = application()
    straight.go_straight(app, joins=True)
    assert (await ask(app, b"", method="GET"))[0]["status"] == HTTPStatus.METHOD_NOT_ALLOWED
    assert (await ask(app, {}, path="/none"))[0]["status"] == HTTPStatus.NOT_FOUND


def test_a_route_that_wants_more_goes_the_long_way():
    app = FastAPI()

    @app.post("/depends", dependencies=[Depends(other)])
    async def depends(request: Asked, raw_request: Request): ...

    @app.post("/header")
    async def header(request: Asked, raw_request: Request, x: Annotated[str, Header()]): ...

    @app.post("/query")
    async def query(request: Asked, raw_request: Request, x: int = 1): ...

    @app.post("/background")
    async def background(request: Asked, raw_request: Request, later: BackgroundTasks): ...

    @app.post("/two")
    async def two(request: Asked, more: Asked, raw_request: Request): ...

    @app.post("/path/{x}")
    async def path(request: Asked, raw_request: Request, x: str): ...

    @app.post("/thread")
    def thread(request: Asked, raw_request: Request): ...

    @app.post("/alone")
    async def alone(request: Asked): ...

    @app.post("/no-body")
    async def no_body(raw_request: Request): ...

    before = app.router.middleware_stack
    assert straight.go_straight(app, joins=True) == ()
    assert app.router.middleware_stack == before


def test_an_application_whose_dependencies_are_exchanged_goes_the_long_way():
    app = application()
    app.dependency_overrides[other] = validate_json_request
    assert straight.go_straight(app, joins=True) == ()
