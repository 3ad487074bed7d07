"""Key files as people really mount them: what can be read is read, and anything else says what it is and what to do."""

import base64
import os
import pickle
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from llama_operator.evidence import keys, start
from llama_operator.evidence.pem import KeyFileError

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
DER = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
BODY = PEM.splitlines()[1]


def private(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def armored(label, body=b"AAAA"):
    return b"-----BEGIN " + label + b"-----\n" + body + b"\n-----END " + label + b"-----\n"


def version_2(tail):
    body = b"\x02\x01\x01" + DER[5:] + tail + KEY.public_key().public_bytes_raw()
    return armored(b"PRIVATE KEY", base64.b64encode(b"\x30" + bytes([len(body)]) + body))


READ = {
    "as openssl writes it": PEM,
    "Windows line ends": PEM.replace(b"\n", b"\r\n"),
    "old Macintosh line ends": PEM.replace(b"\n", b"\r"),
    "spaces before and after": b"\n  " + PEM.replace(b"\n", b"  \n  ") + b"\n\n",
    "byte order mark": b"\xef\xbb\xbf" + PEM,
    "no line end at the end": PEM.rstrip(),
    "one line, as folded YAML": PEM.replace(b"\n", b" "),
    "one line without spaces": PEM.replace(b"\n", b""),
    "line ends as two characters": PEM.replace(b"\n", b"\\n"),
    "Windows line ends as four characters": PEM.replace(b"\n", b"\\r\\n"),
    "words around it": b"Key of the platform team, made by Zo\xc3\xab\n"
    + PEM
    + b"ED25519 Private-Key:\npriv:\n    49:a3\n",
    "its public key beside it": PUBLIC + PEM,
}

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PASSPHRASE = BestAvailableEncryption(b"secret")
REFUSED = {
    "empty": (b"", "is empty"),
    "blank": (b" \r\n\n", "is empty"),
    "passphrase": (private(KEY, encryption=PASSPHRASE), "passphrase"),
    "passphrase of old": (private(RSA, PrivateFormat.TraditionalOpenSSL, PASSPHRASE), "passphrase"),
    "cosign": (armored(b"ENCRYPTED COSIGN PRIVATE KEY"), "passphrase"),
    "ssh": (private(KEY, PrivateFormat.OpenSSH), "ssh-keygen"),
    "ssh public": (KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "ssh-keygen"),
    "rsa": (private(RSA), "an RSA key, and only Ed25519"),
    "rsa of old": (private(RSA, PrivateFormat.TraditionalOpenSSL), "an RSA key, and only Ed25519"),
    "ec": (private(EC), "an EC key, and only Ed25519"),
    "ec of old": (
        armored(b"EC PARAMETERS") + private(EC, PrivateFormat.TraditionalOpenSSL),
        "an EC key, and only Ed25519",
    ),
    "dsa": (private(dsa.generate_private_key(2048)), "a DSA key, and only Ed25519"),
    "ed448": (private(ed448.Ed448PrivateKey.generate()), "an Ed448 key, and only Ed25519"),
    "x25519": (private(x25519.X25519PrivateKey.generate()), "an X25519 key, and only Ed25519"),
    "public": (PUBLIC, "only a public key"),
    "certificate": (armored(b"CERTIFICATE"), "a certificate and not a key"),
    "pgp": (armored(b"PGP PRIVATE KEY BLOCK"), "PGP PRIVATE KEY BLOCK"),
    "der": (DER, "openssl pkey -inform DER"),
    "encoded twice": (base64.b64encode(PEM), "once too often"),
    "utf-16": (PEM.decode().encode("utf-16"), "UTF-16"),
    "utf-16 without mark": (PEM.decode().encode("utf-16-le"), "UTF-16"),
    "two keys": (PEM + PEM, "2 keys"),
    "cut": (PEM[:60], "cut off"),
    "not base64": (PEM.replace(BODY[:3], b"M*4"), "not base64"),
    "short": (armored(b"PRIVATE KEY", BODY[:-4]), "no PKCS8 key that can be read"),
    "other bytes": (armored(b"PRIVATE KEY", base64.b64encode(bytes(48))), "no PKCS8 key that can be read"),
    "ring": (version_2(b"\xa1\x23\x03\x21\x00"), "version 2"),
    "RFC 8410": (version_2(b"\x81\x21\x00"), "version 2"),
    "raw seed": (b"k" * 32, "no PEM block"),
    "seed in base64": (base64.b64encode(b"k" * 32), "no PEM block"),
    "jwk": (b'{"kty":"OKP","crv":"Ed25519"}', "no PEM block"),
    "too long": (PEM + b"\0" * 70_000, "longer than"),
}


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", READ)
def test_a_key_is_read_however_it_was_copied(file, name):
    key = keys.signing_key(file(READ[name]))
    assert key.key == keys.fingerprint(KEY.public_key())
    assert base64.b64decode(key.sign(b"message")) == KEY.sign(b"message")


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_file_says_what_it_is_and_quotes_nothing_of_it(file, name):
    content, said = REFUSED[name]
    with pytest.raises(KeyFileError) as caught:
        keys.signing_key(file(content))
    message = str(caught.value)
    assert said in message
    assert caught.value.__cause__ is None
    # The label of a block may be named, what stands in it never.
    text = "".join(line for line in content.decode("latin-1").splitlines() if not line.startswith("--"))
    for at in range(len(text) - 11):
        assert text[at : at + 12] not in message


def test_the_cure_is_one_that_works(file, tmp_path):
    """Every message with a command line, run as it stands, by real openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")

    def run(line):
        subprocess.run(["/bin/sh", "-ec", line], cwd=tmp_path, check=True, capture_output=True)

    run("openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem")
    run("openssl pkey -pubin -in public.pem -outform DER | sha256sum | cut -c 1-64 > fingerprint")
    key = keys.signing_key(tmp_path / "key.pem")
    public = keys.public_keys(tmp_path / "public.pem")
    assert [key.key] == list(public)
    assert (tmp_path / "fingerprint").read_text().strip() == key.key
    message, signature = b'{"a":1}', key.sign(b'{"a":1}')
    assert public[key.key](message, signature)
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    run("openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in message -sigfile signature")
    # The two that rewrite a key.
    run("openssl pkey -in key.pem -aes256 -passout pass:x -out locked.pem")
    run("openssl pkey -in locked.pem -passin pass:x -out key2.pem")
    run("openssl pkey -in key.pem -outform DER -out key.der; openssl pkey -inform DER -in key.der -out key3.pem")
    assert {keys.signing_key(tmp_path / name).key for name in ("key2.pem", "key3.pem")} == {key.key}


def test_public_keys_may_stand_in_one_file(file):
    other = Ed25519PrivateKey.generate().public_key()
    both = PUBLIC + other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert list(keys.public_keys(file(both))) == [keys.fingerprint(KEY.public_key()), keys.fingerprint(other)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PEM, "holds a private key"),
        (PUBLIC + PEM, "holds a private key"),
        (armored(b"CERTIFICATE"), "certificate"),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "an RSA key"),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1), "an RSA key"),
        (armored(b"PUBLIC KEY"), "no public key that can be read"),
        (KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "ssh-keygen"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_public_key_is_refused_with_the_line_that_makes_one(file, content, said):
    with pytest.raises(KeyFileError, match=said) as caught:
        keys.public_keys(file(content))
    assert "openssl pkey -in key.pem -pubout" in str(caught.value)


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(KeyFileError, match="is the Secret mounted"):
        keys.signing_key(tmp_path / "none.pem")
    with pytest.raises(KeyFileError, match="name the file in it"):
        keys.signing_key(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.signing_key(loop)


def test_a_file_of_another_user_names_the_user_that_may_not_read_it(file):
    path, user = file(PEM), os.geteuid()
    path.chmod(0)
    if user == 0:
        os.seteuid(65532)
    try:
        with pytest.raises(KeyFileError, match=f"user {os.geteuid()}"):
            keys.signing_key(path)
    finally:
        os.seteuid(user)


def test_a_key_that_the_kubelet_swaps_is_read_whole_and_kept(tmp_path):
    """The kubelet writes another folder and moves a link; what signs is the key of the start until the next one."""
    other = private(Ed25519PrivateKey.generate())
    for name, content in (("..1", PEM), ("..2", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key.pem").write_bytes(content)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key.pem").symlink_to("..data/key.pem")
    key = keys.signing_key(tmp_path / "key.pem")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    shutil.rmtree(tmp_path / "..1")
    assert base64.b64decode(key.sign(b"x")) == KEY.sign(b"x")
    assert keys.signing_key(tmp_path / "key.pem").key != key.key


def test_a_key_shows_its_fingerprint_and_nothing_else(file, caplog):
    caplog.set_level("DEBUG")
    key = start.signer(file(PEM))
    assert key.key in caplog.text
    seed = KEY.private_bytes_raw()
    for shown in (repr(key), str(key), caplog.text):
        for secret in (BODY.decode()[-20:], seed.hex(), base64.b64encode(seed).decode()):
            assert secret not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_the_setting_and_the_file_are_named_and_without_it_nothing_is_signed(tmp_path):
    assert start.signer(None) is None
    with pytest.raises(KeyFileError) as caught:
        start.signer(tmp_path / "none.pem")
    assert str(caught.value).startswith(
        f"--evidence-signing-key (or LLAMA_OPERATOR_EVIDENCE_SIGNING_KEY): {tmp_path / 'none.pem'} does not exist"
    )
