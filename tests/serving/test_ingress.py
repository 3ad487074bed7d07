"""The path of before, which revisions keep that were pinned with it: through Serve's proxy and `ray.serve.llm`'s ingress.

Nightly: it needs a Ray cluster and an engine of its own, and no new revision takes this path.
"""

import httpx
import openai
import pytest

from llama_serving.config import LicenseDuties, LicenseFamilyDuties, RequestPath

pytestmark = [pytest.mark.serving, pytest.mark.nightly, pytest.mark.timeout(1800)]

QUESTION = [{"role": "user", "content": "What is a llama?"}]
DUTIES = LicenseDuties(
    tier="CommunityLlama31Plus",
    families=(LicenseFamilyDuties(id="llama-3.3", title="Llama 3.3", attribution="Built with Llama"),),
)


@pytest.fixture(scope="module")
def app(deploy_on_ingress, config):
    return deploy_on_ingress(config(path=RequestPath.INGRESS).model_copy(update={"license": DUTIES}))


def test_a_chat_is_answered_whole_and_as_a_stream(app):
    with app.cluster.client() as client:
        whole = client.chat.completions.create(model=app.model, messages=QUESTION, max_tokens=24, temperature=0)
        chunks = list(
            client.chat.completions.create(
                model=app.model, messages=QUESTION, max_tokens=24, temperature=0, stream=True
            )
        )
        with pytest.raises(openai.NotFoundError, match="no-such-model"):
            client.chat.completions.create(model="no-such-model", messages=QUESTION)

    assert len(chunks) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content


def test_the_queue_beyond_what_the_engine_takes_waits_in_the_router_and_is_counted(app, live, load, eventually):
    app.apply(live(app.config.path, max_ongoing_requests=8))
    server = app.config.server_deployment
    eventually(
        lambda: app.cluster.deployment_config(server)["max_ongoing_requests"] == 8,
        seconds=300,
        what="Serve to take the edit over",
    )
    app.cluster.wait_until_running()
    answers = load(24, tokens=300)

    busy = eventually(
        lambda: status if (status := app.cluster.status()).queue_depth > 8 and status.running_requests else None,
        seconds=300,
        what="a queue",
    )
    assert busy.queue_depth <= 24
    assert max(report.waiting for report in busy.reports) <= 4
    assert [answer.result() for answer in answers] == [300] * 24


def test_license_pages_headers_and_the_list_of_models_are_those_of_the_direct_path(app):
    listed = app.cluster.get("/v1/models")

    assert listed.headers["x-llama-attribution"] == "Built with Llama"
    assert listed.json()["data"][0]["metadata"]["attribution"] == "Built with Llama"
    assert '<p class="attribution">Built with Llama</p>' in app.cluster.get("/about").text
    assert app.cluster.get("/licenses").status_code == httpx.codes.OK
