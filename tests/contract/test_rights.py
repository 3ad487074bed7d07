"""What a server answers to somebody without rights: refused, with the right that is missing by its name."""

import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ForbiddenError, NotFoundError
from llama_operator.kube.server.client import connect

pytestmark = pytest.mark.control_plane


@pytest.fixture
async def as_token(api_server, tmp_path):
    """Gives a client that shows a token to the server of the tests."""
    stack = AsyncExitStack()

    async def make(token):
        configuration = api_server._cluster._transport._configuration
        authority = base64.b64encode(Path(configuration.ssl_ca_cert).read_bytes()).decode()  # noqa: ASYNC240
        cluster = {"server": configuration.host, "certificate-authority-data": authority}
        config = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return await stack.enter_async_context(connect(path))

    yield make
    await stack.aclose()


@pytest.fixture
async def powerless(api_server, as_token):
    """A client with the token of a service account to which no role is bound."""
    accounts = f"/api/v1/namespaces/{api_server.namespace}/serviceaccounts"
    await api_server.ask("POST", accounts, {"metadata": {"name": "powerless"}})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await api_server.ask("POST", f"{accounts}/powerless/token", body)
    return await as_token(answer["status"]["token"])


@pytest.fixture
def objects(api_server, builders):
    return builders(api_server.namespace)


async def test_a_missing_right_is_named_by_verb_and_resource(powerless, objects):
    with pytest.raises(ForbiddenError, match=r"verb `patch` on `llamadeployments` in API group llama-operator\.io"):
        await powerless.apply(objects.llama())
    with pytest.raises(ForbiddenError, match=r"verb `patch` on `llamadeployments/status`"):
        await powerless.apply_status(objects.llama(status={"replicas": 1}))
    with pytest.raises(ForbiddenError, match=r"verb `list` on `nodes` in the core API group"):
        await powerless.list(kinds.NODE)
    with pytest.raises(ForbiddenError, match=r"verb `watch` on `services`"):
        await anext(powerless.watch(kinds.SERVICE, since="1"))


async def test_a_token_that_is_none_is_refused_and_not_repeated_in_the_message(as_token, objects):
    stranger = await as_token("not-a-token-of-this-cluster")
    with pytest.raises(ForbiddenError, match="does not accept the credentials") as refused:
        await stranger.get(objects.chat)
    assert "not-a-token" not in str(refused.value)


async def test_a_namespace_that_does_not_exist_is_named(api_server, builders):
    with pytest.raises(NotFoundError, match='namespaces "nowhere-at-all" not found'):
        await api_server.client("llama-operator").apply(builders("nowhere-at-all").llama())
