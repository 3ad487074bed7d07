"""Licenses on a real deployment: what it shows, of its model and of its guard (`test_license_missing`: without the files)."""

import pytest

from llama_serving.contract.guard import GuardMode, GuardSettings
from llama_serving.contract.tenants import DeskSettings

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

TERMS = 'AllowedWithName; family="llama-3.3"; name-prefix="Llama"'


@pytest.fixture(scope="module")
def served(deploy, equipped):
    """It runs."""
    return deploy(equipped, desk=DeskSettings(adapters=(), guard=GuardSettings(mode=GuardMode.LOG)))


def test_the_texts_come_from_the_folder_of_the_model(served):
    whole = served.cluster.get(f"/licenses/{served.model}")
    model, guard = served.cluster.get("/licenses").json()["models"]

    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "The agreement, as it came with the weights." in whole.text
    assert [file["name"] for file in model["files"]] == ["LICENSE.txt", "USE_POLICY.md"]
    assert served.cluster.get(model["files"][1]["url"]).text == "The policy.\n"
    assert (guard["model"], guard["attribution"]) == ("tiny-guard", ["Built with Llama"])
    assert served.cluster.get(guard["files"][0]["url"]).text == "The agreement, as it came with the weights.\n"
    for path in (
        "/licenses/other",
        f"/licenses/{served.model}/config.json",
        f"/licenses/{served.model}/..%2fLICENSE.txt",
    ):
        answer = served.cluster.get(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


def test_the_line_is_on_the_about_page_and_in_the_list_of_models(served):
    with served.cluster.client() as client:
        model = next(one for one in client.models.list() if one.id == served.model)

    assert model.metadata["attribution"] == "Built with Llama"
    about = served.cluster.get("/about").text
    assert about.count('<p class="attribution">Built with Llama</p>') == 2
    assert "Screened by tiny-guard" in about


def test_an_answer_and_a_stream_carry_the_headers_and_the_stream_comes_in_pieces(served):
    question = {"model": served.model, "prompt": "llama", "max_tokens": 200, "extra_body": {"ignore_eos": True}}

    with served.cluster.client() as client:
        whole = client.completions.with_raw_response.create(**question)
        with client.completions.with_streaming_response.create(**question, stream=True) as stream:
            headers = stream.headers
            pieces = list(stream.iter_bytes())

    for found in (whole.headers, headers):
        assert found["x-llama-attribution"] == "Built with Llama"
        assert found["x-llama-output-terms"] == TERMS
    assert whole.parse().usage.completion_tokens == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert len(pieces) > 3
