"""What exists: a list. Every route of vLLM's application that is not on it answers nobody."""

import pytest

from llama_serving.door.routes import NOT_FOUND, asked, with_path
from support.serving.census import ROUTES
from support.serving.doors import FIRST, Asked, scope_of

GENERATE = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"]
LISTS = ["/v1/models", "/v1/models/m", "/v1/models/meta-llama/Llama-3.1-8B"]
PAGES = ["/about", "/licenses", "/licenses/m", "/licenses/meta-llama/Llama-3.1-8B/USE_POLICY.md", "/llama/status"]
HEALTH = ["/-/healthz", "/-/routes"]
OTHER_TASKS = ["/v1/embeddings", "/v1/rerank", "/v1/score", "/pooling"]


@pytest.mark.parametrize("path", GENERATE)
async def test_requests_for_text_need_a_key(ask, path):
    assert (await ask("POST", path)).status == 401
    answer = await ask("POST", path, key=FIRST)
    assert (answer.status, answer.passed["path"], answer.sent) == (200, path, b'{"model": "m", "messages": []}')


@pytest.mark.parametrize("path", LISTS)
async def test_lists_of_models_need_a_key(ask, path):
    assert (await ask("GET", path)).status == 401
    assert (await ask("GET", path, key=FIRST)).passed["path"] == path


@pytest.mark.parametrize("path", PAGES + HEALTH)
async def test_pages_for_everyone_need_none(ask, path):
    answer = await ask("GET", path)
    assert (answer.status, answer.passed["path"]) == (200, path)


async def test_health_may_be_asked_for_its_headers_only(ask):
    assert (await ask("HEAD", "/-/healthz")).status == 200
    assert (await ask("HEAD", "/about")).status == 405


@pytest.mark.parametrize("path", OTHER_TASKS)
async def test_what_this_model_does_not_do_is_said_in_words(ask, path):
    assert (await ask("POST", path)).status == 401
    answer = await ask("POST", path, key=FIRST)
    assert (answer.status, answer.error["code"], answer.passed) == (404, "unsupported_endpoint", None)
    assert "chat and completion requests" in answer.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models/m", "GET"),
        ("POST", "/about", "GET"),
        ("POST", "/-/healthz", "GET, HEAD"),
        ("get", "/about", "GET"),
        ("M-SEARCH", "/v1/messages", "POST"),
        ("X" * 500, "/v1/messages", "POST"),
    ],
)
async def test_another_method_is_told_which_one_is_right(ask, method, path, allowed):
    answer = await ask(method, path, key=FIRST, parts=[], headers=[])
    assert (answer.status, answer.header("allow"), answer.passed) == (405, allowed, None)
    assert len(answer.body) < 500


# The path as a server decodes it, and as it came over the wire.
GAMES = [
    ("//v1/models", b"//v1/models"),
    ("/v1//models", b"/v1//models"),
    ("/v1/models/", b"/v1/models/"),
    ("/v1/models//m", b"/v1/models//m"),
    ("/V1/models", b"/V1/models"),
    ("/About", b"/About"),
    ("/-/Healthz", b"/-/Healthz"),
    ("/v1/models", b"/v1%2Fmodels"),
    ("/v1/models", b"/v1/model%73"),
    ("/about", b"/%61bout"),
    ("/-/healthz", b"/%2D/healthz"),
    ("/about/../v1/chat/completions", b"/about/../v1/chat/completions"),
    ("/licenses/../metrics", b"/licenses/../metrics"),
    ("/licenses/../metrics", b"/licenses/%2e%2e/metrics"),
    ("/licenses/../metrics", b"/licenses/..%2Fmetrics"),
    ("/licenses/%2e%2e/metrics", b"/licenses/%252e%252e/metrics"),
    ("/licenses/./m", b"/licenses/./m"),
    ("/licenses/..\\metrics", b"/licenses/..%5Cmetrics"),
    ("/licenses/m\0", b"/licenses/m%00"),
    ("/about\0", b"/about%00"),
    ("/about;a=b", b"/about;a=b"),
    ("/about?", b"/about%3F"),
    ("/licenses/a?b", b"/licenses/a%3Fb"),
    ("/licenses/a\r\nb", b"/licenses/a%0D%0Ab"),
    ("/licenses/\ufffd", b"/licenses/%FF"),
    ("/licenses/a;b", b"/licenses/a;b"),
    ("/licenses/" + "a" * 600, b"/licenses/" + b"a" * 600),
    ("/v1/models/m", b"/v1%2Fmodels/m"),
    ("/v1/models/m", b"/v1/models/other"),
    ("/v1/models/m", b"/v2/models/m"),
    ("/about", b"/metrics"),
    ("/metrics", b"/about"),
    ("about", b"about"),
    ("", b""),
    ("*", b"*"),
    ("/", b"/"),
    ("/llama", b"/llama"),
    ("/llama/v1/models", b"/llama/v1/models"),
    ("/llama/about", b"/llama/about"),
    ("/llama/status/", b"/llama/status/"),
    ("/internal/route", b"/internal/route"),
]


@pytest.mark.parametrize(("path", "raw"), GAMES, ids=[repr(raw[:40]) for _, raw in GAMES])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_path_that_is_written_in_another_way_leads_nowhere(ask, path, raw, method):
    answer = await ask(method, path, key=FIRST, raw_path=raw)
    assert (answer.status, answer.passed) == (404, None)
    assert answer.error["code"] == "unknown_url"


@pytest.mark.parametrize("raw", [b"/v1/models/meta-llama%2FLlama%203", b"/v1/models/meta-llama/Llama%203"])
async def test_the_name_of_a_model_may_be_encoded_and_goes_on_in_one_form(ask, raw):
    answer = await ask("GET", "/v1/models/meta-llama/Llama 3", raw_path=raw, key=FIRST, query_string=b"key=secret")
    passed = answer.passed
    assert (passed["path"], passed["raw_path"]) == ("/v1/models/meta-llama/Llama 3", b"/v1/models/meta-llama/Llama%203")
    assert passed["query_string"] == b""


def test_a_server_need_not_say_how_the_path_was_written():
    scope = with_path({**scope_of("GET"), "path": "/licenses/a b"}, "/licenses/a b")
    del scope["raw_path"]
    assert asked(scope).path == "/licenses/a b"
    assert asked({**scope, "path": "/xxxx/about", "root_path": "/root"}) is NOT_FOUND


@pytest.mark.parametrize(
    ("root", "path", "raw", "status"),
    [
        ("/root", "/root/about", b"/root/about", 200),
        ("/root", "/about", b"/about", 404),
        ("/root", "/root/metrics", b"/root/metrics", 404),
    ],
)
async def test_a_path_below_a_root_is_judged_without_it(ask, root, path, raw, status):
    answer = await ask("GET", path, raw_path=raw, root_path=root)
    assert answer.status == status
    assert answer.passed is None or (answer.passed["path"], answer.passed["root_path"]) == (path, root)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/about", "/llama/about"),
        ("/licenses", "/llama/licenses"),
        ("/licenses/m/LICENSE", "/llama/licenses/m/LICENSE"),
        ("/v1/models", "/llama/v1/models"),
        ("/v1/models/m", "/llama/v1/models/m"),
        ("/llama/status", "/llama/status"),
        ("/-/healthz", "/-/healthz"),
    ],
)
async def test_at_a_proxy_the_board_answers_what_needs_no_engine(tmp_path, path, there):
    for to_board, expected in [(True, there), (False, path)]:
        ask = Asked(tmp_path / "keys", access="Open", to_board=to_board)
        passed = (await ask("GET", path)).passed
        assert (passed["path"], passed["raw_path"]) == (expected, expected.encode())


OURS = {*GENERATE, *OTHER_TASKS, "/v1/models"}


def test_the_routes_of_vllm_were_read():
    assert {path for _, path in ROUTES} >= OURS | {"/invocations", "/tokenize", "/scale_elastic_ep", "/v1/realtime"}
    assert len(ROUTES) > 60


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(route) for route in ROUTES])
async def test_no_route_of_vllm_answers_without_a_key(ask, method, path):
    answer = await ask(method, path)
    assert (answer.status, answer.passed) == (401 if path in OURS else 404, None)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] not in OURS])
async def test_a_key_opens_no_route_that_is_not_listed(ask, method, path):
    assert (await ask(method, path, key=FIRST)).status == 404
