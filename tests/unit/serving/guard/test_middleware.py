"""What the layer in front of the engine's application does with HTTP: holds, refuses, and lets go what needs no verdict."""

import asyncio
import json

import pytest

from llama_serving.guard.middleware import GuardMiddleware
from support.serving.guards import Says, judge

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hello"}]}


class Application:
    """Answers in parts; knows whether it was cancelled."""

    def __init__(self, *parts, status=200, waits=False):
        self.parts, self.status, self.waits = parts, status, waits
        self.asked, self.cancelled = 0, False

    async def __call__(self, scope, receive, send):
        self.asked += 1
        assert (await receive())["type"] == "http.request"
        try:
            if self.waits:
                await asyncio.sleep(3600)
            await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-length", b"2")]})
            for number, part in enumerate(self.parts):
                await send({"type": "http.response.body", "body": part, "more_body": number + 1 < len(self.parts)})
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def ask(app, says, body=QUESTION, path=CHAT, **settings):
    """Ask once; returns what was sent."""

    async def run():
        sent, given = [], [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

        async def receive():
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        layer = GuardMiddleware(app, judge=judge(says, **settings), decode=str, salt_of=lambda tenant: tenant)
        await layer({"type": "http", "method": "POST", "path": path}, receive, send)
        return sent

    return asyncio.run(run())


def status_of(sent):
    (start,) = [message for message in sent if message["type"] == "http.response.start"]
    return start["status"]


def body_of(sent):
    return b"".join(message.get("body", b"") for message in sent)


def test_an_answer_waits_for_the_verdict_and_says_it():
    sent = ask(Application(b"{}"), Says())

    assert (status_of(sent), body_of(sent)) == (200, b"{}")
    assert (b"x-llama-guard", b"safe") in sent[0]["headers"]
    assert sent[0]["headers"].count((b"content-length", b"2")) == 1


def test_an_unsafe_question_stops_the_engine_before_it_answers():
    app = Application(b"{}", waits=True)
    sent = ask(app, Says(hello="S1"))

    assert (status_of(sent), app.cancelled) == (400, True)
    assert json.loads(body_of(sent))["error"]["code"] == "content_filter"


def test_a_guard_that_hangs_costs_the_deadline_and_no_more():
    says = Says()
    says.hangs = True
    app = Application(b"{}")
    sent = ask(app, says, deadline_ms=50)

    assert status_of(sent) == 503
    assert any(name == b"retry-after" for name, _ in sent[0]["headers"])


def test_an_error_of_the_engine_waits_for_nobody():
    says = Says()
    says.hangs = True
    sent = ask(Application(b'{"error": 1}', status=400), says, deadline_ms=60_000)

    assert (status_of(sent), body_of(sent)) == (400, b'{"error": 1}')
    assert not any(name == b"x-llama-guard" for name, _ in sent[0]["headers"])


@pytest.mark.parametrize(("path", "body"), [("/v1/messages/count_tokens", QUESTION), ("/v1/models", {})])
def test_what_answers_no_text_is_not_checked(path, body):
    says = Says()
    assert status_of(ask(Application(b"{}"), says, body, path)) == 200
    assert says.asked == []


def test_an_image_is_refused_where_text_is_held_and_passes_where_it_is_not():
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    body = {"messages": [{"role": "user", "content": image}]}
    app = Application(b"{}")

    sent = ask(app, Says(), body)
    assert (status_of(sent), app.asked) == (400, 0)
    assert "messages[0].content[0].image_url" in json.loads(body_of(sent))["error"]["message"]
    assert status_of(ask(app, Says(), body, mode="Annotate")) == 200


def test_what_the_application_raises_is_not_swallowed():
    async def broken(scope, receive, send):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(broken, Says())


def test_a_client_that_leaves_ends_both(caplog):
    async def run():
        says, app = Says(), Application(b"{}", waits=True)
        says.hangs = True
        given = [{"type": "http.request", "body": json.dumps(QUESTION).encode()}]

        async def receive():
            return given.pop() if given else await asyncio.sleep(3600)

        async def send(message):
            raise AssertionError(message)

        layer = GuardMiddleware(app, judge=judge(says), decode=str, salt_of=lambda tenant: tenant)
        request = asyncio.ensure_future(layer({"type": "http", "method": "POST", "path": CHAT}, receive, send))
        while not (app.asked and says.asked):  # noqa: ASYNC110 - both are plain counts
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await asyncio.sleep(0)
        return app.cancelled, [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(run()) == (True, [])
