"""Licenses on a real deployment: an engine that is refused for want of license files, then one that shows what it must."""

import pytest

from llama_serving.config import LicenseDuties, LicenseFamilyDuties, ModelSource
from llama_serving.contract.contents import DeclaredContents
from llama_serving.generated import checkpoint

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

DUTIES = LicenseDuties(
    tier="CommunityLlama31Plus",
    families=(
        LicenseFamilyDuties(
            id="llama-3.3",
            title="Llama 3.3 Community License",
            attribution="Built with Llama",
            name_prefix="Llama",
            output_use="AllowedWithName",
        ),
    ),
    required_files=("License",),
)
DECLARED = DeclaredContents(
    declared_by="LlamaModel tiny",
    architectures=("LlamaForCausalLM",),
    model_types=("llama",),
    sizes={"num_hidden_layers": (2,), "hidden_size": (256,), "intermediate_size": (512,), "num_key_value_heads": (4,)},
    vocab_size=512,
)
"""So that the engine of these tests is one that has looked at its folder, before and after."""
TERMS = 'AllowedWithName; family="llama-3.3"; name-prefix="Llama"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The generated checkpoint as somebody's folder on a volume, without any license."""
    return checkpoint.ensure(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture(scope="module")
def refused_then_served(deploy, config, folder, eventually):
    """What Ray said of the deployment without a license file, and the deployment after the file was put there."""
    changes = {"source": ModelSource(kind="Path", location=str(folder)), "license": DUTIES, "contents": DECLARED}
    here = deploy(config().model_copy(update=changes), wait=False)
    refused = eventually(
        lambda: found if (found := here.cluster.application()).get("status") == "DEPLOY_FAILED" else None,
        seconds=600,
        what="the deployment to be refused",
    )
    (folder / "LICENSE.txt").write_text("The agreement, as it came with the weights.\n")
    (folder / "USE_POLICY.md").write_text("The policy.\n")
    # Another seed makes it another revision: Serve would not start the same one again.
    return refused, deploy(config(seed=1).model_copy(update=changes))


def test_without_a_license_file_no_engine_starts_and_the_message_says_why(refused_then_served, folder):
    refused, served = refused_then_served
    messages = " ".join([refused["message"], *(part["message"] for part in refused["deployments"].values())])

    assert (
        f"LicenseFilesMissing: {served.model} was not started: its folder {folder} has no readable LICENSE*" in messages
    )
    assert "servedLicenseFiles: Required" in messages
    # The operator keeps the end of a long message.
    assert "then set spec.rollout.restartedAt" in messages[-1024:]


def test_the_texts_come_from_the_folder_of_the_model(refused_then_served):
    _, served = refused_then_served

    whole = served.cluster.get(f"/licenses/{served.model}")
    (model,) = served.cluster.get("/licenses").json()["models"]

    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "The agreement, as it came with the weights." in whole.text
    assert [file["name"] for file in model["files"]] == ["LICENSE.txt", "USE_POLICY.md"]
    assert served.cluster.get(model["files"][1]["url"]).text == "The policy.\n"
    for path in (
        "/licenses/other",
        f"/licenses/{served.model}/config.json",
        f"/licenses/{served.model}/..%2fLICENSE.txt",
    ):
        answer = served.cluster.get(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


def test_the_line_is_on_the_about_page_and_in_the_list_of_models(refused_then_served):
    _, served = refused_then_served

    with served.cluster.client() as client:
        (model,) = client.models.list()

    assert model.metadata["attribution"] == "Built with Llama"
    assert '<p class="attribution">Built with Llama</p>' in served.cluster.get("/about").text


def test_an_answer_and_a_stream_carry_the_headers_and_the_stream_comes_in_pieces(refused_then_served):
    _, served = refused_then_served
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
