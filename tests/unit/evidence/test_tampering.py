"""Any changed byte of decisions that the operator really recorded is found by `kubectl llama license verify`."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.cli.main import main
from llama_operator.cli.shared import files
from llama_operator.decide.decision import decide
from llama_operator.evidence import keys
from llama_operator.evidence.chain import GENESIS
from llama_operator.evidence.log import HashChainLog, NoAnchor
from llama_operator.evidence.sink import EvidenceFile

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


async def record(path, signer=None):
    """Two terms over every sample, with and without the records of licenses."""
    known = catalog.load()
    for term, previous in (("operator/1", GENESIS), ("operator/2", None)):
        log = HashChainLog(EvidenceFile(path).write, NoAnchor(), signer)
        await log.begin(term, previous or EvidenceFile(path).head(), NOW)
        for sample in sorted(SAMPLES.glob("*.yaml")):
            if sample.name.startswith(("llama-", "tiny-")) and "LlamaDeployment" in sample.read_text(encoding="utf-8"):
                observed = files.read([str(sample), str(SAMPLES / "license-acceptance.yaml")]).observed(NOW)
                for each in (observed, replace(observed, acceptances=())):
                    await log.append(each, decide(each, known))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("evidence") / "evidence.jsonl"
    asyncio.run(record(path))
    return path


def verify(path, content, *arguments):
    path.write_bytes(content)
    return main(["license", "verify", str(path), *arguments, "-o", "json"])


def test_what_was_recorded_holds(recorded, tmp_path):
    content = recorded.read_bytes()
    assert content.count(b'"decision":"Allow"') > 3
    assert content.count(b'"decision":"Deny"') > 3
    assert verify(tmp_path / "copy", content) == 0


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_is_found(recorded, tmp_path, data):
    content = recorded.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.integers(1, 255))
    changed = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
    assert verify(tmp_path / "copy", changed) == 6


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_are_added_or_removed_are_found(recorded, tmp_path, data):
    content, head = recorded.read_bytes(), EvidenceFile(recorded).head()
    place = data.draw(st.integers(0, len(content)))
    added = data.draw(st.binary(max_size=20))
    removed = data.draw(st.integers(0 if added else 1, 20))
    changed = content[:place] + added + content[place + removed :]
    if changed != content:
        assert verify(tmp_path / "copy", changed, "--head", head) == 6


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """The same, signed, with the file of the public key."""
    folder, key = tmp_path_factory.mktemp("signed"), Ed25519PrivateKey.generate()
    asyncio.run(record(folder / "evidence.jsonl", keys.SigningKey(key)))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return folder / "evidence.jsonl", folder / "public.pem"


def test_what_was_signed_holds_with_the_public_key_and_without(signed, tmp_path):
    path, public = signed
    assert verify(tmp_path / "copy", path.read_bytes()) == 0
    assert verify(tmp_path / "copy", path.read_bytes(), "--public-key", str(public)) == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_of_a_signed_log_is_found(signed, tmp_path, data):
    path, public = signed
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.integers(1, 255))
    changed = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
    assert verify(tmp_path / "copy", changed, "--public-key", str(public)) == 6
    assert verify(tmp_path / "copy", changed) == 6


def test_a_log_that_was_never_signed_does_not_hold_with_a_key(recorded, signed, tmp_path):
    assert verify(tmp_path / "copy", recorded.read_bytes(), "--public-key", str(signed[1])) == 6
