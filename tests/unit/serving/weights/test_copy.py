"""The whole program, as its pod runs it: the Hub's own client on real sockets, a claim that is a folder."""

import hashlib

import pytest

from llama_serving.contract.contents import DeclaredContents
from llama_serving.contract.weights import ENGINES_FOLDER, CopyOutcome, Manifest
from support.changing_folders import paths_below
from support.model_hub import COMMIT, hub
from support.serving.weight_copies import COPIED, NAME, Copier, wait_for

SHARD, OTHER_SHARD = "model-00001-of-00004.safetensors", "model-00003-of-00004.safetensors"
INCOMPLETE = ".incomplete"


def test_a_copy_has_the_model_and_nothing_that_could_run(copier, files):
    with hub(NAME, files) as (endpoint, _):
        ended = copier.run(copier.request(endpoint, expected_bytes=7))
    assert (ended.code, ended.verdict.verdict) == (0, CopyOutcome.VERIFIED), ended.log
    wanted = {
        path: content for path, content in files.items() if path in COPIED or path.endswith((".json", ".safetensors"))
    }
    assert copier.files() == wanted
    assert copier.is_complete()
    content = (copier.copy / "manifest.json").read_bytes()
    manifest = Manifest.model_validate_json(content)
    assert {file.path: file.sha256 for file in manifest.files} == {
        path: hashlib.sha256(content).hexdigest() for path, content in wanted.items()
    }
    assert ended.verdict.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert ended.verdict.bytes == sum(map(len, wanted.values())) == manifest.size_bytes
    assert (ended.verdict.files, ended.verdict.commit) == (len(wanted), COMMIT)
    assert sorted(path.name for path in copier.claim.iterdir()) == [
        f".{copier.copy.name}.lock",
        copier.copy.name,
        ENGINES_FOLDER,
        "lost+found",
    ]
    assert "files" in ended.log
    assert "model.safetensors" in ended.log


def test_a_complete_copy_is_left_and_no_source_is_asked(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        request = copier.request(endpoint)
        first = copier.run(request)
        asked = len(repository.requests)
        again = copier.run(request)
        assert len(repository.requests) == asked
    assert (again.code, again.verdict.verdict) == (0, CopyOutcome.VERIFIED)
    assert again.verdict.model_copy(update={"seconds": 0}) == first.verdict.model_copy(update={"seconds": 0})
    # Also while the source is away.
    assert copier.run(request).code == 0


def test_another_model_than_was_declared_is_refused_before_its_weights(copier, files):
    declared = DeclaredContents(declared_by="LlamaModel acme-chat", sizes={"num_hidden_layers": (999,)})
    with hub(NAME, files) as (endpoint, repository):
        ended = copier.run(copier.request(endpoint, contents=declared))
        assert (ended.code, ended.verdict.verdict, ended.verdict.file) == (3, CopyOutcome.MISMATCH, "config.json")
        assert "num_hidden_layers" in ended.verdict.message
        assert "LlamaModel acme-chat" in ended.verdict.message
        assert not any(".safetensors" in line and "index" not in line for line in map(str, repository.requests))
        # Without a declaration it is copied; who declares something else of the copy is still refused.
        assert copier.run(copier.request(endpoint)).code == 0
        again = copier.run(copier.request(endpoint, contents=declared))
    assert (again.code, again.verdict.verdict) == (3, CopyOutcome.MISMATCH)
    assert copier.is_complete()


def test_a_license_text_that_policy_asks_for_is_missed_before_the_weights(copier, files):
    without = {path: content for path, content in files.items() if not path.startswith("LICENSE")}
    with hub(NAME, without) as (endpoint, repository):
        ended = copier.run(copier.request(endpoint, requires_license=True))
        assert (ended.code, ended.verdict.verdict, ended.verdict.file) == (3, CopyOutcome.NOT_FOUND, "LICENSE")
        assert not any(".safetensors" in line and "index" not in line for line in map(str, repository.requests))
        assert copier.run(copier.request(endpoint)).code == 0
        assert copier.run(copier.request(endpoint, requires_license=True)).code == 3, "of a copy that is there too"


def test_a_license_text_that_policy_asks_for_is_copied(copier, files):
    with hub(NAME, files) as (endpoint, _):
        assert copier.run(copier.request(endpoint, requires_license=True)).code == 0


def test_two_jobs_at_once_make_one_copy(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        other = Copier(copier.claim, copier.folder / "other")
        other.folder.mkdir()
        request = copier.request(endpoint)
        both = [copier.start(request), other.start(request)]
        ends = [copier.ended(both[0]), other.ended(both[1])]
    assert [end.code for end in ends] == [0, 0], ends
    assert ends[0].verdict.digest == ends[1].verdict.digest
    assert sorted(repository.downloads) == sorted(set(repository.downloads)), "each file came once"
    assert any("another Job works on this copy" in end.log for end in ends)


def test_a_source_that_stops_sending_is_a_stall_with_a_name(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.hangs = {SHARD: [100_000, -1]}
        ended = copier.run(copier.request(endpoint), stall_seconds=4)
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.STALLED, 1), ended.log
    assert "nothing" in ended.verdict.message
    assert not copier.copy.exists()


@pytest.mark.nightly
def test_a_source_that_hangs_after_each_file_is_asked_on_as_long_as_files_come(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        # Two of four shards hang once, and the library waits for them longer than we do.
        repository.hangs = {SHARD: [100_000, 1], OTHER_SHARD: [0, 1]}
        ended = copier.run(copier.request(endpoint), environment={"HF_HUB_DOWNLOAD_TIMEOUT": "60"}, stall_seconds=4)
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.VERIFIED, 0), ended.log
    assert "Once more" in ended.log


def test_one_wrong_bit_and_one_broken_connection_cost_another_try_only(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.flips, repository.breaks = {SHARD: 1}, {OTHER_SHARD: [10_000, 1]}
        ended = copier.run(copier.request(endpoint))
    assert ended.code == 0, ended.log
    assert (repository.downloads.count(SHARD), repository.downloads.count(OTHER_SHARD)) == (2, 2)


def test_a_token_that_ends_half_way_is_told_and_the_next_one_goes_on(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.token, repository.expires_after = copier.token, len(files) - 7
        request = copier.request(endpoint)
        ended = copier.run(request, workers=1)
        assert (ended.verdict.verdict, ended.code) == (CopyOutcome.TOKEN_INVALID, 3), ended.log
        before = list(repository.downloads)
        assert any(path.endswith(".safetensors") for path in before), "half-way"
        repository.token, repository.expires_after = "hf_zyxwvutsrqponmlkjihgfedcba", None
        copier.token = repository.token
        assert copier.run(request).code == 0
    assert sorted(repository.downloads) == sorted(set(repository.downloads)), "no file came twice"


def test_a_killed_pod_goes_on_by_whole_files(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.hangs = {SHARD: [100_000, 1]}
        request = copier.request(endpoint)
        process = copier.start(request, stall_seconds=60)
        done = [name for name in files if name.endswith(".safetensors") and name != SHARD]
        wait_for(lambda: all((copier.partial / name).exists() for name in done))
        wait_for(lambda: SHARD in repository.downloads and any(paths_below(copier.partial, f"*{INCOMPLETE}")))
        process.kill()
        process.communicate()
        wait_for(lambda: not copier.is_held())
        assert not copier.copy.exists()
        held = {path: (copier.partial / path).stat().st_ino for path in done}
        assert copier.run(request).code == 0
    assert repository.downloads.count(SHARD) == 2
    assert all(repository.downloads.count(name) == 1 for name in files if name in copier.files() and name != SHARD)
    assert {path: (copier.copy / path).stat().st_ino for path in done} == held
    assert not list(copier.copy.rglob(f"*{INCOMPLETE}")), "what the kill left is gone"


def test_a_pod_that_is_told_to_stop_says_so(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.hangs = {SHARD: [100_000, -1]}
        process = copier.start(copier.request(endpoint), stall_seconds=60)
        wait_for(lambda: SHARD in repository.downloads)
        process.terminate()
        ended = copier.ended(process)
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.FAILED, 1)
    assert "told to stop" in ended.verdict.message


@pytest.mark.parametrize("harm", ["unmarked", "cut", "changed manifest"])
def test_what_was_harmed_is_mended_and_only_that_comes_again(copier, files, harm):
    with hub(NAME, files) as (endpoint, repository):
        request = copier.request(endpoint)
        assert copier.run(request).code == 0
        repository.downloads.clear()
        if harm == "unmarked":
            (copier.copy / ".complete").unlink()
        elif harm == "cut":
            (copier.copy / SHARD).write_bytes(files[SHARD][:-1])
        else:
            (copier.copy / "manifest.json").write_text("{}")
        assert copier.run(request).code == 0
    assert copier.is_complete()
    assert repository.downloads == ([SHARD] if harm == "cut" else [])
    assert copier.files()[SHARD] == files[SHARD]
