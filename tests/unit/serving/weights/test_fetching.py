"""What goes wrong at a source, and what is refused: the part that fetches, in this process, against the Hub's API on real sockets."""

import json

import httpx
import pytest

from llama_serving.contract.weights import CopyOutcome, HubSource
from llama_serving.licenses.text import text_hash
from llama_serving.weights import claim, fetching
from llama_serving.weights.claim import Claim
from llama_serving.weights.errors import CopyError
from llama_serving.weights.settings import CopySettings
from llama_serving.weights.sources import source_of
from llama_serving.weights.sources.hub import Hub
from support.model_hub import hub
from support.serving.weight_copies import NAME

SHARD = "model-00001-of-00004.safetensors"
ANY = object()


class Heard:
    """Keeps what is said."""

    def __init__(self):
        self.events = []

    def say(self, event):
        self.events.append(event)

    def read(self, size):
        pass


@pytest.fixture
def fetch(copier):
    """Fetches in this process; returns the outcome, the file and the message."""

    def call(request, **settings):
        place = Claim(copier.claim, request.id)
        claim.reopen(place)
        quick = CopySettings(**({"pauses": (0.0, 0.0)} | settings))
        try:
            source = source_of(request, copier.token)
            fetching.Fetching(request, place, source, quick, Heard()).all()
        except CopyError as error:
            return error.outcome, error.file, error.message
        return CopyOutcome.VERIFIED, None, ""

    return call


WRONG = [
    # what goes wrong, verdict, words of the message, the file
    ({"flips": {SHARD: -1}}, CopyOutcome.MISMATCH, "sha256", SHARD),
    ({"flips": {"tokenizer.json": -1}}, CopyOutcome.MISMATCH, "git-sha1", "tokenizer.json"),
    ({"sizes": {SHARD: 5}}, CopyOutcome.MISMATCH, "lists 5", SHARD),
    ({"token": "hf_other"}, CopyOutcome.TOKEN_INVALID, "Invalid username", None),
    ({"name": "acme/moved"}, CopyOutcome.NOT_FOUND, "404", None),
    ({"storage_status": 403}, CopyOutcome.UNREACHABLE, "let pods reach localhost:", ANY),
]


@pytest.mark.parametrize(("wrong", "outcome", "words", "file"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_what_goes_wrong_has_its_verdict(fetch, copier, files, wrong, outcome, words, file):
    with hub(NAME, files) as (endpoint, repository):
        for name, value in wrong.items():
            setattr(repository, name, value)
        ended = fetch(copier.request(endpoint))
    assert ended[0] is outcome, ended
    assert words in ended[2]
    assert file is ANY or ended[1] == file


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("https://cdn.example/x", 403, "let pods reach cdn.example"),
        ("https://cdn.example/x", 429, "it is busy, and is asked again"),
        ("https://cdn.example/x", 503, "it is busy, and is asked again"),
        ("https://hub.example/x", 429, "HTTP 429"),
    ],
)
def test_who_limits_how_often_it_is_asked_was_reached(address, status, words):
    """llm-d#2523: storage that answered 429 to many pods; the Hub's own library waits and asks again before it says so."""
    source = Hub(HubSource(repository=NAME, commit="0" * 40, endpoint="https://hub.example"), "")
    answer = httpx.Response(status, request=httpx.Request("GET", address))
    ended = source.explain(httpx.HTTPStatusError("", request=answer.request, response=answer), SHARD)
    assert (ended.outcome, words in ended.message) == (CopyOutcome.UNREACHABLE, True), ended.message


def test_a_signed_address_that_ended_is_asked_for_anew(fetch, copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.storage_status, repository.storage_refuses = 403, 2
        assert fetch(copier.request(endpoint))[0] is CopyOutcome.VERIFIED


def test_an_account_without_access_is_denied(fetch, copier, files):
    copier.token = "hf_stranger"
    with hub(NAME, files) as (endpoint, repository):
        repository.token = "hf_other"
        ended = fetch(copier.request(endpoint))
    assert ended[0] is CopyOutcome.ACCESS_DENIED
    assert "not in the authorized list" in ended[2]


def test_license_files_have_to_be_those_of_the_request_by_bytes_or_by_words(fetch, copier, files):
    by_words = text_hash("THE   license.")
    with hub(NAME, files) as (endpoint, repository):
        other = fetch(copier.request(endpoint, files={"LICENSE": "0" * 64}))
        absent = fetch(copier.request(endpoint, files={"NOTICE": by_words}))
        assert not [path for path in repository.downloads if path.endswith(".safetensors")], "before the weights"
        same = fetch(copier.request(endpoint, files={"LICENSE": by_words}))
    assert other[:2] == (CopyOutcome.MISMATCH, "LICENSE")
    assert absent[:2] == (CopyOutcome.NOT_FOUND, "NOTICE")
    assert same[0] is CopyOutcome.VERIFIED


REFUSED = [
    # files that are added (None: taken away), verdict, the file
    ({"config.json": {"auto_map": {"AutoModel": "modeling_acme.Model"}}}, CopyOutcome.FORBIDDEN, "config.json"),
    (
        {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["x.Y", None]}}},
        CopyOutcome.FORBIDDEN,
        "tokenizer_config.json",
    ),
    ({"config.json": {"text_config": {"auto_map": {"AutoConfig": "x.Y"}}}}, CopyOutcome.FORBIDDEN, "config.json"),
    ({"../../escape.json": {}}, CopyOutcome.FORBIDDEN, "../../escape.json"),
    ({"config.json": None}, CopyOutcome.NOT_FOUND, None),
    ({"tokenizer.json": None}, CopyOutcome.NOT_FOUND, None),
    (
        {"model.safetensors.index.json": {"weight_map": {"a": "gone.safetensors"}}},
        CopyOutcome.NOT_FOUND,
        "gone.safetensors",
    ),
    ({"model.safetensors.index.json": []}, CopyOutcome.MISMATCH, "model.safetensors.index.json"),
]


@pytest.mark.parametrize(("more", "outcome", "file"), REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_what_is_no_model_is_refused_before_its_weights_come(fetch, copier, files, more, outcome, file):
    changed = files | {path: json.dumps(content).encode() for path, content in more.items()}
    changed = {path: content for path, content in changed.items() if more.get(path, "") is not None}
    with hub(NAME, changed) as (endpoint, repository):
        ended = fetch(copier.request(endpoint))
    assert ended[:2] == (outcome, file)
    assert not [path for path in repository.downloads if path.endswith(".safetensors")]


def test_pickled_weights_are_not_copied(fetch, copier, files):
    pickled = {path: content for path, content in files.items() if "safetensors" not in path}
    with hub(NAME, pickled) as (endpoint, repository):
        ended = fetch(copier.request(endpoint))
    assert ended[0] is CopyOutcome.FORBIDDEN
    assert repository.downloads == []


def test_weights_that_the_index_does_not_name_stay_where_they_are(fetch, copier, files):
    with hub(NAME, files | {"consolidated.safetensors": files[SHARD]}) as (endpoint, repository):
        assert fetch(copier.request(endpoint))[0] is CopyOutcome.VERIFIED
    assert "consolidated.safetensors" not in repository.downloads


def test_a_pointer_of_git_lfs_is_no_weight(fetch, copier, files):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    with hub(NAME, files | {SHARD: pointer}) as (endpoint, _):
        ended = fetch(copier.request(endpoint))
    assert ended[0] is CopyOutcome.MISMATCH
    assert "LFS" in ended[2]
