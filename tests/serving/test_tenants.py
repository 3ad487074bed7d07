"""Two tenants of one endpoint, over every route and method that it has or could have: neither sees, times or spends the other's.

The routes are those of the door's list and of vLLM's sources (`support.serving.census`), so a route that a new version brings is asked too.
`make test` asks them through HAProxy; the nightly run at every server of Serve, and with every kind of request.
"""

import concurrent.futures
import contextlib
import itertools
import json

import httpx
import pytest

from llama_serving.contract.tenants import DeskSettings, TenantLimits
from llama_serving.contract.usage import USAGE_FILES, UsageEvent
from llama_serving.door.routes import BELOW, EXACT
from support.serving.api_keys import is_known
from support.serving.census import ROUTES
from support.serving.http_servers import servers_of

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
LISTED = sorted({*EXACT, *(f"{prefix}x" for prefix in BELOW)})
PATHS = sorted({*LISTED, *(path for _, path in ROUTES)})

SECRET = "the llama of the neighbour sings at night"
GENERATES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 3, "ignore_eos": True},
    "/v1/completions": {"prompt": SECRET, "max_tokens": 3, "ignore_eos": True},
    "/v1/responses": {"input": SECRET, "max_output_tokens": 3},
    "/v1/messages": {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 3},
}
COUNTS = {"/v1/messages/count_tokens": {"messages": [{"role": "user", "content": SECRET}]}}
BAD_BODIES = (
    b"",
    b"[]",
    b'{"model": ',
    b"\xff\xfe",
    b'{"messages": 1, "input": 1, "prompt": {}}',
    b'{"model": "no-such-model", "messages": [], "prompt": "x", "input": "x"}',
    json.dumps({"messages": [], "prompt": "x", "input": "x", "cache_salt": "another", "priority": -100}).encode(),
    json.dumps({"messages": [], "prompt": "x", "input": "x", "max_tokens": 10**9}).encode(),
)

LIMITS = (
    TenantLimits(
        name="ann-and-sons", requests_per_minute=10_000, tokens_per_minute=2_000_000, tokens_per_day=90_000_000
    ),
    TenantLimits(
        name="bobs-bakery", requests_per_minute=20_000, tokens_per_minute=4_000_000, tokens_per_month=80_000_000
    ),
    TenantLimits(name="poor", requests_per_minute=10_000, tokens_per_day=200),
    TenantLimits(name="hasty", requests_per_minute=3),
    TenantLimits(name="narrow", concurrent_requests=2),
)
WAITING = 12
"""Places in the queue of the engine."""
MODERATE = 4


class Tenant:
    """A tenant with two keys, and what is known of it that others must not see."""

    def __init__(self, name, url, keys, clients):
        self.name = name
        self._url = url
        self.keys = [keys.add(name) for _ in range(2)]
        self._clients = [
            clients.enter_context(
                httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key.text}"}, timeout=120)
            )
            for key in self.keys
        ]
        self._turn = itertools.cycle(self._clients)
        self.ids = set()

    def ask(self, method, path, **more):
        """Send a request, with one key and the other in turn."""
        answer = next(self._turn).request(method, path, **more)
        # What HAProxy answers by itself has none.
        self.ids |= {answer.headers.get("x-request-id")} - {None}
        with contextlib.suppress(ValueError, AttributeError):
            self.ids |= {answer.json().get("id")} - {None}
        return answer

    def cut(self, model, after=1, **body):
        """Leave a stream when some events of it are there."""
        whole = {"model": model, "prompt": SECRET, "max_tokens": 200, "stream": True, "ignore_eos": True, **body}
        with next(self._turn).stream("POST", "/v1/completions", json=whole) as answer:
            self.ids.add(answer.headers["x-request-id"])
            lines = (line for line in answer.iter_lines() if line.startswith("data: {"))
            for _ in itertools.islice(lines, after):
                pass
        return answer.status_code

    def traces(self, model):
        """What must not stand in an answer to somebody else."""
        ids = {trace for trace in self.ids if trace != model}
        return ids | {SECRET, self.name} | {part for key in self.keys for part in (key.id, key.sha256, key.text)}

    def known(self):
        """Whether both keys are known."""
        return all(is_known(self._url, key.text) for key in self.keys)


@pytest.fixture(scope="module")
def tenants(cluster, deploy, config, keys, live, eventually):
    """Makes tenants; the limits above hold, and hold no more afterwards."""
    app = deploy(config())
    app.apply(live(desk=DeskSettings(tenants=LIMITS, max_waiting_requests=WAITING)))
    cluster.wait_until_running()
    with contextlib.ExitStack() as clients:

        def make(*names, port=cluster.http_port):
            url = f"http://127.0.0.1:{port}"
            made = [Tenant(name, url, keys, clients) for name in names]
            for one in made:
                eventually(one.known, seconds=60, what="the keys to be known")
            return made

        (probe,) = make("bobs-bakery")
        body = GENERATES["/v1/completions"] | {"model": app.model}

        def limited():
            # A new ledger lends nothing of budgets for some seconds.
            answer = probe.ask("POST", "/v1/completions", json=body)
            return answer.status_code == 200 and "x-ratelimit-limit-requests" in answer.headers

        eventually(
            limited,
            seconds=120,
            what="the limits to be known",
        )
        yield app, make
    app.apply(live())
    cluster.wait_until_running()


def lines_of(app):
    """The usage log, by id of the request."""
    events = [
        UsageEvent.model_validate_json(line)
        for file in app.cluster.folder.glob(f"session_latest/logs/{USAGE_FILES}")
        for line in file.read_text().splitlines()
    ]
    return {event.id: event for event in events}


def requests_of_all_kinds(model, path):
    """Method, path and what is sent, for one path: each method, with nothing, with what is wrong, with what is right."""
    right = (GENERATES | COUNTS).get(path)
    for method in METHODS:
        yield method, path, {}
        if method == "POST":
            yield from ((method, path, {"json": body}) for body in ({}, {"model": model}))
    if right is not None:
        yield "POST", path, {"json": right | {"model": model}}


def left(answer, name):
    return int(answer.headers[f"x-ratelimit-remaining-{name}"])


def test_on_no_route_does_a_tenant_see_anything_of_another(tenants):
    app, make = tenants
    ann, bob = make("ann-and-sons", "bobs-bakery")
    for path, body in (GENERATES | COUNTS).items():
        assert bob.ask("POST", path, json=body | {"model": app.model}).status_code == 200, path
    kept = [next(iter(bob.ids)), *bob.ids]

    seen = []
    asked = [kind for path in PATHS for kind in requests_of_all_kinds(app.model, path) if SECRET not in str(kind[2])]
    for method, path, more in [*asked, *with_ids_of(kept, app.model)]:
        answer = ann.ask(method, path, **more)
        said = f"{answer.headers}\n{answer.text}"
        assert answer.status_code < 500, (method, path, more, answer.text)
        asked_for = f"{path} {more}"
        found = [trace for trace in bob.traces(app.model) if trace in said and trace not in asked_for]
        seen += [(method, path, trace) for trace in found]
    assert seen == []
    # And nobody is told more than the status of the whole: no tenant, no key, no request.
    status = app.cluster.get("/llama/status").text
    assert not [trace for trace in bob.traces(app.model) | {"ann-and-sons"} if trace in status]


def with_ids_of(ids, model):
    """Requests for what another tenant has asked for, by its ids: every path of the census that has a place for one."""
    for request_id in ids:
        for below in ("", "/cancel", "/input_items"):
            for method in ("GET", "POST", "DELETE"):
                yield method, f"/v1/responses/{request_id}{below}", {}
        yield "GET", f"/v1/chat/completions/{request_id}", {}
        yield "GET", "/v1/models", {"headers": {"x-request-id": request_id}}
        body = GENERATES["/v1/responses"] | {"input": "x", "model": model, "previous_response_id": request_id}
        yield "POST", "/v1/responses", {"json": body}


def test_the_ids_of_another_open_nothing(tenants):
    app, make = tenants
    ann, bob = make("ann-and-sons", "bobs-bakery")
    bob.ask("POST", "/v1/responses", json=GENERATES["/v1/responses"] | {"model": app.model})

    statuses = {
        (method, path.count("/"), bool(more)): ann.ask(method, path, **more).status_code
        for method, path, more in with_ids_of(sorted(bob.ids), app.model)
        if path.startswith(("/v1/responses", "/v1/chat/completions/"))
    }
    assert statuses.pop(("POST", 2, True)) == 400
    assert set(statuses.values()) == {404}


def test_whatever_a_tenant_sends_the_other_has_as_much_left_as_before_and_is_booked_nothing(tenants, eventually):
    app, make = tenants
    ann, bob = make("ann-and-sons", "bobs-bakery")
    small = GENERATES["/v1/completions"] | {"model": app.model}
    before = bob.ask("POST", "/v1/completions", json=small)

    spent = spend_in_all_ways(ann, app.model)

    after = bob.ask("POST", "/v1/completions", json=small)
    # Of its own it has used two requests; each has reserved its prompt and its answer, and the window only gives back.
    assert left(before, "requests") - left(after, "requests") <= 2
    assert left(before, "tokens") - left(after, "tokens") < 200
    assert spent > 2000, "too little to be seen"
    for answer, limits in ((after, LIMITS[1]), (ann.ask("POST", "/v1/completions", json=small), LIMITS[0])):
        assert int(answer.headers["x-ratelimit-limit-requests"]) == limits.requests_per_minute
        assert int(answer.headers["x-ratelimit-limit-tokens"]) == limits.tokens_per_minute
    served = eventually(
        lambda: found if bob_is_booked(found := lines_of(app), bob) else None, seconds=60, what="the lines of bob"
    )
    mine = {event.id: event for event in served.values() if event.data.key_id in {key.id for key in bob.keys}}
    assert set(mine) <= bob.ids
    assert {event.subject for event in mine.values()} == {"bobs-bakery"}
    assert {served[one].subject for one in ann.ids & served.keys()} == {"ann-and-sons"}
    assert sum(event.data.output_tokens for event in mine.values()) == 2 * 3


def bob_is_booked(lines, bob):
    return len([one for one in bob.ids if one in lines]) == 2


def spend_in_all_ways(tenant, model):
    """Send what is served, what is cut off and what is refused on each route that generates; return what was used at least."""
    used = 0
    for path, body in (GENERATES | COUNTS).items():
        right = body | {"model": model}
        assert tenant.ask("POST", path, json=right).status_code == 200
        for content in BAD_BODIES:
            answer = tenant.ask("POST", path, content=content, headers={"content-type": "application/json"})
            assert 400 <= answer.status_code < 500, (path, content, answer.text)
    many = {"model": model, "prompt": [SECRET] * 8, "max_tokens": 100, "ignore_eos": True}
    for _ in range(2):
        answer = tenant.ask("POST", "/v1/completions", json=many)
        used += answer.json()["usage"]["total_tokens"]
    for after in (1, 5, 20):
        assert tenant.cut(model, after=after) == 200
    return used


@pytest.mark.parametrize("path", GENERATES)
def test_the_prompt_of_a_tenant_is_cached_for_it_and_for_nobody_else(tenants, eventually, path):
    app, make = tenants
    ann, bob = make("ann-and-sons", "bobs-bakery")
    words = f"{path} " + "once upon a time there was a llama that nobody else had heard of, " * 3
    body = json.loads(json.dumps(GENERATES[path] | {"model": app.model}).replace(SECRET, words))

    def cached(tenant):
        request_id = tenant.ask("POST", path, json=body).headers["x-request-id"]
        return eventually(lambda: lines_of(app).get(request_id), seconds=60, what="its line").data.cached_tokens

    first, again, other, other_again = [cached(tenant) for tenant in (ann, ann, bob, bob)]

    # With both keys, which take turns: the prefix is the tenant's.
    assert (first, other) == (0, 0)
    assert again > 100
    assert other_again == again


@pytest.mark.parametrize("path", GENERATES)
def test_what_a_tenant_has_used_up_is_still_there_for_the_other(tenants, path):
    app, make = tenants
    poor, hasty, bob = make("poor", "hasty", "bobs-bakery")
    body = GENERATES[path] | {"model": app.model}
    for _ in range(40):
        last = poor.ask("POST", path, json=body)
        if last.status_code != 200:
            break
    assert last.json()["error"].get("code", "rate_limit_error") in {"insufficient_quota", "rate_limit_error"}
    # With each of its keys.
    assert {poor.ask("POST", path, json=body).status_code for _ in range(2)} == {429}
    assert 429 in {hasty.ask("POST", path, json=body).status_code for _ in range(5)}

    assert {bob.ask("POST", path, json=body).status_code for _ in range(2)} == {200}
    assert poor.ask("GET", "/v1/models").status_code == 200


def test_streams_that_a_tenant_leaves_take_no_place_of_the_other_and_come_back(tenants, eventually):
    app, make = tenants
    narrow, bob = make("narrow", "bobs-bakery")
    body = GENERATES["/v1/completions"] | {"model": app.model}
    statuses = {narrow.cut(app.model) for _ in range(8)}
    assert bob.ask("POST", "/v1/completions", json=body).status_code == 200

    eventually(
        lambda: narrow.ask("POST", "/v1/completions", json=body).status_code == 200, seconds=60, what="a free place"
    )
    assert statuses <= {200, 429}


def test_a_tenant_that_floods_the_engine_is_refused_before_the_other_is(tenants):
    app, make = tenants
    ann, bob = make("ann-and-sons", "bobs-bakery")
    long = {"model": app.model, "prompt": SECRET, "max_tokens": 150, "ignore_eos": True}
    short = GENERATES["/v1/completions"] | {"model": app.model}

    def flood(_):
        # A client of its own a request: one waits for its connection to be free.
        url = f"http://127.0.0.1:{app.cluster.http_port}/v1/completions"
        headers = {"Authorization": f"Bearer {ann.keys[0].text}"}
        return httpx.post(url, json=long, headers=headers, timeout=120).status_code

    with concurrent.futures.ThreadPoolExecutor(max_workers=48) as pool:
        flooded = [pool.submit(flood, number) for number in range(48)]
        answers = [bob.ask("POST", "/v1/completions", json=short).status_code for _ in range(MODERATE)]
        refused = [answer.result() for answer in flooded].count(429)
    assert answers == [200] * MODERATE
    assert refused > 0


def test_a_key_that_the_settings_name_as_revoked_gets_no_token_and_the_others_of_its_tenant_do(
    tenants, live, eventually
):
    app, make = tenants
    (bob,) = make("bobs-bakery")
    revoked, kept = (
        lambda path, body, key=key: app.cluster.post_with(path, body, {"Authorization": f"Bearer {key.text}"})
        for key in bob.keys
    )
    bodies = [(path, body | {"model": app.model}) for path, body in (GENERATES | COUNTS).items()]
    limits = {"tenants": LIMITS, "max_waiting_requests": WAITING}
    app.apply(live(desk=DeskSettings(**limits, revoked_keys=(bob.keys[0].id,))))

    eventually(lambda: revoked(*bodies[0]).status_code == 401, seconds=60, what="the replica to know it")
    assert {revoked(*one).status_code for one in bodies} == {401}
    assert {kept(*one).status_code for one in bodies} == {200}
    app.apply(live(desk=DeskSettings(**limits)))
    eventually(lambda: revoked(*bodies[0]).status_code == 200, seconds=60, what="the list to be empty again")


@pytest.mark.nightly
def test_at_every_server_of_serve_a_tenant_sees_nothing_of_another(tenants):
    app, make = tenants
    (bob,) = make("bobs-bakery")
    for path, body in GENERATES.items():
        bob.ask("POST", path, json=body | {"model": app.model})
    asked = 0
    for port in servers_of(app.cluster):
        (ann,) = make("ann-and-sons", port=port)
        for path in PATHS:
            for method, _, more in requests_of_all_kinds(app.model, path):
                for content in (None, *BAD_BODIES):
                    sent = more if content is None else {"content": content}
                    answer = ann.ask(method, path, **sent)
                    asked += 1
                    said = f"{answer.headers}\n{answer.text}"
                    traces = bob.traces(app.model) - {SECRET}
                    assert [trace for trace in traces if trace in said] == [], (port, method, path, sent)
    print(asked, "requests")
