"""Ed25519 keys from PEM files: the operator's own, which signs evidence, and public ones, which verify it.

Effects: reads files. Called by `evidence.start` and `cli.license.verify`, each only if keys are asked for: `cryptography`
takes a tenth of a second to load, and a wheel for this machine.
"""

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from llama_operator.evidence import pem
from llama_operator.evidence.pem import KeyFileError

_NAMES: Final = {"RSA": "an RSA", "DSA": "a DSA", "EC": "an EC", "Ed448": "an Ed448", "X25519": "an X25519"}
"""Other kinds of keys by the beginning of their classes' names."""


class SigningKey:
    """A private key. Never print or pickle it; `key` is what may be shown.

    Args:
        private: The key.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = fingerprint(private.public_key())
        """Fingerprint of its public key."""

    def sign(self, message: bytes) -> str:
        """Signature of `message`, in base64."""
        return base64.b64encode(self._private.sign(message)).decode("ascii")


def fingerprint(public: Ed25519PublicKey) -> str:
    """SHA-256 of the public key as DER, 64 hexadecimal digits; `openssl pkey -pubin -outform DER | sha256sum` tells the same."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def signing_key(path: Path) -> SigningKey:
    """Read the private key in the file at `path`.

    Raises:
        KeyFileError: If it is none that can sign.
    """
    der = pem.private_key(_read(path, "; is the Secret mounted, and is this the name of its key?"))
    try:
        private = load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Its own message stays away: it may quote what it read.
        raise KeyFileError(f"holds no PKCS8 key that can be read; {pem.MAKE_PRIVATE}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"holds {_kind(private)} key, and only Ed25519 is used; {pem.MAKE_PRIVATE}")
    return SigningKey(private)


def public_keys(path: Path) -> dict[str, Callable[[bytes, str], bool]]:
    """Read the public keys in the file at `path`.

    Returns:
        By fingerprint what says whether a signature in base64 fits a message.

    Raises:
        KeyFileError: If it holds anything but public keys of Ed25519.
    """
    checks: dict[str, Callable[[bytes, str], bool]] = {}
    for der in pem.public_keys(_read(path)):
        try:
            public = load_der_public_key(der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFileError(f"holds no public key that can be read; {pem.MAKE_PUBLIC}") from None
        if not isinstance(public, Ed25519PublicKey):
            raise KeyFileError(f"holds {_kind(public)} key, and only Ed25519 is used; {pem.MAKE_PUBLIC}")
        checks[fingerprint(public)] = _verifies(public)
    return checks


def _verifies(public: Ed25519PublicKey) -> Callable[[bytes, str], bool]:
    def fits(message: bytes, signature: str) -> bool:
        try:
            decoded = base64.b64decode(signature, validate=True)
            public.verify(decoded, message)
        except (InvalidSignature, ValueError):
            return False
        # One way to write a signature: otherwise a person without the key could make another line of the last one.
        return base64.b64encode(decoded).decode("ascii") == signature

    return fits


def _kind(key: object) -> str:
    name = type(key).__name__
    return next((said for start, said in _NAMES.items() if name.startswith(start)), "another kind of")


def _read(path: Path, if_missing: str = "") -> bytes:
    """The content, at most a byte more than a key file may have; one read, so that a file that is swapped is never mixed."""
    try:
        with path.open("rb") as file:
            return file.read(pem.LARGEST_FILE + 1)
    except FileNotFoundError:
        raise KeyFileError(f"does not exist{if_missing}") from None
    except IsADirectoryError:
        raise KeyFileError("is a folder; name the file in it") from None
    except PermissionError:
        raise KeyFileError(
            f"may not be read by user {os.geteuid()}; let its owner or group be one of this process, as fsGroup of a pod does"
        ) from None
    except OSError as error:
        raise KeyFileError(f"cannot be read: {error.strerror}") from None
