"""What a key file holds: its PEM blocks, and in plain words why it is none that we can use. Pure; called by `evidence.keys`.

People mount the wrong file far more often than they lose a key, so every usual mistake has a sentence of its own. No message
quotes what the file holds.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from llama_operator.errors import LlamaOperatorError

LARGEST_FILE: Final = 65_536
"""Bytes; a key has some hundred."""
MAKE_PRIVATE: Final = "make a key with `openssl genpkey -algorithm ed25519 -out key.pem`"
MAKE_PUBLIC: Final = "take the public key with `openssl pkey -in key.pem -pubout -out public.pem`"

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PRIVATE: Final = "PRIVATE KEY"
_PUBLIC: Final = "PUBLIC KEY"
_VERSION_2: Final = b"\x02\x01\x01"
_OTHERS: Final = {
    "OPENSSH PRIVATE KEY": "holds a key in the format of ssh-keygen",
    "RSA PRIVATE KEY": "holds an RSA key, and only Ed25519 is used",
    "EC PRIVATE KEY": "holds an EC key, and only Ed25519 is used",
    "DSA PRIVATE KEY": "holds a DSA key, and only Ed25519 is used",
    "RSA PUBLIC KEY": "holds an RSA key, and only Ed25519 is used",
    "CERTIFICATE": "holds a certificate and not a key",
}


class KeyFileError(LlamaOperatorError):
    """A key file cannot be used; the message says why and what to do, and quotes nothing of its content."""


@dataclass(frozen=True, slots=True)
class _Block:
    label: str
    body: str


def private_key(content: bytes) -> bytes:
    """The one private key of a file, as DER of PKCS8.

    Raises:
        KeyFileError: If there is none, or more than one.
    """
    # Parameters of a curve stand before the key that old programs write.
    blocks = [block for block in _blocks(content, MAKE_PRIVATE) if block.label not in {_PUBLIC, "EC PARAMETERS"}]
    if not blocks:
        raise KeyFileError(f"holds only a public key, and signing needs the private one; {MAKE_PRIVATE}")
    if len(blocks) > 1:
        raise KeyFileError(f"holds {len(blocks)} keys or certificates; keep the one private key that signs")
    der = _decode(blocks[0], _PRIVATE, MAKE_PRIVATE)
    if der[2:5] == _VERSION_2:
        raise KeyFileError(f"is PKCS8 of version 2, as ring and others write it, and version 1 is due; {MAKE_PRIVATE}")
    return der


def public_keys(content: bytes) -> list[bytes]:
    """All public keys of a file, as DER of SubjectPublicKeyInfo; at least one.

    Raises:
        KeyFileError: If there is none, or something else.
    """
    blocks = _blocks(content, MAKE_PUBLIC)
    if any(block.label == _PRIVATE for block in blocks):
        raise KeyFileError(f"holds a private key, which verification does not need and should not see; {MAKE_PUBLIC}")
    return [_decode(block, _PUBLIC, MAKE_PUBLIC) for block in blocks]


def _blocks(content: bytes, cure: str) -> list[_Block]:
    if problem := _no_text(content):
        raise KeyFileError(f"{problem}; {cure}")
    # Line ends of any system, none at the end, indented, or written as \n by templates: none changes what it says.
    text = content.decode("utf-8", "replace").replace("\\r", "").replace("\\n", "\n")
    blocks = [_Block(*match.groups()) for match in _BLOCK.finditer(text)]
    if not blocks:
        raise KeyFileError(f"{_no_block(text)}; {cure}")
    return blocks


def _no_text(content: bytes) -> str:
    if not content.strip():
        return "is empty"
    if len(content) > LARGEST_FILE:
        return f"is longer than {LARGEST_FILE:,} bytes, so it is no key"
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"-\0-\0" in content:
        return "is UTF-16 text, which `>` of PowerShell writes; let openssl write the file with -out"
    if content[:1] == b"\x30" and b"-----BEGIN" not in content:
        return (
            "is DER or another binary form, and not PEM: `openssl pkey -inform DER -in FILE -out key.pem` rewrites it"
        )
    return ""


def _no_block(text: str) -> str:
    start = text.strip()
    if start.startswith("LS0tLS1"):
        return (
            "is PEM in base64, encoded once too often: in `data` of a Secret values are base64 once; "
            "`kubectl create secret generic NAME --from-file=key.pem` does that by itself"
        )
    if "-----BEGIN " in text:
        return "is cut off or damaged: a line `-----BEGIN …-----` has no `-----END …-----` that fits"
    if start.startswith("ssh-"):
        return "holds a public key in the format of ssh-keygen"
    return "holds no PEM block (`-----BEGIN …-----`)"


def _decode(block: _Block, wanted: str, cure: str) -> bytes:
    if block.label.startswith("ENCRYPTED ") or "Proc-Type:" in block.body:
        raise KeyFileError(
            "is protected by a passphrase, which cannot be entered here: write it without one with "
            "`openssl pkey -in FILE -out key.pem`, and protect it by the rights on the Secret"
        )
    if block.label != wanted:
        raise KeyFileError(f"{_OTHERS.get(block.label, f'holds a {block.label} where a {wanted} is due')}; {cure}")
    try:
        return base64.b64decode("".join(_words(block.body)), validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileError(f"is damaged: what stands in its PEM block is not base64; {cure}") from None


def _words(body: str) -> Iterator[str]:
    """The base64 of a body without spaces and without headers (`Name: value`)."""
    for line in body.splitlines():
        if ":" not in line:
            yield from line.split()
