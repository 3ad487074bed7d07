"""Which certificates of an API server are taken: those that Kubernetes' own clients take, on every Python."""

import datetime as dt
import ssl

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from control_plane.identities import Authority
from llama_operator.handlers.registry import login
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref, UnavailableError
from llama_operator.kube.server.client import connect

WEB = Ref(kinds.SERVICE, "team-a", "web")


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    """Contexts as Python makes them from 3.13 on."""
    made = ssl.create_default_context

    def context(*arguments, **named):
        one = made(*arguments, **named)
        one.verify_flags |= ssl.VERIFY_X509_STRICT
        return one

    monkeypatch.setattr(ssl, "create_default_context", context)


@pytest.fixture
def authority(tmp_path):
    """Makes certificates without an Authority Key Identifier."""
    return Authority(tmp_path, dt.datetime.now(dt.UTC))


@pytest.fixture
async def server(authority):
    async def answer(_):
        return web.json_response({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    pair, context = authority.server(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    running = TestServer(application, scheme="https")
    await running.start_server(ssl=context)
    yield f"https://127.0.0.1:{running.port}"
    await running.close()


async def test_a_certificate_without_a_key_identifier_is_taken(tmp_path, authority, server):
    config = authority.kubeconfig(tmp_path / "kubeconfig", authority.client("me"), server)
    async with connect(config) as cluster:
        assert (await cluster.get(WEB))["kind"] == "Service"
    context = (await login(config, None)()).as_ssl_context()
    async with aiohttp.ClientSession() as session, session.get(server, ssl=context) as answer:
        assert answer.status == 200


async def test_one_of_another_authority_is_not(tmp_path, server):
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", dt.datetime.now(dt.UTC))
    config = other.kubeconfig(tmp_path / "kubeconfig", other.client("me"), server)

    async def at_once(_):
        pass

    async with connect(config, sleep=at_once) as cluster:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await cluster.get(WEB)
    context = (await login(config, None)()).as_ssl_context()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(server, ssl=context)
