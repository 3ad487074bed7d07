"""The license pages and headers, asked over ASGI as a client would, and beside a route that streams as Serve's do."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse

from llama_serving.config import LicenseDuties, LicenseFamilyDuties
from llama_serving.licenses.files import read_license_files
from llama_serving.licenses.headers import LicenseHeaders, headers_of
from llama_serving.licenses.pages import model_metadata
from llama_serving.licenses.routes import LicenseDesk, license_router, preferred

LLAMA_33 = LicenseFamilyDuties(
    id="llama-3.3",
    title="Llama 3.3 Community License",
    attribution="Built with Llama",
    name_prefix="Llama",
    notice="Llama 3.3 is licensed under the Llama 3.3 Community License, Copyright © Meta Platforms, Inc.",
    output_use="AllowedWithName",
)
LLAMA_3 = LicenseFamilyDuties(
    id="llama-3",
    title="Meta Llama 3 Community License",
    attribution="Built with Meta Llama 3",
    name_prefix="Llama 3",
    output_use="NoOtherModels",
)
LLAMA_2 = LicenseFamilyDuties(id="llama-2", title="Llama 2 Community License", output_use="NoOtherModels")
APACHE = LicenseFamilyDuties(id="apache-2.0", title="Apache License 2.0")
MODEL = "llama-3.3-70b"


def duties(*families):
    return LicenseDuties(tier="CommunityLlama31Plus", families=families)


class Served:
    """The routes and the middleware around a small application, as `ingress` puts them together."""

    def __init__(self, given, files=(), *, model=MODEL, clock=lambda: 0.0, guard=None):
        self.files = files
        self.guard_files = ()
        self.gate = asyncio.Event()
        desk = LicenseDesk(
            model, given, self._read, clock=clock, guard=guard and LicenseDesk(*guard, self._read_of_guard)
        )
        self.app = FastAPI()
        self.app.add_exception_handler(HTTPException, self._refuse)
        self.app.include_router(license_router(lambda: desk))
        self.app.add_api_route("/v1/chat/completions", self._stream, methods=["POST"])
        self.app.add_api_route("/healthz", self._health)
        self.app.add_middleware(CORSMiddleware, allow_origins=["*"])
        self.app.add_middleware(LicenseHeaders, headers=lambda: headers_of(given))

    async def _read(self):
        return self.files

    async def _read_of_guard(self):
        return self.guard_files

    async def _refuse(self, request, error):
        return JSONResponse({"error": {"message": error.detail}}, error.status_code, headers=error.headers)

    async def _health(self):
        return "ok"

    async def _stream(self):
        async def chunks():
            yield b"data: 1\n\n"
            await self.gate.wait()
            yield b"data: 2\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def ask(self, path, *, method="GET", **headers):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers)


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "LICENSE.txt").write_text("The agreement <&> of ©")
    (tmp_path / "USE_POLICY.md").write_text("The policy")
    (tmp_path / "secret.txt").write_text("not for you")
    return read_license_files(tmp_path)


async def test_the_texts_of_a_model_come_as_plain_text_one_after_the_other(texts):
    answer = await Served(duties(LLAMA_33), texts).ask(f"/licenses/{MODEL}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text.index("===== LICENSE.txt =====") < answer.text.index("The agreement <&> of ©")
    assert answer.text.index("The agreement") < answer.text.index("===== USE_POLICY.md =====")
    assert "not for you" not in answer.text


async def test_one_text_comes_as_it_is_in_the_folder(texts):
    served = Served(duties(LLAMA_33), texts)

    listed = (await served.ask("/licenses")).json()["models"][0]["files"]
    answers = [await served.ask(file["url"]) for file in listed]

    assert [answer.text for answer in answers] == ["The agreement <&> of ©", "The policy"]
    assert [file["kind"] for file in listed] == ["License", "UsePolicy"]


async def test_the_list_is_json_for_all_and_for_the_model(texts):
    served = Served(duties(LLAMA_33), texts)

    whole = (await served.ask("/licenses")).json()
    one = (await served.ask(f"/licenses/{MODEL}", accept="application/json")).json()

    assert whole["models"] == [one]
    assert one["attribution"] == ["Built with Llama"]
    assert one["files"][0]["sha256"] == texts[0].sha256
    assert one["files"][0]["textHash"] == texts[0].text_hash
    assert "not legal advice" in whole["note"]


async def test_the_list_says_which_texts_the_catalog_knows(texts):
    known = LLAMA_33.model_copy(update={"text_hashes": (texts[0].text_hash,)})

    (model,) = (await Served(duties(known, LLAMA_3), texts).ask("/licenses")).json()["models"]

    assert [file["knownAs"] for file in model["files"]] == [["llama-3.3"], []]


async def test_a_model_with_a_slash_and_a_space_in_its_name_has_its_texts(texts):
    served = Served(duties(LLAMA_33), texts, model="meta llama/Llama-3.3")

    (model,) = (await served.ask("/licenses")).json()["models"]

    assert "The policy" in (await served.ask(model["url"])).text
    assert (await served.ask(model["files"][1]["url"])).text == "The policy"


@pytest.mark.parametrize(
    "path",
    [
        "/licenses/other",
        f"/licenses/{MODEL}x",
        f"/licenses/{MODEL}/",
        f"/licenses/{MODEL}/secret.txt",
        f"/licenses/{MODEL}/../../secret.txt",
        f"/licenses/{MODEL}/..%2fsecret.txt",
        f"/licenses/{MODEL}/%2e%2e/secret.txt",
        f"/licenses/{MODEL}/LICENSE.txt/../secret.txt",
        f"/licenses/{MODEL}//etc/passwd",
        "/licenses/..%2f..%2fetc%2fpasswd",
        f"/licenses/{MODEL}/LICENSE.txt%00",
        f"/licenses/{MODEL}/license.txt",
    ],
)
async def test_what_is_no_text_of_the_model_is_not_found(texts, path):
    answer = await Served(duties(LLAMA_33), texts).ask(path)

    assert answer.status_code == 404
    assert "not for you" not in answer.text


async def test_the_refusals_say_what_there_is(texts):
    served = Served(duties(LLAMA_33), texts)

    other = await served.ask("/licenses/other")
    unknown = await served.ask(f"/licenses/{MODEL}/NOTICE")

    assert "'other'" in other.text
    assert "/licenses lists" in other.text
    assert "LICENSE.txt, USE_POLICY.md" in unknown.text


async def test_a_model_without_license_files_says_so():
    served = Served(duties(LLAMA_33), ())

    answer = await served.ask(f"/licenses/{MODEL}")

    assert answer.status_code == 404
    assert "came without license files" in answer.text
    assert (await served.ask("/licenses")).json()["models"][0]["files"] == []


async def test_before_an_engine_has_read_them_the_client_is_told_to_come_back(texts):
    served = Served(duties(LLAMA_33), None)

    early = await served.ask(f"/licenses/{MODEL}")
    served.files = texts
    late = await served.ask(f"/licenses/{MODEL}")

    assert (early.status_code, late.status_code) == (503, 200)
    assert early.headers["retry-after"] == "30"


async def test_texts_that_were_found_stay_when_nobody_can_be_asked_and_are_renewed_by_an_engine(texts):
    now = [0.0]
    served = Served(duties(LLAMA_33), texts, clock=lambda: now[0])
    assert (await served.ask(f"/licenses/{MODEL}")).status_code == 200

    now[0], served.files = 100.0, None
    assert (await served.ask(f"/licenses/{MODEL}")).status_code == 200
    served.files = texts[:1]
    assert "USE_POLICY" not in (await served.ask(f"/licenses/{MODEL}")).text


async def test_the_about_page_shows_the_line_to_people_and_to_programs(texts):
    served = Served(duties(LLAMA_33), texts)

    page = await served.ask("/about", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    data = await served.ask("/about", accept="application/json")

    assert page.headers["content-type"].startswith("text/html")
    assert '<p class="attribution">Built with Llama</p>' in page.text
    assert LLAMA_33.notice in page.text
    assert f'href="/licenses/{MODEL}"' in page.text
    assert "begins with “Llama”" in page.text
    assert "not legal advice" in page.text
    assert data.json()["attribution"] == ["Built with Llama"]
    assert data.json()["families"][0]["notice"] == LLAMA_33.notice


async def test_the_about_page_shows_the_licenses_of_a_guard_beside_those_of_the_model(texts):
    served = Served(duties(LLAMA_33), texts, guard=("llama-guard<1b>", duties(LLAMA_3)))
    page = await served.ask("/about", accept="text/html")
    data = await served.ask("/about", accept="application/json")

    assert page.text.index("Built with Llama") < page.text.index("Screened by llama-guard&lt;1b&gt;")
    assert "Built with Meta Llama 3" in page.text
    assert data.json()["guard"]["model"] == "llama-guard<1b>"
    assert data.json()["guard"]["attribution"] == ["Built with Meta Llama 3"]
    assert data.json()["attribution"] == ["Built with Llama"], "answers are the model's"
    assert data.json()["guard"]["licenses"] == "/licenses/llama-guard%3C1b%3E"
    assert 'href="/licenses/llama-guard%3C1b%3E"' in page.text


@pytest.mark.parametrize("guard", ["llama-guard", MODEL + "/guard", "Llama Guard"])
async def test_the_texts_of_a_guard_are_its_own(texts, guard):
    served = Served(duties(LLAMA_33), texts[:1], guard=(guard, duties(LLAMA_3)))
    served.guard_files = texts[1:]

    model, of_guard = (await served.ask("/licenses")).json()["models"]
    assert (of_guard["model"], of_guard["attribution"]) == (guard, ["Built with Meta Llama 3"])
    assert [[file["name"] for file in one["files"]] for one in (model, of_guard)] == [
        ["LICENSE.txt"],
        ["USE_POLICY.md"],
    ]
    assert "The policy" in (await served.ask(of_guard["url"])).text
    assert (await served.ask(of_guard["files"][0]["url"])).text == "The policy"
    assert (await served.ask(of_guard["url"], accept="application/json")).json() == of_guard
    assert "The agreement" in (await served.ask(model["url"])).text
    assert (await served.ask(f"{model['url']}/USE_POLICY.md")).status_code == 404
    assert (await served.ask(f"{of_guard['url']}/LICENSE.txt")).status_code == 404


async def test_a_guard_that_has_not_started_takes_no_text_of_the_model_away(texts):
    served = Served(duties(LLAMA_33), texts, guard=("llama-guard", duties(LLAMA_3)))
    served.guard_files = None
    assert (await served.ask("/licenses")).json()["models"][1]["files"] is None
    assert (await served.ask(f"/licenses/{MODEL}")).status_code == 200
    assert (await served.ask("/licenses/llama-guard")).status_code == 503


async def test_the_about_page_escapes_names(texts):
    family = LLAMA_33.model_copy(update={"title": "<script>alert(1)</script>"})
    page = await Served(duties(family), texts, model='"><img src=x>').ask("/about")

    assert "<script>" not in page.text
    assert "<img" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_a_model_without_duties_has_no_line_and_no_header():
    served = Served(None)
    served.gate.set()

    page = await served.ask("/about")
    chat = await served.ask("/v1/chat/completions", method="POST")

    assert 'class="attribution"' not in page.text
    assert "Llama" not in page.text.replace(MODEL, "")
    assert not [name for name in chat.headers if name.startswith("x-llama")]
    assert model_metadata(MODEL, None) == {}


async def test_a_stream_carries_the_headers_and_is_not_held_back():
    """httpx collects what ASGI sends, so this speaks ASGI itself: the second chunk is made only after the first came."""
    served, sent = Served(duties(LLAMA_33)), []

    async def send(message):
        sent.append(message)
        if message.get("body"):
            served.gate.set()

    async def receive():
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": []}
    await asyncio.wait_for(served.app(scope, receive, send), 10)

    start, first, second = sent[:3]
    assert (b"x-llama-attribution", b"Built with Llama") in start["headers"]
    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    assert (first["body"], second["body"]) == (b"data: 1\n\n", b"data: 2\n\n")


async def test_openai_routes_carry_the_headers_and_others_do_not():
    served = Served(duties(LLAMA_33))
    served.gate.set()

    chat = await served.ask("/v1/chat/completions", method="POST")
    error = await served.ask("/v1/nothing")
    health = await served.ask("/healthz")

    for answer in (chat, error):
        assert answer.headers["x-llama-attribution"] == "Built with Llama"
        assert answer.headers["x-llama-output-terms"] == 'AllowedWithName; family="llama-3.3"; name-prefix="Llama"'
    assert error.status_code == 404
    assert "x-llama-attribution" not in health.headers


async def test_scripts_in_browsers_may_read_the_headers():
    served = Served(duties(LLAMA_33))
    served.gate.set()

    foreign = await served.ask("/v1/chat/completions", method="POST", origin="https://ui.example")

    assert foreign.headers["access-control-expose-headers"] == "x-llama-attribution, x-llama-output-terms"


@pytest.mark.parametrize(
    ("families", "attribution", "terms"),
    [
        ((LLAMA_2,), None, 'NoOtherModels; family="llama-2"'),
        ((LLAMA_3,), "Built with Meta Llama 3", 'NoOtherModels; family="llama-3"'),
        (
            (LLAMA_33, APACHE, LLAMA_3),
            "Built with Llama, Built with Meta Llama 3",
            'NoOtherModels; family="llama-3", AllowedWithName; family="llama-3.3"; name-prefix="Llama"',
        ),
        ((LLAMA_33, LLAMA_33.model_copy(update={"id": "llama-3.1"})), "Built with Llama", None),
        ((APACHE,), None, ""),
    ],
)
def test_several_licenses_are_all_shown_and_the_strictest_terms_come_first(families, attribution, terms):
    headers = {name.decode(): value.decode() for name, value in headers_of(duties(*families))}

    assert headers.get("x-llama-attribution") == attribution
    if terms is not None:
        assert headers.get("x-llama-output-terms", "") == terms


def test_the_list_of_models_says_the_line_and_where_the_texts_are():
    metadata = model_metadata(MODEL, duties(LLAMA_33))

    assert metadata["attribution"] == "Built with Llama"
    assert metadata["license"]["texts"] == f"/licenses/{MODEL}"
    assert metadata["license"]["families"][0]["id"] == "llama-3.3"


def test_llama_2_has_no_line_in_the_list_of_models():
    assert "attribution" not in model_metadata(MODEL, duties(LLAMA_2))


@pytest.mark.parametrize("text", ["Built\r\nwith", "Büilt", " Built", ""])
def test_a_line_that_cannot_be_a_header_is_refused_by_the_contract(text):
    with pytest.raises(ValueError, match="attribution"):
        LicenseFamilyDuties(id="llama-3.3", title="Llama", attribution=text)


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("*/*", "text/html"),
        ("", "text/html"),
        ("application/json", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, text/*", "text/html"),
        ("*/*;q=0.9, text/html;q=0.1", "application/json"),
        ("application/json;q=nonsense", "text/html"),
    ],
)
def test_the_form_follows_the_accept_header(accept, best):
    assert preferred(accept, "text/html", "application/json") == best
