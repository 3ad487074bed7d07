"""The door of a real deployment: nobody gets in without a key, at no server of Serve and at no number of replicas."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import openai
import pytest

from support.serving.api_keys import is_known
from support.serving.http_servers import servers_of

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

QUESTION = [{"role": "user", "content": "What is a llama?"}]
OUTSIDE = (
    "/docs",
    "/openapi.json",
    "/metrics",
    "/version",
    "/load",
    "/ping",
    "/health",
    "/tokenize",
    "/invocations",
    "/v1/load_lora_adapter",
    "/scale_elastic_ep",
    "/llama/v1/models",
    "/llama/about",
)


def asking(app, key, **more):
    with httpx.Client(base_url=f"http://127.0.0.1:{app.cluster.http_port}", timeout=120) as client:
        return client.post(
            "/v1/chat/completions",
            json={"model": app.model, "messages": QUESTION, "max_tokens": 4, **more},
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
        )


def test_at_every_server_of_serve_only_a_key_gets_an_answer(app, keys, eventually):
    good = keys.add("acme").text
    headers = {"Authorization": f"Bearer {good}"}
    body = {"model": app.model, "messages": QUESTION, "max_tokens": 4}
    ports = servers_of(app.cluster)
    # HAProxy, the proxy that wakes from zero, the replica and the board.
    assert len(ports) >= 4, ports
    generated = 0
    for port in ports:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            assert client.post("/v1/chat/completions", json=body).status_code == 401, port
            assert client.get("/v1/models").status_code == 401, port
            # Each process looks at the keys once a second.
            eventually(
                lambda port=port: is_known(f"http://127.0.0.1:{port}", good),
                seconds=60,
                what=f"the key to be known at {port}",
            )
            for path in OUTSIDE:
                assert client.get(path, headers=headers).status_code == 404, (port, path)
                assert client.post(path, json={}, headers=headers).status_code == 404, (port, path)
            generated += client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
    # All but the board, which has no engine.
    assert generated == len(ports) - 1


def test_a_refused_client_gets_the_error_that_its_library_knows(app):
    url = f"http://127.0.0.1:{app.cluster.http_port}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="llm_nobody", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="kubectl llama key create"),
    ):
        client.models.list()


def test_a_key_is_taken_at_once_and_refused_soon_after_it_was_revoked_or_has_ended(app, keys, eventually):
    key = keys.add("acme")
    ended = keys.add("acme", expires=datetime.now(UTC) - timedelta(seconds=1))
    eventually(lambda: asking(app, key.text).status_code == 200, seconds=60, what="the key to be known")
    assert asking(app, ended.text).status_code == 401

    keys.revoke(key)

    eventually(lambda: asking(app, key.text).status_code == 401, seconds=60, what="the key to be unknown")


def test_a_key_for_another_model_sees_none_here(app, keys, eventually):
    key = keys.add("acme", models=("Llama-other",))
    headers = {"Authorization": f"Bearer {key.text}"}

    def listed():
        return httpx.get(f"http://127.0.0.1:{app.cluster.http_port}/v1/models", headers=headers, timeout=60)

    answer = eventually(
        lambda: found if (found := listed()).status_code == 200 else None, seconds=60, what="the key to be known"
    )
    assert answer.json()["data"] == []


def test_headers_that_serve_or_vllm_would_obey_do_not_come_in(app):
    answer = app.cluster.post_with(
        "/v1/chat/completions",
        {"model": app.model, "messages": QUESTION, "max_tokens": 4},
        {
            "serve_multiplexed_model_id": "../../etc",
            "x-request-timeout-seconds": "0.000001",
            "X-Vllm-Priority": "-1000",
            "X-data-parallel-rank": "7",
            "x-request-id": "mine",
        },
    )

    assert answer.status_code == 200, answer.text
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
