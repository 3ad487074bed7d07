"""Two thousand requests, good and bad, while replicas come and go: none is lost, none is served without a key, all are booked.

Nightly: it takes two minutes. Beside it stands what starts an engine of its own: a deployment whose ledger is in a real Valkey server.
"""

import asyncio
import contextlib
import itertools
import json

import httpx
import pytest

from llama_serving.contract.tenants import DeskSettings, StoreSettings, TenantLimits
from llama_serving.contract.usage import USAGE_FILES, UsageEvent
from support.serving.api_keys import is_known
from support.valkey_server import PASSWORD, server

pytestmark = [pytest.mark.serving, pytest.mark.nightly, pytest.mark.timeout(1800)]

REQUESTS = 2000
CLIENTS = 40
QUESTION = [{"role": "user", "content": "What is a llama?"}]
KINDS = ("whole", "whole", "stream", "whole", "cut", "two prompts", "bad body", "revoked", "no key", "messages")


class Campaign:
    """Sends requests of all kinds, and keeps what came of them."""

    def __init__(self, url, model, good, revoked):
        self.url, self.model = url, model
        self.headers = {
            "revoked": {"Authorization": f"Bearer {revoked}"},
            "no key": {},
        }
        self.good = {"Authorization": f"Bearer {good}"}
        self.number = itertools.count()
        self.statuses = {kind: [] for kind in KINDS}
        self.said = {}
        """Prompt and output tokens by request id, of whole answers."""
        self.cut = {}
        """Events that were seen, by request id, of streams that were cut."""

    async def run(self, stop):
        """Send from many clients, until `stop` says so."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=self.url, timeout=300, limits=limits) as client:

            async def loop():
                while not stop(number := next(self.number)):
                    await self.one(client, KINDS[number % len(KINDS)], number)

            await asyncio.gather(*(loop() for _ in range(CLIENTS)))

    async def one(self, client, kind, number):
        """Send one request."""
        headers = self.headers.get(kind, self.good)
        if kind in {"stream", "cut"}:
            await self.streamed(client, kind, number)
            return
        path, body = self.asked(kind, number)
        answer = await client.post(path, content=body, headers={**headers, "content-type": "application/json"})
        self.statuses[kind].append(answer.status_code)
        if answer.status_code == 200:
            usage = answer.json()["usage"]
            names = ("input_tokens", "output_tokens") if kind == "messages" else ("prompt_tokens", "completion_tokens")
            self.said[answer.headers["x-request-id"]] = tuple(usage[name] for name in names)

    def asked(self, kind, number):
        """Path and body of a request that is not streamed."""
        if kind == "bad body":
            return "/v1/chat/completions", (b'{"model": ', b"[]", b'{"messages": 1}', b"\xff")[number // 10 % 4]
        body = {"model": self.model, "max_tokens": 8 + number % 40}
        if kind == "two prompts":
            return "/v1/completions", json.dumps(body | {"prompt": ["one", f"two {number}"]})
        path = "/v1/messages" if kind == "messages" else "/v1/chat/completions"
        return path, json.dumps(body | {"messages": QUESTION})

    async def streamed(self, client, kind, number):
        """Read a stream, to its end or not."""
        body = {
            "model": self.model,
            "prompt": f"llama {number}",
            "max_tokens": 60,
            "stream": True,
            "ignore_eos": True,
            "stream_options": {"include_usage": True},
        }
        events, last = 0, None
        async with client.stream("POST", "/v1/completions", json=body, headers=self.good) as answer:
            self.statuses[kind].append(answer.status_code)
            request_id = answer.headers["x-request-id"]
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    events, last = events + 1, json.loads(line[6:])
                if kind == "cut" and events == 1 + number % 30:
                    self.cut[request_id] = events
                    return
        usage = last["usage"]
        self.said[request_id] = usage["prompt_tokens"], usage["completion_tokens"]


def lines_of(app):
    lines = {}
    for file in app.cluster.folder.glob(f"session_latest/logs/{USAGE_FILES}"):
        for line in file.read_text().splitlines():
            event = UsageEvent.model_validate_json(line)
            assert event.id not in lines, "a request was booked twice"
            lines[event.id] = event
    return lines


def test_none_of_two_thousand_is_lost_or_served_without_a_key_and_all_are_booked(app, keys, live, eventually):
    good, revoked = keys.add("campaign"), keys.add("campaign")
    url = f"http://127.0.0.1:{app.cluster.http_port}"
    eventually(lambda: is_known(url, good.text), seconds=60, what="the key to be known")
    keys.revoke(revoked)
    eventually(lambda: not is_known(url, revoked.text, to_all=False), seconds=60, what="the key to be unknown to all")
    campaign = Campaign(url, app.model, good.text, revoked.text)
    most = 0

    def enough(number):
        nonlocal most
        if number % 50 == 0:
            most = max(most, app.cluster.status().replicas)
        return number >= REQUESTS and (most > 1 or number >= 20 * REQUESTS)

    app.apply(live(max_replicas=2, downscale_delay_seconds=3))
    asyncio.run(campaign.run(enough))
    assert most == 2
    app.apply(live(max_replicas=1))
    end = next(campaign.number) + REQUESTS // 4
    asyncio.run(campaign.run(lambda number: number >= end and app.cluster.status().replicas == 1))

    for kind in ("whole", "stream", "cut", "two prompts", "messages"):
        assert set(campaign.statuses[kind]) == {200}, kind
    assert set(campaign.statuses["bad body"]) == {400}
    assert set(campaign.statuses["revoked"]) == set(campaign.statuses["no key"]) == {401}
    eventually(
        lambda: campaign.said.keys() | campaign.cut.keys() <= lines_of(app).keys(),
        seconds=60,
        what="all lines to be written",
    )
    lines = lines_of(app)
    wrong = {
        request_id: (said, line.prompt_tokens, line.output_tokens)
        for request_id, said in campaign.said.items()
        if said != ((line := lines[request_id].data).prompt_tokens, line.output_tokens)
    }
    assert wrong == {}
    for request_id, events in campaign.cut.items():
        # An event may carry several tokens, and the engine may be some ahead of what was read.
        assert events - 1 <= lines[request_id].data.output_tokens <= 60
    print(sum(map(len, campaign.statuses.values())), "requests,", len(campaign.cut), "cut")
    app.apply(live())
    app.cluster.wait_until_running()


def test_limits_hold_over_a_server_and_budgets_are_refused_without_it(
    cluster, deploy, config, keys, live, eventually, tmp_path
):
    (tmp_path / "password").write_text(PASSWORD)
    body = {"prompt": "llama", "max_tokens": 4, "ignore_eos": True}
    limits = (
        TenantLimits(name="three", requests_per_minute=3),
        TenantLimits(name="spender", tokens_per_day=1_000_000),
    )
    with server(tmp_path) as store, contextlib.ExitStack() as clients:
        settings = StoreSettings(address=store.address, scope="team-a", folder=str(tmp_path))
        app = deploy(config().model_copy(update={"store": settings}))
        app.apply(live(desk=DeskSettings(tenants=limits)))

        def asking(tenant):
            url, key = f"http://127.0.0.1:{cluster.http_port}", keys.add(tenant).text
            headers = {"Authorization": f"Bearer {key}"}
            client = clients.enter_context(httpx.Client(base_url=url, headers=headers, timeout=60))
            eventually(lambda: is_known(url, key), seconds=60, what="the key to be known")
            return lambda: client.post("/v1/completions", json=body | {"model": app.model})

        three, spender = asking("three"), asking("spender")
        eventually(lambda: three().status_code == 429, seconds=120, what="the limit to hold")
        eventually(lambda: spender().status_code == 200, seconds=60, what="the ledger to lend of a budget")
        found = {key.decode() for key in store.client.scan_iter()}
        assert {f"llama-ledger:{{team-a}}:tenant:{name}" for name in ("three", "spender")} <= found

        store.stop()
        refused = eventually(
            lambda: answer if (answer := spender()).status_code == 503 else None,
            seconds=60,
            what="the last lease to end",
        )
        assert refused.json()["error"]["code"] == "limits_unavailable"
        store.start()
        eventually(lambda: spender().status_code == 200, seconds=60, what="the ledger to lend again")
