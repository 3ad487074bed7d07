"""The log of decisions: one line for every verdict that is new, none that is not anchored, none that takes effect unrecorded."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from llama_operator import catalog
from llama_operator.cli.shared import files
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Requester
from llama_operator.evidence import keys, start
from llama_operator.evidence.chain import GENESIS
from llama_operator.evidence.log import EvidenceError, HashChainLog, NoAnchor
from llama_operator.evidence.sink import EvidenceFile
from llama_operator.evidence.verify import split, verify
from llama_operator.kube import kinds
from llama_operator.kube.leadership.fenced import NotLeaderError
from llama_operator.kube.port import Ref, UnavailableError

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
KNOWN = catalog.load()


@pytest.fixture
def manifests():
    return files.read([str(SAMPLES / "llama-3.3-70b-fp8-h100.yaml"), str(SAMPLES / "license-acceptance.yaml")])


@pytest.fixture
def observed(manifests):
    metadata = manifests.deployment.metadata.model_copy(update={"uid": "u-1", "generation": 3})
    deployment = manifests.deployment.model_copy(update={"metadata": metadata})
    return Observed(
        deployment, acceptances=manifests.acceptances, now=NOW, requester=Requester("zoe@acme.example", "argocd")
    )


class Anchor:
    def __init__(self):
        self.heads, self.leads, self.fails = [], True, False

    def ensure_leading(self):
        if not self.leads:
            raise NotLeaderError("no")

    async def hold(self, head):
        if self.fails:
            raise UnavailableError("no")
        self.heads.append(head)


class Book:
    """A log with the lines that it wrote."""

    def __init__(self):
        self.lines, self.anchor, self.full = [], Anchor(), False
        self.log = HashChainLog(self._write, self.anchor)

    def _write(self, line):
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines.append(line)

    def records(self):
        return [json.loads(line) for line in self.lines]

    async def begin(self, term="operator/1", previous=GENESIS):
        await self.log.begin(term, previous, NOW)

    async def append(self, observed):
        await self.log.append(observed, decide(observed, KNOWN))


@pytest.fixture
def book():
    return Book()


def with_spec(observed, **license_fields):
    spec = observed.deployment.spec
    changed = spec.model_copy(update={"license": spec.license.model_copy(update=license_fields)})
    metadata = observed.deployment.metadata.model_copy(update={"generation": 4})
    return replace(observed, deployment=observed.deployment.model_copy(update={"spec": changed, "metadata": metadata}))


def with_scaling(observed, **scaling):
    spec = observed.deployment.spec
    changed = spec.model_copy(update={"scaling": spec.scaling.model_copy(update=scaling)})
    metadata = observed.deployment.metadata.model_copy(update={"generation": 4})
    return replace(observed, deployment=observed.deployment.model_copy(update={"spec": changed, "metadata": metadata}))


async def test_a_record_says_what_was_decided_on_what_ground_for_whom(book, observed, manifests):
    await book.begin()
    await book.append(observed)
    started, record = book.records()
    assert started["event"] == "TermStarted"
    assert record["event"] == "Decided"
    assert record["time"] == "2026-03-02T09:30:00Z"
    assert record["deployment"]["uid"] == "u-1"
    assert record["deployment"]["generation"] == 3
    assert record["decision"] == "Allow"
    assert record["reason"] == "LicenseAllowed"
    assert record["tier"] == "CommunityLlama31Plus"
    assert record["families"] == ["llama-3.3"]
    assert record["acceptances"][0]["name"] == observed.deployment.spec.license.acceptance
    assert all(len(found) == 64 for found in record["textHashes"])
    assert record["textHashes"]
    assert {rule["outcome"] for rule in record["rules"]} <= {"Allowed", "NotApplicable"}
    assert {"rule": "P2", "check": "lineage-resolved", "outcome": "Allowed"} in record["rules"]
    assert record["requester"] == {"user": "zoe@acme.example", "manager": "argocd"}
    assert verify(book.lines).intact


async def test_a_refusal_says_which_rule_and_clause(book, observed):
    await book.begin()
    await book.append(with_spec(observed, acceptance=None))
    record = book.records()[-1]
    assert (record["decision"], record["effect"]) == ("Deny", "NothingChanges")
    refused = [rule for rule in record["rules"] if rule["outcome"] == "Denied"]
    assert refused[0]["rule"] == "P1"
    assert refused[0]["reason"] == "AcceptanceMissing"
    assert refused[0]["clause"]
    assert refused[0]["message"]


async def test_a_model_that_nobody_knows_is_recorded_as_refused(book, observed):
    await book.begin()
    spec = observed.deployment.spec
    renamed = spec.model_copy(update={"model": spec.model.model_copy(update={"name": "my-model"})})
    await book.append(replace(observed, deployment=observed.deployment.model_copy(update={"spec": renamed})))
    record = book.records()[-1]
    assert (record["decision"], record["tier"], record["reason"]) == ("Deny", "Unresolved", "ModelUnknown")


async def test_the_same_verdict_is_recorded_once_in_a_term(book, observed):
    await book.begin()
    await book.append(observed)
    await book.append(replace(observed, now=NOW + timedelta(days=1)))
    assert len(book.lines) == 2


async def test_whatever_differs_is_recorded_anew(book, observed):
    await book.begin()
    refused = with_spec(observed, acceptance="another")
    for each in (observed, refused, observed, with_scaling(observed, max_replicas=7)):
        await book.append(each)
    assert [record["decision"] for record in book.records()[1:]] == ["Allow", "Deny", "Allow", "Allow"]
    assert book.records()[-1]["maxReplicas"] == 7


async def test_an_edit_that_asks_for_the_same_is_no_new_decision(book, observed):
    await book.begin()
    await book.append(observed)
    edited = with_scaling(observed, target_queue_depth=99)
    await book.append(replace(edited, requester=Requester("max", "kubectl")))
    assert len(book.lines) == 2


async def test_another_deployment_of_the_same_name_is_a_new_decision(book, observed):
    await book.begin()
    await book.append(observed)
    metadata = observed.deployment.metadata.model_copy(update={"uid": "u-2"})
    await book.append(replace(observed, deployment=observed.deployment.model_copy(update={"metadata": metadata})))
    assert len(book.lines) == 3


async def test_a_new_term_records_every_verdict_again_and_goes_on_with_the_chain(observed):
    first, second = Book(), Book()
    await first.begin()
    await first.append(observed)
    await second.begin("operator/2", first.anchor.heads[-1])
    await second.append(observed)
    found = verify([*first.lines, *second.lines])
    assert found.intact
    assert (found.terms, found.records, found.notes) == (2, 4, ())


async def test_the_end_of_a_deployment_is_recorded_once(book, observed):
    metadata = observed.deployment.metadata
    ref = Ref(kinds.LLAMA_DEPLOYMENT, metadata.namespace, metadata.name)
    await book.begin()
    await book.log.removed(ref, NOW)
    await book.append(observed)
    await book.log.removed(ref, NOW)
    await book.log.removed(ref, NOW)
    assert [record["event"] for record in book.records()] == ["TermStarted", "Decided", "Removed"]


async def test_a_decision_that_cannot_be_written_is_an_error_and_leaves_no_gap(book, observed):
    await book.begin()
    book.full = True
    with pytest.raises(EvidenceError, match="nothing is started"):
        await book.append(observed)
    book.full = False
    await book.append(observed)
    assert verify(book.lines).intact


async def test_a_decision_whose_hash_could_not_be_anchored_is_recorded_again(book, observed):
    await book.begin()
    book.anchor.fails = True
    with pytest.raises(UnavailableError):
        await book.append(observed)
    book.anchor.fails = False
    await book.append(observed)
    assert [record["event"] for record in book.records()] == ["TermStarted", "Decided", "Decided"]
    assert verify(book.lines, head=book.anchor.heads[-1]).intact


async def test_a_verdict_that_comes_back_after_one_that_was_not_anchored_is_recorded(book, observed):
    await book.begin()
    await book.append(observed)
    book.anchor.fails = True
    with pytest.raises(UnavailableError):
        await book.append(with_spec(observed, acceptance="another"))
    book.anchor.fails = False
    await book.append(observed)
    assert [record["decision"] for record in book.records()[1:]] == ["Allow", "Deny", "Allow"]
    assert verify(book.lines, head=book.anchor.heads[-1]).intact


async def test_a_signed_log_leaves_a_signed_head_that_the_next_term_follows(tmp_path, observed):
    signer = keys.SigningKey(Ed25519PrivateKey.generate())
    file, anchor = EvidenceFile(tmp_path / "evidence.jsonl"), Anchor()
    for term in ("a/1", "b/2"):
        log = HashChainLog(file.write, anchor, signer)
        await log.begin(term, start.previous(file, anchor.heads[-1] if anchor.heads else ""), NOW)
        await log.append(observed, decide(observed, KNOWN))
    lines = list(split((tmp_path / "evidence.jsonl").read_bytes()))
    assert {json.loads(line)["signedBy"] for line in lines} == {signer.key}
    assert [json.loads(text)["sequence"] for text in anchor.heads] == [0, 1, 0, 1]
    assert json.loads(anchor.heads[-1])["hash"] == json.loads(lines[-1])["hash"]
    found = verify(lines, head=anchor.heads[-1])
    assert (found.intact, found.terms) == (True, 2)


async def test_what_is_signed_in_the_lease_is_no_hash_where_it_was_changed(tmp_path, observed, caplog):
    file, anchor = EvidenceFile(tmp_path / "evidence.jsonl"), Anchor()
    log = HashChainLog(file.write, anchor, keys.SigningKey(Ed25519PrivateKey.generate()))
    await log.begin("a/1", GENESIS, NOW)
    assert start.previous(file, anchor.heads[-1].replace('"term"', '"name"')) == file.head()
    assert "instead of the hash of the last line of evidence" in caplog.text


async def test_who_does_not_lead_writes_nothing(book, observed):
    await book.begin()
    book.anchor.leads = False
    with pytest.raises(NotLeaderError):
        await book.append(observed)
    assert len(book.lines) == 1


async def test_no_decision_is_recorded_before_a_term(book, observed):
    with pytest.raises(EvidenceError):
        await book.append(observed)


async def test_many_at_once_make_one_chain(book, observed):
    await book.begin()

    def named(number):
        metadata = observed.deployment.metadata.model_copy(update={"name": f"chat-{number}"})
        return replace(observed, deployment=observed.deployment.model_copy(update={"metadata": metadata}))

    await asyncio.gather(*(book.append(named(number)) for number in range(30)))
    assert verify(book.lines, head=book.anchor.heads[-1]).intact
    assert len(book.lines) == 31


async def test_texts_of_users_cannot_make_a_line_too_long_or_break_it(book, observed):
    await book.begin()
    awkward = '\n"\\\u2028\U0001f999 token' * 400
    await book.append(replace(observed, requester=Requester(awkward, awkward)))
    assert verify(split(b"".join(book.lines))).intact
    assert len(book.lines[-1]) < 16_384


async def test_a_file_goes_on_where_it_ended(tmp_path, observed):
    file = EvidenceFile(tmp_path / "evidence.jsonl")
    for term in ("a/1", "b/2"):
        log = HashChainLog(file.write, NoAnchor())
        await log.begin(term, start.previous(file, ""), NOW)
        await log.append(observed, decide(observed, KNOWN))
    content = (tmp_path / "evidence.jsonl").read_bytes()
    found = verify(split(content))
    assert found.intact
    assert found.terms == 2
    assert file.head() == found.head


async def test_a_line_that_a_crash_cut_off_stays_visible_and_alone(tmp_path, observed):
    path = tmp_path / "evidence.jsonl"
    file = EvidenceFile(path)
    log = HashChainLog(file.write, NoAnchor())
    await log.begin("a/1", GENESIS, NOW)
    await log.append(observed, decide(observed, KNOWN))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    log = HashChainLog(file.write, NoAnchor())
    await log.begin("b/2", start.previous(file, ""), NOW)
    found = verify(split(path.read_bytes()))
    assert [finding.line for finding in found.findings] == [2]
    assert found.records == 2


async def test_the_lease_goes_before_what_the_file_says(tmp_path, observed, caplog):
    file = EvidenceFile(tmp_path / "evidence.jsonl")
    log = HashChainLog(file.write, NoAnchor())
    await log.begin("a/1", GENESIS, NOW)
    head = file.head()
    await log.append(observed, decide(observed, KNOWN))
    assert start.previous(file, head) == head
    assert start.previous(file, "") == file.head()
    assert start.previous(file, "not a hash") == file.head()
    assert "instead of the hash" in caplog.text


def test_a_file_that_cannot_be_written_says_which_setting_it_is(tmp_path):
    (tmp_path / "evidence.jsonl").mkdir()
    with pytest.raises(EvidenceError, match="--evidence-file"):
        start.previous(EvidenceFile(tmp_path / "evidence.jsonl"), "")


def test_a_disk_that_fills_up_in_the_middle_of_a_line_leaves_no_half_of_it(tmp_path, monkeypatch):
    path, write, calls = tmp_path / "evidence.jsonl", os.write, []
    EvidenceFile(path).write(b"one\n")

    def half_then_full(handle, content):
        calls.append(content)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(handle, content[:2])

    monkeypatch.setattr("llama_operator.evidence.sink.os.write", half_then_full)
    with pytest.raises(OSError, match="No space"):
        EvidenceFile(path).write(b"two\n")
    assert path.read_bytes() == b"one\n"


def test_a_renamed_file_is_begun_anew(tmp_path):
    path = tmp_path / "evidence.jsonl"
    file = EvidenceFile(path)
    file.write(b"one\n")
    path.rename(tmp_path / "evidence.jsonl.1")
    file.write(b"two\n")
    assert path.read_bytes() == b"two\n"
    assert path.stat().st_mode & 0o027 == 0, "others may neither read nor write it"
