"""What a server answers to a user without rights: it refuses, and names the missing right."""

import base64
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ForbiddenError, NotFoundError, Right
from llama_operator.kube.server.client import connect
from support.rights import WithoutRights


@pytest.fixture
async def as_token(tmp_path):
    """Gives a client that shows a token to a server of the tests."""
    stack = AsyncExitStack()

    async def make(server, token):
        configuration = server._cluster._transport._configuration
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
async def powerless(backend, as_token, ours):
    """A client of a user to whom no role is bound, and that user's name."""
    if not hasattr(backend, "ask"):
        return WithoutRights(ours, user="powerless"), "powerless"
    accounts = f"/api/v1/namespaces/{backend.namespace}/serviceaccounts"
    await backend.ask("POST", accounts, {"metadata": {"name": "powerless"}})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await backend.ask("POST", f"{accounts}/powerless/token", body)
    client = await as_token(backend, answer["status"]["token"])
    return client, f"system:serviceaccount:{backend.namespace}:powerless"


async def test_a_missing_right_is_named_by_its_fields(powerless, objects):
    client, user = powerless
    ours, place = "llama-operator.io", objects.namespace
    services = Right(user, "watch", "services", "")
    for request, missing in (
        (client.get(objects.chat), Right(user, "get", "llamadeployments", ours, "", place, "chat")),
        (
            client.list(kinds.LLAMA_DEPLOYMENT, namespace=place),
            Right(user, "list", "llamadeployments", ours, "", place),
        ),
        (client.list(kinds.NODE), Right(user, "list", "nodes", "")),
        (client.apply(objects.llama()), Right(user, "patch", "llamadeployments", ours, "", place, "chat")),
        (
            client.apply_status(objects.llama(status={"replicas": 1})),
            Right(user, "patch", "llamadeployments", ours, "status", place, "chat"),
        ),
        (client.patch(objects.chat, []), Right(user, "patch", "llamadeployments", ours, "", place, "chat")),
        (client.delete(objects.chat), Right(user, "delete", "llamadeployments", ours, "", place, "chat")),
        (client.log(objects.ref(kinds.POD, "writer"), lines=5), Right(user, "get", "pods", "", "log", place, "writer")),
        (
            client.ask(objects.ref(kinds.SERVICE, "chat"), port=8000, path="/llama/status"),
            Right(user, "get", "services", "", "proxy", place, "chat:8000"),
        ),
        (anext(client.watch(kinds.SERVICE, since="1")), services),
        (anext(client.watch(kinds.SERVICE, since="1", namespace=place)), replace(services, namespace=place)),
    ):
        with pytest.raises(ForbiddenError) as refused:
            await request
        assert refused.value.missing == missing


async def test_a_missing_right_is_named_in_the_message(powerless, objects):
    client, _ = powerless
    with pytest.raises(ForbiddenError, match=r"verb `patch` on `llamadeployments` in API group llama-operator\.io"):
        await client.apply(objects.llama())
    with pytest.raises(ForbiddenError, match=r"verb `patch` on `llamadeployments/status`"):
        await client.apply_status(objects.llama(status={"replicas": 1}))
    with pytest.raises(ForbiddenError, match=r"verb `list` on `nodes` in the core API group"):
        await client.list(kinds.NODE)
    with pytest.raises(ForbiddenError, match=r"verb `watch` on `services`"):
        await anext(client.watch(kinds.SERVICE, since="1"))


@pytest.mark.control_plane
async def test_a_token_that_is_none_is_refused_and_not_repeated_in_the_message(as_token, api_server, builders):
    objects = builders(api_server.namespace)
    stranger = await as_token(api_server, "not-a-token-of-this-cluster")
    with pytest.raises(ForbiddenError, match="does not accept the credentials") as refused:
        await stranger.get(objects.chat)
    assert "not-a-token" not in str(refused.value)
    assert refused.value.missing is None


@pytest.mark.control_plane
async def test_a_namespace_that_does_not_exist_is_named(api_server, builders):
    with pytest.raises(NotFoundError, match='namespaces "nowhere-at-all" not found'):
        await api_server.client("llama-operator").apply(builders("nowhere-at-all").llama())
