"""A deployment that nobody asks goes to zero, and the first request with a key brings it back with its adapter."""

import httpx
import pytest

from llama_serving.contract.adapters import Adapter
from llama_serving.contract.guard import GuardMode, GuardSettings
from llama_serving.contract.tenants import DeskSettings

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

A = "Llama-Acme-A"
SETTINGS = DeskSettings(adapters=(Adapter(name=A, path="a"),), guard=GuardSettings(mode=GuardMode.LOG))
TRACE, CLIENT = "5" * 32, "5" * 16


@pytest.fixture(scope="module")
def empty(deploy, equipped, eventually):
    """It has no replica, and that of before reports no more."""
    app = deploy(equipped, min_replicas=0, downscale_delay_seconds=1, desk=SETTINGS)
    eventually(lambda: not app.cluster.replicas(equipped.server_deployment), seconds=300, what="no replica")
    eventually(lambda: app.cluster.status().reports == (), seconds=300, what="no report")
    return app


@pytest.fixture(scope="module")
def asked(empty, of_a):
    """Asks it for a completion of adapter A, with the key for A only if no other is told, in a trace of its own."""

    def ask(authorization=f"Bearer {of_a.text}"):
        body = {"model": A, "prompt": "Llamas are", "max_tokens": 12, "temperature": 0, "ignore_eos": True}
        headers = {"Authorization": authorization, "traceparent": f"00-{TRACE}-{CLIENT}-01"}
        return empty.cluster.post_with("/v1/completions", body, headers)

    return ask


@pytest.fixture(scope="module")
def first_answer(asked):
    """The answer to the request that starts the engine."""
    answer = asked()
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_nothing_starts_for_those_who_only_look_or_have_no_key(empty, asked, of_a):
    status = empty.cluster.status()
    assert (status.replicas, status.target_replicas, status.queue_depth, status.running_requests) == (0, 0, 0, 0)
    assert status.kv_cache_tokens is None
    assert asked("Bearer llm_nobody").status_code == 401
    for path in ("/about", "/licenses", "/llama/about"):
        empty.cluster.get(path)
    address = f"http://127.0.0.1:{empty.cluster.http_port}/v1/models"
    for _ in range(2):
        listed = httpx.get(address, headers={"Authorization": f"Bearer {of_a.text}"}, timeout=120)
        assert [card["id"] for card in listed.json()["data"]] == [A], listed.text
    assert empty.cluster.status().target_replicas == 0


def test_the_first_request_starts_an_engine_that_has_its_adapter(empty, first_answer, eventually):
    assert first_answer["usage"]["completion_tokens"] == 12
    told = eventually(lambda: empty.cluster.status().adapters, seconds=60, what="a report")
    assert [one.loaded for one in told] == [1]
    assert first_answer["choices"][0]["text"] != empty.greedy("Llamas are", tokens=12)


def test_the_policy_was_asked_and_not_serve_by_itself(empty, first_answer, eventually):
    def woken():
        told = empty.cluster.status().scaling
        return next((one for one in told.changes if one.before == 0), None) if told is not None else None

    woke = eventually(woken, seconds=60, what="the change from zero")
    assert woke.reason.startswith("up: requests wait and there is no replica")


def test_door_and_desk_are_two_processes_then_and_one_trace(first_answer, collector, eventually):
    # It came in at Serve's proxy, and the engine began after it.
    def counted():
        return {span.name: span for span in collector.spans(TRACE)}.get(f"text_completion {A}")

    span = eventually(counted, seconds=60, what="the span of the desk")
    assert span.attributes["gen_ai.usage.output_tokens"] == first_answer["usage"]["completion_tokens"]
    spans = collector.spans(TRACE)
    above, way = {one.id: one.parent for one in spans}, [span.id]
    while way[-1] in above:
        way.append(above[way[-1]])
    assert way[-1] == CLIENT
    assert "text_completion" in {one.name for one in spans if one.id in way}
