"""What Ray Serve is given for its HTTP servers."""

import importlib
import subprocess
import sys

import pytest

from llama_serving.contract.door import DOOR_CALLBACK, DOOR_VARIABLE, DoorSettings
from llama_serving.door import installed
from llama_serving.door.application import Closed
from support.serving.doors import FIRST, SECOND, scope_of, write


@pytest.fixture(autouse=True)
def proxy(monkeypatch):
    installed._door.cache_clear()
    monkeypatch.setattr(installed, "chooses_an_application", lambda: True)
    yield
    installed._door.cache_clear()


@pytest.fixture
def replica(monkeypatch, proxy):
    monkeypatch.setattr(installed, "chooses_an_application", lambda: False)


def called():
    """As Serve calls it."""
    module, _, name = DOOR_CALLBACK.partition(":")
    return getattr(importlib.import_module(module), name)()


def servers_app():
    async def app(scope, receive, send):
        body = f"{scope['path']} {scope.get('llama.tenant')}".encode()
        headers = [(b"X-Request-ID", dict(scope["headers"])[b"x-request-id"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    (middleware,) = called()
    return middleware.cls(app, *middleware.args, **middleware.kwargs)


async def get(app, path, **headers):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    await app(scope_of("GET", path, headers.items()), receive, send)
    return sent[0]["status"], sent[1]["body"].decode(), sent[0]["headers"]


def test_pods_of_older_revisions_have_no_door(monkeypatch):
    monkeypatch.delenv(DOOR_VARIABLE, raising=False)
    assert called() == []


async def test_each_request_has_an_id_of_its_own(monkeypatch):
    monkeypatch.setenv(DOOR_VARIABLE, DoorSettings(access="Open").model_dump_json())
    app = servers_app()
    answers = [await get(app, "/about", **{"x-request-id": "of the client"}) for _ in range(2)]
    ids = [[value for name, value in headers if name.lower() == b"x-request-id"] for _, _, headers in answers]
    assert [len(values) for values in ids] == [1, 1]
    assert len({*ids[0], *ids[1], b"of the client"}) == 3


AS_SERVE_DOES = """
import sys
from ray.serve import context
from ray.serve._private.http_util import RequestIdMiddleware, _apply_middlewares, configure_http_middlewares
from ray.serve.config import HTTPOptions
from llama_serving.door.application import Door
from llama_serving.door.installed import chooses_an_application

app = _apply_middlewares(None, configure_http_middlewares(HTTPOptions()).middlewares)
assert isinstance(app, Door) and isinstance(app._app, RequestIdMiddleware), "the door stands in front of all that is Serve's"
assert app._to_board == chooses_an_application() == (sys.argv[1] == "Direct")
context._set_internal_replica_context(
    replica_id=None, servable_object=None, _deployment_config=None, rank=None, world_size=1
)
assert not chooses_an_application()
"""


@pytest.mark.parametrize("path", ["Direct", "Ingress"])
def test_serve_puts_the_door_in_front_of_its_own_layers(tmp_path, path):
    environment = {
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": DOOR_CALLBACK,
        DOOR_VARIABLE: DoorSettings(access="Open").model_dump_json(),
        "RAY_SERVE_ENABLE_HA_PROXY": str(int(path == "Direct")),
    }
    command = [sys.executable, "-W", "ignore", "-c", AS_SERVE_DOES, path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_proxy_sends_to_the_board_what_needs_no_engine(monkeypatch):
    monkeypatch.setenv(DOOR_VARIABLE, DoorSettings(access="Open").model_dump_json())
    assert (await get(servers_app(), "/v1/models"))[1] == "/llama/v1/models anonymous"


async def test_a_replica_answers_it_itself(monkeypatch, replica):
    monkeypatch.setenv(DOOR_VARIABLE, DoorSettings(access="Open").model_dump_json())
    assert (await get(servers_app(), "/v1/models"))[1] == "/v1/models anonymous"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "{}",
        '{"acces": "Keys"}',
        '{"access": "Keys"}',
        '{"access": "keys", "keys_folder": "/k"}',
    ],
)
async def test_settings_that_cannot_be_read_close_the_door(monkeypatch, caplog, text):
    monkeypatch.setenv(DOOR_VARIABLE, text)
    app = servers_app()
    assert isinstance(app, Closed)
    assert [(await get(app, path))[0] for path in ("/about", "/-/healthz", "/metrics")] == [503] * 3


async def test_keys_are_read_from_the_folder(monkeypatch, tmp_path, replica):
    write(tmp_path / "keys", FIRST)
    settings = DoorSettings(access="Keys", keys_folder=str(tmp_path / "keys"))
    monkeypatch.setenv(DOOR_VARIABLE, settings.model_dump_json())
    first, again = called(), called()
    assert first[0] is again[0], "one table of keys for all ports that Serve tries"
    app = servers_app()
    try:
        assert (await get(app, "/v1/models", **{"x-api-key": FIRST.text}))[:2] == (200, "/v1/models team-a")
        assert (await get(app, "/v1/models", **{"x-api-key": SECOND.text}))[0] == 401
    finally:
        first[0].kwargs["keys"].stop()
