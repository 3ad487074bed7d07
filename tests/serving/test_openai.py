"""What an unmodified OpenAI client gets from the deployed application."""

import asyncio

import httpx
import openai
import pytest

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

QUESTION = [{"role": "user", "content": "What is a llama?"}]


@pytest.fixture
def client(app):
    with app.cluster.client() as found:
        yield found


def test_the_list_of_models_names_the_deployed_one(app, client):
    assert [model.id for model in client.models.list()] == [app.model]
    assert client.models.retrieve(app.model).id == app.model


def test_a_chat_is_answered_with_as_many_tokens_as_were_asked_for(app, client):
    answer = client.chat.completions.create(
        model=app.model, messages=QUESTION, max_tokens=12, extra_body={"ignore_eos": True}
    )

    assert answer.model == app.model
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 12
    assert answer.choices[0].message.content


def test_a_streamed_chat_adds_up_to_the_answer_that_is_not_streamed(app, client):
    whole = client.chat.completions.create(model=app.model, messages=QUESTION, max_tokens=24, temperature=0)
    chunks = list(
        client.chat.completions.create(model=app.model, messages=QUESTION, max_tokens=24, temperature=0, stream=True)
    )

    assert len(chunks) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_completion_without_randomness_is_the_same_twice(app):
    assert app.greedy("Once upon a time", tokens=16) == app.greedy("Once upon a time", tokens=16)


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        client.chat.completions.create(model="no-such-model", messages=QUESTION)


def test_a_request_longer_than_the_context_is_refused_with_the_limit(app, client):
    limit = app.config.engine.max_model_len
    with pytest.raises(openai.BadRequestError, match=str(limit)):
        client.completions.create(model=app.model, prompt="a" * (limit + 1), max_tokens=1)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"model": "tiny-random-llama", "messages": "not a list"}', "messages"),
        (b"{ this is not JSON", "JSON"),
    ],
)
def test_a_malformed_body_is_refused_with_a_message_that_names_the_problem(app, body, named):
    response = app.cluster.post("/v1/chat/completions", body)

    assert response.status_code in {400, 422}
    assert named in response.text


async def test_fifty_parallel_requests_all_get_their_answer(app):
    async with app.cluster.async_client() as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model=app.model,
                    messages=[{"role": "user", "content": f"Count to {number}."}],
                    max_tokens=8,
                    extra_body={"ignore_eos": True},
                )
                for number in range(50)
            )
        )

    assert [answer.usage.completion_tokens for answer in answers] == [8] * 50


def test_the_generated_model_has_no_license_and_so_no_line_and_no_header(app):
    listed = app.cluster.get("/v1/models")

    assert listed.status_code == httpx.codes.OK
    assert not [name for name in listed.headers if name.startswith("x-llama")]
    assert "license" not in listed.json()["data"][0]["metadata"]
    assert 'class="attribution"' not in app.cluster.get("/about").text


def test_the_texts_of_the_generated_model_are_said_to_be_none(app, eventually):
    def said():
        return app.cluster.get(f"/licenses/{app.model}").json()["error"]["message"]

    # An ingress that has just begun answers 503 until an engine has told it.
    eventually(lambda: "without license files" in said(), seconds=120, what="the ingress knows of no texts")
