"""A line says which image and which weights a revision runs, as they are pinned, before and after it is made."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llama_operator import catalog
from llama_operator.cli.shared import files
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import revision
from llama_operator.evidence.record import decided

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
KNOWN = catalog.load()
COMMIT = "ddb4128556dfcff99e0c41aee159ea6c3e655dcd"
REPOSITORY = "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic"
SETTINGS = Settings(image="registry.example/serving:1")


@pytest.fixture
def observed():
    found = files.read([str(SAMPLES / "llama-3.3-70b-fp8-h100.yaml"), str(SAMPLES / "license-acceptance.yaml")])
    return Observed(found.deployment, acceptances=found.acceptances, now=datetime(2026, 3, 2, tzinfo=UTC))


def line(observed):
    (wanted,) = decided(observed, decide(observed, KNOWN), default_image=SETTINGS.image)
    return wanted


def made(observed):
    record = revision.new(observed, decide(observed, KNOWN), SETTINGS)
    return replace(observed, revisions=(record,))


def test_image_repository_and_commit_are_told(observed):
    told = line(observed).to_json()
    assert (told["image"], told["modelRepository"], told["modelCommit"]) == (SETTINGS.image, REPOSITORY, COMMIT)
    assert told["modelSource"] == f"https://huggingface.co/{REPOSITORY}@{COMMIT}"


def test_the_record_of_the_revision_says_the_same_so_no_second_line_is_written(observed):
    assert line(made(observed)).substance() == line(observed).substance()


def test_a_newer_operator_with_another_image_tells_what_is_pinned(observed):
    (later,) = decided(made(observed), decide(made(observed), KNOWN), default_image="registry.example/serving:2")
    assert later.to_json()["image"] == SETTINGS.image


def test_a_revision_of_before_the_pin_is_not_said_to_run_the_commit(observed):
    pinned = made(observed)
    (record,) = pinned.revisions
    application = dict(record.serve_config["applications"][0])
    source = {"kind": "HuggingFace", "location": REPOSITORY}
    config = {**record.serve_config, "applications": [application | {"args": application["args"] | {"source": source}}]}
    told = line(replace(pinned, revisions=(replace(record, serve_config=config),))).to_json()
    assert (told["modelCommit"], told["modelSource"]) == ("", f"https://huggingface.co/{REPOSITORY}")


def test_an_image_of_the_deployment_is_told(observed):
    spec = observed.deployment.spec.model_copy(update={"image": "ghcr.io/acme/serving:7"})
    other = replace(observed, deployment=observed.deployment.model_copy(update={"spec": spec}))
    assert line(other).to_json()["image"] == "ghcr.io/acme/serving:7"
