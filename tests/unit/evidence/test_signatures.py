"""Signed evidence: what people can do to log and Lease without the key, and what of it is seen."""

import base64
import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_operator.evidence import chain, head, keys
from llama_operator.evidence.verify import split, verify

GOLDEN = Path(__file__).parent / "golden" / "before-signatures.jsonl"


def key(seed):
    return keys.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """Public keys by the number of their seeds, read from files as `--public-key` does."""

    def read(*seeds):
        found = {}
        for seed in seeds:
            path = tmp_path_factory.mktemp("keys") / "public.pem"
            public_key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
            path.write_bytes(public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            found |= keys.public_keys(path)
        return found

    return read


def term(number, previous, decisions, signer):
    """The lines of a term, and what its last line leaves in the Lease."""
    position, lines = chain.Position(f"operator-{number}/{number}", previous=previous), []
    contents = [{"event": "TermStarted", "time": "2026-03-02T09:30:00Z"}]
    contents += [{"event": "Decided", "decision": "Deny", "count": count} for count in range(decisions)]
    for content in contents:
        line, position = chain.seal(content, position, signer)
        lines.append(line)
    return lines, head.write(position, signer)


def log(*terms):
    """Lines of terms, given by decisions and signer, and what the last one leaves in the Lease."""
    lines, left, previous = [], "", chain.GENESIS
    for number, (decisions, signer) in enumerate(terms):
        written, left = term(number, previous, decisions, signer)
        lines += written
        previous = json.loads(written[-1])["hash"]
    return lines, left


def reseal(lines, signer=None, change=None):
    """Write all again without signatures, or with those of another key: hashes fit."""
    sealed, previous = [], chain.GENESIS
    for line in lines:
        record = json.loads(line)
        content = {name: value for name, value in record.items() if name not in chain.OWN_FIELDS} | (change or {})
        written, position = chain.seal(content, chain.Position(record["term"], record["sequence"], previous), signer)
        sealed.append(written)
        previous = position.previous
    return sealed


ONE = key(1)
SIGNED, HEAD = log((4, ONE), (3, ONE))


def findings(lines, **options):
    return [(found.line, found.problem) for found in verify(lines, **options).findings]


def said(lines, **options):
    return " | ".join(problem for _, problem in findings(lines, **options))


def test_what_was_signed_holds_with_its_key_and_with_the_head_of_the_lease(public):
    verified = verify(SIGNED, keys=public(1), head=HEAD)
    assert verified.intact
    assert verified.notes == ()
    assert (verified.signatures.signed, verified.signatures.unsigned) == (9, 0)
    assert dict(verified.signatures.keys) == {ONE.key: 9}


def test_every_line_names_the_key_that_signed_it_and_the_hash_covers_the_signature():
    for line in SIGNED:
        record = json.loads(line)
        assert record["signedBy"] == ONE.key
        assert chain.digest(record) == record["hash"]
        assert chain.digest({**record, "signature": "A" * 86 + "=="}) != record["hash"]


def test_without_keys_the_chain_holds_and_says_that_signatures_were_not_checked():
    verified = verify(SIGNED)
    assert verified.intact
    assert "were not checked" in verified.notes[0].text
    assert not verified.signatures.checked


def test_every_bit_of_a_signed_log_counts_with_and_without_the_key(public):
    content = b"".join(log((1, ONE))[0])
    for given_keys in (None, public(1)):
        for place in range(0, len(content), 3):
            changed = bytearray(content)
            changed[place] ^= 1 << (place % 8)
            assert not verify(split(bytes(changed)), keys=given_keys).intact, place


def test_a_log_from_before_signatures_is_verified_as_it_was():
    lines = list(split(GOLDEN.read_bytes()))
    verified = verify(lines)
    assert (verified.intact, verified.records, verified.terms, verified.notes) == (True, 6, 2, ())
    assert verified.head == "edbeac90c8fdfa1c21748968dc004d07b82f8c9a0e6ce531aed8428b3c5e39c6"
    assert (verified.signatures.signed, verified.signatures.unsigned) == (0, 6)


def strip(lines, number):
    record = json.loads(lines[number])
    position = chain.Position(record["term"], record["sequence"], record["previous"])
    content = {name: value for name, value in record.items() if name not in chain.OWN_FIELDS}
    return [*lines[:number], chain.seal(content, position)[0], *lines[number + 1 :]]


def put_signature(lines, number, **fields):
    """Another signature in a line, with a hash that fits."""
    record = json.loads(lines[number]) | fields
    record = {name: value for name, value in record.items() if value is not None}
    record["hash"] = chain.digest(record)
    return [*lines[:number], chain.canonical(record) + b"\n", *lines[number + 1 :]]


def other_base64(signature):
    """The same bytes, written with bits that decoders ignore."""
    changed = signature[:-3] + chr(ord(signature[-3]) + 1) + "=="
    assert base64.b64decode(changed) == base64.b64decode(signature)
    return changed


LAST = len(SIGNED) - 1
TAMPERED = {
    "signature removed from the last line": (strip(SIGNED, LAST), LAST + 1, "is not signed"),
    "signature removed in the middle": (strip(SIGNED, 2), 3, "is not signed"),
    "only the signature removed": (put_signature(SIGNED, LAST, signature=None), LAST + 1, "a key without a signature"),
    "only the key removed": (put_signature(SIGNED, LAST, signedBy=None), LAST + 1, "a signature without a key"),
    "signature of another line": (
        put_signature(SIGNED, LAST, signature=json.loads(SIGNED[1])["signature"]),
        LAST + 1,
        "does not fit",
    ),
    "signature that is none": (put_signature(SIGNED, LAST, signature="x"), LAST + 1, "malformed"),
    "signature in other base64": (
        put_signature(SIGNED, LAST, signature=other_base64(json.loads(SIGNED[LAST])["signature"])),
        LAST + 1,
        "does not fit",
    ),
    "named as another key": (put_signature(SIGNED, LAST, signedBy="a" * 64), LAST + 1, "none of those given"),
    "all signed by another key": (
        reseal(SIGNED, key(2)),
        1,
        f"this line and the 8 after it are signed by the key {key(2).key}",
    ),
    "all sealed again without signatures": (reseal(SIGNED), 1, "this line and the 8 after it have no signature"),
    "all sealed again with another decision": (reseal(SIGNED, change={"decision": "Allow"}), 1, "no signature"),
    "a term without signatures at the end": (
        SIGNED + term(7, json.loads(SIGNED[-1])["hash"], 2, None)[0],
        LAST + 2,
        "this line and the 2 after it are not signed",
    ),
    "a term of another key at the end": (
        SIGNED + term(7, json.loads(SIGNED[-1])["hash"], 0, key(2))[0],
        LAST + 2,
        "none of those given",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_who_has_no_key_is_seen_at_the_line(public, name):
    lines, line, problem = TAMPERED[name]
    found = findings(lines, keys=public(1))
    assert (line, True) in [(number, problem in text) for number, text in found], found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, LAST), st.integers(0, LAST))
def test_signatures_that_are_swapped_between_lines_do_not_fit(public, one, other):
    lines = SIGNED
    for number, source in ((one, other), (other, one)):
        lines = put_signature(lines, number, signature=json.loads(SIGNED[source])["signature"])
    assert verify(lines, keys=public(1)).intact == (one == other)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, LAST), st.sampled_from(["Allow", "Deny", ""]), st.booleans())
def test_lines_that_are_sealed_again_from_one_on_without_the_key_are_seen(public, start, decision, forge):
    """The head of the Lease is rewritten as well: only signatures tell."""
    forged = list(SIGNED[:start])
    previous = json.loads(SIGNED[start - 1])["hash"] if start else chain.GENESIS
    for line in SIGNED[start:]:
        record = json.loads(line)
        content = {k: v for k, v in record.items() if k not in chain.OWN_FIELDS} | {"decision": decision}
        position = chain.Position(record["term"], record["sequence"], previous)
        written, following = chain.seal(content, position, key(9) if forge else None)
        forged.append(written)
        previous = following.previous
    assert not verify(forged, keys=public(1), head=previous).intact


def test_an_end_that_was_cut_off_is_seen_by_the_head_alone(public):
    """What no signature can know; docs/evidence.md says so."""
    cut = SIGNED[:-2]
    assert verify(cut, keys=public(1)).intact
    assert "cut off" in said(cut, keys=public(1), head=HEAD)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda found: {**found, "hash": json.loads(SIGNED[-3])["hash"]}, "a signature that does not fit"),
        (lambda found: {**found, "sequence": 0}, "a signature that does not fit"),
        (lambda found: {**found, "signedBy": "a" * 64}, "none of those given"),
        (lambda found: {name: value for name, value in found.items() if name != "signature"}, "it was changed"),
        (lambda found: {**found, "hash": "x"}, "it was changed"),
        (lambda found: {**found, "term": 1}, "it was changed"),
        (list, "it was changed"),
    ],
)
def test_a_head_of_the_lease_that_was_rewritten_is_seen(public, change, problem):
    text = json.dumps(change(json.loads(HEAD)))
    assert problem in said(SIGNED, keys=public(1), head=text)


def test_the_signature_of_a_head_is_none_of_a_line_and_the_other_way_round(public):
    for number in range(len(SIGNED)):
        forged = json.dumps(json.loads(HEAD) | {"signature": json.loads(SIGNED[number])["signature"]})
        assert "does not fit" in said(SIGNED, keys=public(1), head=forged)
    lines = put_signature(SIGNED, LAST, signature=json.loads(HEAD)["signature"])
    assert "does not fit" in said(lines, keys=public(1))


def test_lines_from_before_signing_began_are_covered_by_the_first_signed_one(public):
    lines, _ = log((2, None), (1, ONE))
    verified = verify(lines, keys=public(1))
    assert verified.intact
    texts = [note.text for note in verified.notes]
    assert any(f"from here on lines are signed by the key {ONE.key}" in text for text in texts)
    assert any("that of line 4 covers all" in text for text in texts)
    for number in range(3):
        changed = reseal(lines[:3], change={"count": number + 7}) + lines[3:]
        assert not verify(changed, keys=public(1)).intact


def test_lines_that_the_chain_does_not_lead_back_to_are_told_apart(public):
    """Put in between before signing began: the note of a killed process says that nothing rests on them."""
    lines, _ = log((2, None), (1, ONE))
    last = json.loads(lines[2])
    line, _ = chain.seal({"event": "Decided", "decision": "Allow"}, chain.Position(last["term"], 3, last["hash"]), None)
    verified = verify([*lines[:3], line, *lines[3:]], keys=public(1))
    assert any("the operator did not act on them" in note.text and note.line == 4 for note in verified.notes)


def test_lines_that_are_put_where_a_killed_process_left_some_need_a_signature(public):
    lines, _ = log((2, ONE), (1, ONE))
    last = json.loads(lines[2])
    position = chain.Position(last["term"], 3, last["hash"])
    line, _ = chain.seal({"event": "Decided", "decision": "Allow"}, position, None)
    assert verify([*lines[:3], line, *lines[3:]]).findings
    forged, _ = chain.seal({"event": "Decided", "decision": "Allow"}, position, key(2))
    assert "none of those given" in said([*lines[:3], forged, *lines[3:]], keys=public(1))


def test_lines_before_the_file_could_hide_that_signing_had_begun(public):
    """A file that is continued, or begins in the middle, has no first line that is known to be the first of all."""
    lines, _ = log((2, None), (1, ONE))
    assert "give the files before this one" in said(lines, keys=public(1), after=chain.GENESIS)
    middle = term(1, "b" * 64, 1, None)[0]
    assert "give the files before this one" in said(middle, keys=public(1))


def test_signing_that_was_turned_off_and_on_again_is_seen(public):
    lines, _ = log((1, ONE), (1, None), (1, ONE))
    assert findings(lines, keys=public(1)) == [(3, "this line and the 1 after it are not signed")]
    notes = [(note.line, note.text) for note in verify(lines).notes]
    assert (3, f"from here on lines are not signed; before they were signed by the key {ONE.key}") in notes
    assert (5, f"from here on lines are signed by the key {ONE.key} again; before they were not signed") in notes


def test_another_key_is_a_note_and_needs_its_public_key(public):
    lines, left = log((1, ONE), (1, key(2)))
    verified = verify(lines, keys=public(1, 2), head=left)
    assert verified.intact
    assert [note.line for note in verified.notes] == [3]
    assert key(2).key in verified.notes[0].text
    assert findings(lines, keys=public(1))[0][0] == 3
    assert findings(lines, keys=public(2))[0][0] == 1


def test_a_key_that_changes_within_a_term_is_seen_even_without_keys(public):
    first, _ = log((1, ONE))
    line, _ = chain.seal({"event": "Decided"}, chain.Position("operator-0/0", 2, json.loads(first[-1])["hash"]), key(2))
    assert "of the same term" in said([*first, line], keys=public(1, 2))
    assert "of the same term" in said([*first, line])
    assert "of the same term" in said(strip(SIGNED, LAST))


def test_a_record_cannot_set_the_fields_of_a_signature():
    for name in ("signedBy", "signature"):
        with pytest.raises(ValueError, match=name):
            chain.seal({name: "x"}, chain.Position("a/1"), ONE)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "x" * 64, "A" * 64, "[" * 5000, '{"hash": 1}', "a" * 63 + "\n"]
)
def test_what_is_no_head_is_none(text):
    assert head.read(text) is None


def test_a_head_reads_back():
    assert head.read("a" * 64) == head.Head("a" * 64)
    assert head.read(HEAD).hash == json.loads(SIGNED[-1])["hash"]


def test_signing_a_line_costs_well_under_a_millisecond():
    record = json.loads(list(split(GOLDEN.read_bytes()))[1])
    content = {name: value for name, value in record.items() if name not in chain.OWN_FIELDS}

    def seconds(signer):
        started = time.process_time()
        for number in range(200):
            _, following = chain.seal(content, chain.Position("a/1", number), signer)
            head.write(following, signer)
        return (time.process_time() - started) / 200

    cost = min(seconds(ONE) for _ in range(5)) - min(seconds(None) for _ in range(5))
    print(f"signing line and head: {cost * 1e6:.0f} µs for {len(chain.canonical(content)):,} bytes")
    assert cost < 0.001
