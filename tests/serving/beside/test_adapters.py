"""LoRA adapters on real Serve and vLLM: loaded and removed while the engine runs, each for itself, each for its keys."""

import concurrent.futures
import contextlib

import httpx
import pytest

from llama_serving.contract.adapters import Adapter, AdapterFault
from llama_serving.contract.guard import GuardMode, GuardSettings
from llama_serving.contract.tenants import DeskSettings
from llama_serving.contract.usage import USAGE_FILES, UsageEvent

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

A, B, LARGE = "Llama-Acme-A", "Llama-Acme-B", "Llama-Acme-Large"
ROUNDS = 50
LOG = GuardSettings(mode=GuardMode.LOG)
"""The guard of the application (`conftest`) holds nothing then."""


@pytest.fixture
def app(deploy, equipped):
    """It runs."""
    return deploy(equipped)


@pytest.fixture
def listed(app, live, eventually):
    """Makes a list of adapters the one that replicas follow, and waits until they have."""

    def apply(**paths):
        wanted = tuple(Adapter(name=name.replace("_", "-"), path=path) for name, path in paths.items())
        app.apply(live(desk=DeskSettings(adapters=wanted, guard=LOG)))

        def followed():
            told = app.cluster.status().adapters
            keys = sorted((one.name, one.source) for one in wanted)
            return [(one.name, one.source) for one in told] == keys and all(one.loaded or one.failed for one in told)

        eventually(followed, seconds=120, what="the adapters")
        return {one.name: one for one in app.cluster.status().adapters}

    return apply


@pytest.fixture
def with_key(cluster, of_all, of_a):
    """A client, whose key may be limited to adapter A."""
    clients = contextlib.ExitStack()

    def make(*, only_a=False):
        key = of_a if only_a else of_all
        address = f"http://127.0.0.1:{cluster.http_port}"
        return clients.enter_context(
            httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key.text}"}, timeout=120)
        )

    with clients:
        yield make


def answered(client, model, prompt="Llamas are", tokens=12):
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == model
    return answer.json()["choices"][0]["text"]


def refused(client, model):
    answer = client.post("/v1/completions", json={"model": model, "prompt": "x", "max_tokens": 1})
    assert answer.status_code == 404, answer.text
    return answer.json()["error"]["message"].replace(model, "NAME")


def test_adapters_come_and_go_while_the_engine_runs(app, listed, with_key):
    client, replicas = with_key(), set(app.cluster.replicas(app.config.server_deployment))
    base = answered(client, app.model)

    told = listed(Llama_Acme_A="a", Llama_Acme_B="b")

    assert {name: (one.loaded, one.rank) for name, one in told.items()} == {A: (1, 8), B: (1, 8)}
    assert len({base, answered(client, A), answered(client, B)}) == 3
    assert answered(client, app.model) == base
    cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert set(cards) == {app.model, A, B}
    assert cards[A]["parent"] == app.model
    assert client.get(f"/v1/models/{B}").json()["parent"] == app.model
    of_b = answered(client, B)

    listed(Llama_Acme_B="b")

    assert refused(client, A) == refused(client, "no-such-model")
    assert answered(client, B) == of_b
    assert set(app.cluster.replicas(app.config.server_deployment)) == replicas


def test_a_name_gets_other_weights_and_none_of_what_was_cached_for_those_of_before(app, listed, with_key):
    client, prompt = with_key(), "All llamas of the high plains walk in a line. " * 6
    listed(Llama_Acme_A="a", Llama_Acme_B="b")
    of_a, of_b = answered(client, A, prompt), answered(client, B, prompt)

    listed(Llama_Acme_A="b")

    assert answered(client, A, prompt) == of_b != of_a


def test_what_cannot_be_loaded_says_so_and_disturbs_nothing(app, listed, with_key):
    client, replicas = with_key(), set(app.cluster.replicas(app.config.server_deployment))
    told = listed(Llama_Acme_A="a", Llama_Acme_Large="large", Llama_Acme_Gone="gone")

    assert told[LARGE].fault is AdapterFault.RANK_TOO_LARGE
    assert "rank 16" in told[LARGE].message
    assert "rank 8" in told[LARGE].message
    assert told["Llama-Acme-Gone"].fault is AdapterFault.NOT_FOUND
    assert told[A].loaded == 1
    assert refused(client, LARGE) == refused(client, "no-such-model")
    assert answered(client, A)
    # Serve says DEPLOYING until its controller has looked at the change.
    app.cluster.wait_until_running()
    assert set(app.cluster.replicas(app.config.server_deployment)) == replicas


def test_a_key_for_one_adapter_sees_nothing_of_the_other(app, listed, with_key, eventually):
    listed(Llama_Acme_A="a", Llama_Acme_B="b")
    client = with_key(only_a=True)

    assert [card["id"] for card in client.get("/v1/models").json()["data"]] == [A]
    assert client.get(f"/v1/models/{B}").status_code == 404
    assert refused(client, B) == refused(client, app.model) == refused(client, "no-such-model")
    body = {"model": A, "max_tokens": 3, "messages": [{"role": "user", "content": "x"}]}
    assert client.post("/v1/messages", json=body).json()["model"] == A
    said = client.post("/v1/responses", json={"model": A, "input": "x", "max_output_tokens": 3})
    assert said.json()["model"] == A
    answer = client.post(
        "/v1/chat/completions", json={"model": A, "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    )
    assert answer.status_code == 200, answer.text

    def booked():
        for file in app.cluster.folder.glob(f"session_latest/logs/{USAGE_FILES}"):
            for line in file.read_text().splitlines():
                event = UsageEvent.model_validate_json(line)
                if event.id == answer.headers["x-request-id"]:
                    return event
        return None

    event = eventually(booked, seconds=60, what="the line of the usage log")
    assert (event.data.model, event.data.adapter, event.subject) == (A, A, "acme")
    assert event.data.output_tokens == answer.json()["usage"]["completion_tokens"]


def test_adapters_that_take_turns_answer_the_same_each_time_while_another_decodes(app, listed, with_key):
    client = with_key()
    listed(Llama_Acme_A="a", Llama_Acme_B="b")
    wanted = {name: answered(client, name, tokens=6) for name in (A, B)}
    long = answered(client, app.model, tokens=400)

    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        decoding = pool.submit(answered, with_key(), app.model, tokens=400)
        for number in range(ROUNDS):
            name = (A, B)[number % 2]
            assert answered(client, name, tokens=6) == wanted[name], f"round {number}"
        # Removed and loaded again while the model decodes.
        listed(Llama_Acme_B="b")
        listed(Llama_Acme_A="a", Llama_Acme_B="b")
        assert answered(client, A, tokens=6) == wanted[A]
        assert decoding.result() == long


@pytest.mark.nightly
def test_a_second_replica_has_the_adapters_before_its_first_request(app, live, listed, with_key, eventually):
    client = with_key()
    listed(Llama_Acme_A="a")
    of_a = answered(client, A)
    wanted = DeskSettings(adapters=(Adapter(name=A, path="a"),), guard=LOG)
    app.apply(live(min_replicas=2, max_replicas=2, desk=wanted))
    statuses = set()

    def two():
        statuses.add(client.post("/v1/completions", json={"model": A, "prompt": "x", "max_tokens": 1}).status_code)
        return [one.loaded for one in app.cluster.status().adapters] == [2]

    eventually(two, seconds=300, what="two replicas with the adapter")
    assert {answered(client, A) for _ in range(8)} == {of_a}
    assert statuses == {200}
