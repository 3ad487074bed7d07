"""`kubectl llama license verify --public-key`: which lines are signed, by which key, and what is said where they are not."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from llama_operator.cli.main import main
from llama_operator.evidence import chain, head, keys


@pytest.fixture
def call(capsys):
    def run(*arguments):
        code = main(["license", "verify", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def logged(tmp_path):
    """A term of one key, one of another, and one without; the files of both public keys; what the Lease has of each."""
    lines, heads, files, previous = [], [], [], chain.GENESIS
    for number, seed in enumerate((1, 2, None)):
        private = None if seed is None else Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        signer = None if private is None else keys.SigningKey(private)
        position = chain.Position(f"operator/{number}", previous=previous)
        for event in ("TermStarted", "Decided"):
            line, position = chain.seal({"event": event, "time": "2026-03-02T09:30:00Z"}, position, signer)
            lines.append(line)
        previous = position.previous
        heads.append(head.write(position, signer))
        if private is not None:
            files.append(tmp_path / f"public-{seed}.pem")
            public = private.public_key()
            files[-1].write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return lines, heads, files


def write(tmp_path, lines):
    path = tmp_path / "evidence.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def test_signed_lines_hold_with_their_keys_and_the_head_as_the_lease_has_it(call, logged, tmp_path):
    lines, heads, (one, two) = logged
    path = write(tmp_path, lines[:4])
    code, out, _ = call(path, "--public-key", one, "--public-key", two, "--head", heads[1])
    assert code == 0
    assert "intact: 4 of 4 lines hold" in out
    assert f"signed: 2 by {json.loads(lines[0])['signedBy']}, 2 by {json.loads(lines[2])['signedBy']}" in out


def test_json_counts_signatures_and_names_keys(call, logged, tmp_path):
    lines, _, (one, _) = logged
    code, out, _ = call(write(tmp_path, lines), "--public-key", one, "-o", "json")
    document = json.loads(out)
    assert code == 6
    assert document["signatures"] == {
        "checked": True,
        "signed": 2,
        "unsigned": 2,
        "keys": [
            {"key": json.loads(lines[0])["signedBy"], "lines": 2, "given": True},
            {"key": json.loads(lines[2])["signedBy"], "lines": 2, "given": False},
        ],
    }
    assert [found["line"] for found in document["findings"]] == [3, 5]
    code, out, _ = call(write(tmp_path, lines), "-o", "json")
    assert code == 0
    assert json.loads(out)["signatures"]["checked"] is False


def test_each_kind_of_line_is_named_with_its_place(call, logged, tmp_path):
    lines, _, (one, _) = logged
    path = write(tmp_path, lines)
    code, out, _ = call(path, "--public-key", one)
    assert code == 6
    assert f"{path}:3: this line and the 1 after it are signed by the key {json.loads(lines[2])['signedBy']}" in out
    assert f"{path}:5: this line and the 1 after it are not signed" in out
    assert "not intact" in out


def test_a_head_of_the_lease_that_was_changed_is_a_finding_and_garbage_a_wrong_argument(call, logged, tmp_path):
    lines, heads, (one, two) = logged
    path = write(tmp_path, lines[:4])
    changed = json.dumps(json.loads(heads[1]) | {"sequence": 7})
    code, out, _ = call(path, "--public-key", one, "--public-key", two, "--head", changed)
    assert code == 6
    assert "the given head has a signature that does not fit" in out
    assert call(path, "--head", '{"hash": 1}')[0] == 6
    assert call(path, "--head", heads[1] + "\n")[0] == 0
    code, _, err = call(path, "--head", "")
    assert code == 2
    assert "64 hexadecimal digits" in err


def test_a_wrong_key_file_is_a_wrong_argument_that_names_it(call, logged, tmp_path):
    path = write(tmp_path, logged[0])
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    wrong = tmp_path / "key.pem"
    wrong.write_bytes(private)
    for file, said in (
        (wrong, "holds a private key"),
        (tmp_path / "none.pem", "does not exist"),
        (path, "no PEM block"),
    ):
        code, out, err = call(path, "--public-key", file)
        assert code == 2
        assert str(file) in err
        assert said in err
        assert private.decode().splitlines()[1][-20:] not in out + err


def test_rotated_files_are_verified_one_by_one_with_the_key_of_their_time(call, logged, tmp_path):
    lines, _, (one, two) = logged
    older = tmp_path / "evidence.jsonl.1"
    older.write_bytes(b"".join(lines[:2]))
    path = write(tmp_path, lines[2:4])
    assert call(older, "--public-key", one)[0] == 0
    assert call(path, "--public-key", two, "--after", json.loads(lines[1])["hash"])[0] == 0
    assert call(path, "--public-key", one, "--after", json.loads(lines[1])["hash"])[0] == 6
