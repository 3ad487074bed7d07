"""The client against a server that misbehaves: full, slow, silent, forgetful, or without our credentials.

A small HTTP server answers as it is told, which no real API server does on request.
"""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llama_operator.kube import kinds
from llama_operator.kube.port import (
    EventType,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    JsonPatch,
    Ref,
    UnavailableError,
)
from llama_operator.kube.server.client import connect
from llama_operator.kube.server.credentials import CredentialsError

WEB = Ref(kinds.SERVICE, "team-a", "web")
TOKEN = "s3cr3t-token"


def service(version=1):
    metadata = {"name": "web", "namespace": "team-a", "uid": "u1", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


def failure(status, message="no", **headers):
    return web.json_response({"kind": "Status", "message": message}, status=status, headers=headers)


class Scripted:
    """Answers the requests that come, one after another, with what was put into `script`."""

    def __init__(self):
        self.script = []
        self.requests = []

    async def handle(self, request):
        self.requests.append(request)
        await request.read()
        answer = self.script.pop(0)
        return await answer(request) if callable(answer) else answer


def lines(*events, then=None):
    """A watch that tells `events`, and then ends or does what `then` says."""

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        if then:
            await then(response)
        return response

    return answer


async def silence(response):
    await asyncio.sleep(30)


def event(kind, version):
    return {"type": kind, "object": service(version)}


@pytest.fixture
async def scripted():
    found = Scripted()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    server = TestServer(application)
    await server.start_server(shutdown_timeout=0)
    found.url = str(server.make_url("")).rstrip("/")
    yield found
    await server.close()


@pytest.fixture
def kubeconfig(scripted, tmp_path):
    def write(token=TOKEN):
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": scripted.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}},
                {"name": "there", "context": {"cluster": "c", "user": "u"}},
            ],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    return write


@pytest.fixture
async def cluster(kubeconfig):
    async with connect(kubeconfig(), silence=0.3, sleep=at_once) as found:
        yield found


async def at_once(_):
    """No test waits for a back-off."""
    await asyncio.sleep(0)


async def take(stream, count):
    async with asyncio.timeout(10):
        return [await anext(stream) for _ in range(count)]


async def test_a_server_that_is_busy_is_asked_again(scripted, cluster):
    scripted.script += [failure(429, **{"Retry-After": "0"}), failure(503), web.json_response(service())]
    assert (await cluster.get(WEB))["metadata"]["name"] == "web"


async def test_of_a_container_that_is_being_made_nobody_can_tell_the_log(scripted, cluster):
    words = 'container "weights" in pod "copies-x" is waiting to start: ContainerCreating'
    scripted.script += [failure(400, words), web.Response(text="one\n")]
    pod = Ref(kinds.POD, "team-a", "copies-x")
    with pytest.raises(UnavailableError, match="waiting to start"):
        await cluster.log(pod, lines=5, container="weights")
    assert await cluster.log(pod, lines=5, container="weights") == "one\n"
    assert [request.query["container"] for request in scripted.requests] == ["weights", "weights"]


async def test_a_server_that_stays_busy_is_not_asked_for_ever(scripted, cluster):
    scripted.script += [failure(429, "too many requests", **{"Retry-After": "0"}) for _ in range(5)]
    with pytest.raises(UnavailableError, match="too many requests"):
        await cluster.get(WEB)
    assert scripted.script == []


async def test_a_server_that_wants_a_long_rest_gets_it_from_the_caller(scripted, cluster):
    scripted.script += [failure(503, **{"Retry-After": "3600"})]
    with pytest.raises(UnavailableError):
        await cluster.get(WEB)


async def test_a_patch_is_not_repeated_when_it_may_have_been_done(scripted, cluster):
    scripted.script += [failure(500)]
    with pytest.raises(UnavailableError):
        await cluster.patch(WEB, [JsonPatch("add", "/spec/ports/-", {})])
    assert len(scripted.requests) == 1


async def test_what_is_refused_for_good_is_asked_once(scripted, cluster):
    scripted.script += [failure(422, "spec.type: bad")]
    with pytest.raises(InvalidError, match=r"spec\.type"):
        await cluster.apply(service())
    assert len(scripted.requests) == 1


async def test_a_race_that_an_apply_lost_is_run_again(scripted, cluster):
    scripted.script += [failure(409, "already exists"), web.json_response(service())]
    obj = {**service(), "metadata": {"name": "web", "namespace": "team-a"}}
    assert await cluster.apply(obj)


async def test_credentials_that_changed_in_the_file_are_taken_up(scripted, cluster, kubeconfig):
    kubeconfig("renewed")
    scripted.script += [failure(401), web.json_response(service())]
    await cluster.get(WEB)
    assert [request.headers["Authorization"] for request in scripted.requests] == [
        f"Bearer {TOKEN}",
        "Bearer renewed",
    ]


async def test_no_message_holds_the_token(scripted, cluster):
    scripted.script += [failure(401), failure(401)]
    with pytest.raises(ForbiddenError) as refused:
        await cluster.get(WEB)
    assert TOKEN not in str(refused.value)


async def test_a_server_that_is_not_there_is_named(tmp_path, kubeconfig, scripted):
    scripted.url = "http://127.0.0.1:9"
    async with connect(kubeconfig(), sleep=at_once) as cluster:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
            await cluster.patch(WEB, [])


async def test_a_watch_goes_on_where_it_broke(scripted, cluster):
    async def hang_up(response):
        response._req.transport.abort()

    scripted.script += [
        lines(event("ADDED", 5), then=hang_up),
        lines(event("MODIFIED", 7)),
        lines(event("DELETED", 9), then=silence),
    ]
    stream = cluster.watch(kinds.SERVICE, since="3")
    events = await take(stream, 3)
    await stream.aclose()
    assert [found.type for found in events] == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]
    assert [request.query["resourceVersion"] for request in scripted.requests] == ["3", "5", "7"]


async def test_a_bookmark_moves_the_place_from_which_it_goes_on(scripted, cluster):
    scripted.script += [lines(event("BOOKMARK", 50)), lines(event("ADDED", 60), then=silence)]
    stream = cluster.watch(kinds.SERVICE, since="3")
    (found,) = await take(stream, 1)
    await stream.aclose()
    assert found.object["metadata"]["resourceVersion"] == "60"
    assert scripted.requests[1].query["resourceVersion"] == "50"


async def test_a_watch_that_falls_silent_is_opened_again(scripted, cluster):
    scripted.script += [lines(event("ADDED", 5), then=silence), lines(event("MODIFIED", 6), then=silence)]
    stream = cluster.watch(kinds.SERVICE, since="3")
    assert [found.type for found in await take(stream, 2)] == [EventType.ADDED, EventType.MODIFIED]
    await stream.aclose()


async def test_an_outage_is_waited_for(scripted, cluster):
    scripted.script += [failure(503), failure(500), lines(event("ADDED", 5), then=silence)]
    stream = cluster.watch(kinds.SERVICE, since="3")
    assert (await take(stream, 1))[0].type is EventType.ADDED
    await stream.aclose()


@pytest.mark.parametrize("inside", [True, False])
async def test_a_version_that_is_forgotten_is_expired(scripted, cluster, inside):
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    scripted.script += [lines(gone) if inside else failure(410, "too old resource version")]
    with pytest.raises(ExpiredError, match="too old"):
        await take(cluster.watch(kinds.SERVICE, since="3"), 1)


async def test_a_watch_that_is_refused_ends(scripted, cluster):
    scripted.script += [failure(403, "forbidden")]
    with pytest.raises(ForbiddenError):
        await take(cluster.watch(kinds.SERVICE, since="3"), 1)


async def test_an_event_larger_than_any_buffer_is_read(scripted, cluster):
    large = event("ADDED", 5)
    large["object"]["data"] = "x" * (3 << 20)
    scripted.script += [lines(large, then=silence)]
    stream = cluster.watch(kinds.SERVICE, since="3")
    (found,) = await take(stream, 1)
    await stream.aclose()
    assert len(found.object["data"]) == 3 << 20


async def test_a_list_whose_pages_expire_is_made_in_one_piece(scripted, cluster):
    page = {"metadata": {"resourceVersion": "9", "continue": "token"}, "items": [service()]}
    whole = {"metadata": {"resourceVersion": "10"}, "items": [service(), service(2)]}
    scripted.script += [web.json_response(page), failure(410), web.json_response(whole)]
    listing = await cluster.list(kinds.SERVICE)
    assert (len(listing.items), listing.resource_version) == (2, "10")
    assert "limit" not in scripted.requests[2].query


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
async def test_a_name_that_would_lead_elsewhere_is_not_sent(scripted, cluster, name):
    with pytest.raises(InvalidError, match=r"metadata\.name"):
        await cluster.get(Ref(kinds.SERVICE, "team-a", name))
    assert scripted.requests == []


async def test_the_namespace_of_the_context_is_known(kubeconfig, cluster):
    assert cluster.namespace == "team-a"
    async with connect(kubeconfig(), "there") as other:
        assert other.namespace == "default"


async def test_a_context_that_does_not_exist_is_named(kubeconfig):
    with pytest.raises(CredentialsError, match="nowhere"):
        async with connect(kubeconfig(), "nowhere"):
            pass


async def test_a_kubeconfig_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(CredentialsError, match="missing"):
        async with connect(tmp_path / "missing"):
            pass


STATUS = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "status": {"replicas": 1, "newer": 2}}
UNTYPED = "failed to create typed patch object (team-a/chat; ...): .status.newer: field not declared in schema"


async def test_a_status_that_an_older_definition_does_not_have_is_written_without_that(scripted, cluster):
    """An apply must fit the definition; what is written then is all that it has, and nothing that is not wanted any more."""
    obj = STATUS | {"metadata": {"name": "chat", "namespace": "team-a"}}
    pruned = obj | {"status": {"replicas": 1, "queueDepth": 7}}
    scripted.script = [
        failure(500, UNTYPED),
        web.json_response(pruned),
        web.json_response(obj | {"status": {"replicas": 1}}),
    ]
    live = await cluster.apply_status(obj)
    assert live["status"] == {"replicas": 1}
    assert [request.content_type for request in scripted.requests] == [
        "application/apply-patch+yaml",
        "application/merge-patch+json",
        "application/merge-patch+json",
    ]
    assert {request.path.rpartition("/")[2] for request in scripted.requests} == {"status"}


async def test_a_status_that_is_wrong_is_told_in_the_words_of_the_apply(scripted, cluster):
    scripted.script = [failure(422, "status.replicas: must be positive"), failure(422, "in other words")]
    with pytest.raises(InvalidError, match="must be positive"):
        await cluster.apply_status(STATUS | {"metadata": {"name": "chat", "namespace": "team-a"}})
