"""docs/evidence.md is the format for others: its fields are those of the records, and its program verifies them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from llama_operator import catalog
from llama_operator.cli.shared import files
from llama_operator.decide.copies.facts import ClaimFacts, CopiedFacts, WeightsFacts
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.evidence import keys
from llama_operator.evidence.chain import FORMAT, GENESIS
from llama_operator.evidence.log import HashChainLog, NoAnchor
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


@pytest.fixture
async def lines():
    """A term with an allowed, a refused and a removed deployment, and one that reads a copy of its weights."""
    samples = ROOT / "manifests" / "samples"
    found = files.read([str(samples / "llama-3.3-70b-fp8-h100.yaml"), str(samples / "license-acceptance.yaml")])
    observed = Observed(found.deployment, acceptances=found.acceptances, now=NOW)
    written = []
    log = HashChainLog(written.append, NoAnchor(), keys.SigningKey(KEY))
    await log.begin("operator/1", GENESIS, NOW)
    claimed = files.read([str(samples / "llama-3.3-70b-claim.yaml")]).deployment
    waiting = replace(observed, deployment=claimed)
    (state,) = decide(waiting, catalog.load()).copying.states
    seen = CopiedFacts("sha256:" + "a" * 64, 72_656_371_712, 20, state.copy.source.commit, 900, NOW)
    here = WeightsFacts((ClaimFacts(state.copy.claim, state.copy.id, copied=seen, storage_class="fast-rwx"),))
    here = replace(here, claims=(replace(here.claims[0], access_modes=("ReadWriteMany",)),))
    for each in (observed, replace(observed, acceptances=()), replace(waiting, weights=here)):
        await log.append(each, decide(each, catalog.load()))
    metadata = found.deployment.metadata
    await log.removed(Ref(kinds.LLAMA_DEPLOYMENT, metadata.namespace, metadata.name), NOW)
    return written


def test_the_fields_of_the_page_are_those_of_the_records(lines):
    table = PAGE[PAGE.index("| field | what |") : PAGE.index("Texts that users write")]
    documented = {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert documented == {name for line in lines for name in json.loads(line)}


def test_the_parts_of_records_are_on_the_page(lines):
    parts = {
        name
        for line in lines
        for field in ("rules", "acceptances", "attestations", "copies")
        for part in json.loads(line).get(field, ())
        for name in part
    }
    for name in parts | {"user", "manager", "namespace", "uid", "generation", FORMAT}:
        assert f"`{name}`" in PAGE or f'"{name}"' in PAGE, name


def test_the_program_of_the_page_verifies(lines):
    program, _ = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)

    def run(content):
        return subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=False)

    assert run(b"".join(lines)).returncode == 0
    changed = [lines[0], lines[1].replace(b"Allow", b"Alloy", 1), *lines[2:]]
    assert b"line 2 was changed" in run(b"".join(changed)).stderr
    assert b"line 2 was changed" in run(b"".join([lines[0], *lines[2:]])).stderr
    assert b"line 1 was changed" in run(lines[0][:-1] + b"\r\n").stderr


def test_the_other_program_of_the_page_takes_a_line_apart_for_openssl(lines, tmp_path):
    _, program = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    subprocess.run([sys.executable, "-c", program], input=lines[1], cwd=tmp_path, check=True)
    KEY.public_key().verify((tmp_path / "signature").read_bytes(), (tmp_path / "message").read_bytes())
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    if shutil.which("openssl"):
        (command,) = re.findall(r"^openssl pkeyutl .*$", PAGE, flags=re.MULTILINE)
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)


def test_the_page_says_what_it_is_not():
    assert "no legal advice" in " ".join(PAGE.replace("*", "").split())
