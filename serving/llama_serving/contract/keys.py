"""API keys: their text, and what is kept of them. `kubectl llama key` makes them, `llama_serving.door` checks them.

A key is `llm_<id>_<secret>_<check>`. The id finds the row, the secret has 256 random bits, the check (CRC-32) tells a typo
from a key that nobody knows. Kept is only a hash: SHA-256 over the id, which salts it, and the secret. A fast hash is
enough for 256 random bits, and a slow one would let strangers spend CPU. One key is one entry of a ConfigMap or Secret,
named by its id, so two people who make keys at once do not overwrite each other.
"""

import base64
import hashlib
import hmac
import re
import zlib
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from llama_serving.contract.frozen import Frozen

PREFIX: Final = "llm"
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32
_KEY = re.compile(r"llm_([a-z2-7]{16})_([a-z2-7]{52})_([a-z2-7]{7})")
MOST_ENTRY_BYTES: Final = 8 * 1024
"""Longest value of an entry; the door refuses a longer one unread."""
KEY_ID_PATTERN: Final = r"^[a-z2-7]{16}$"

TenantName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
"""Name of a tenant: who pays for a request, and whose limits count."""


class KeyEntry(Frozen):
    """What is kept of a key, as JSON: the value of the entry that the key's id names."""

    tenant: TenantName
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """`hash_of` the key."""
    models: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(default=(), max_length=64)
    """Names on the endpoint, of models and adapters, that the key may ask for; empty for all."""
    expires: AwareDatetime | None = None
    """When the key ends, with its zone; None for never."""
    created: AwareDatetime | None = None
    note: str = Field(default="", max_length=256)
    """Words of who made it."""


class ApiKey(Frozen):
    """A key in the form that its owner keeps. Never in a log, a status or an event."""

    id: str = Field(pattern=KEY_ID_PATTERN)
    secret: str = Field(repr=False)

    @property
    def text(self) -> str:
        """The key as clients send it."""
        return f"{PREFIX}_{self.id}_{self.secret}_{_check(self.id, self.secret)}"

    @property
    def sha256(self) -> str:
        """The hash that is kept."""
        return hash_of(self.id, self.secret)


def make(random_bytes: bytes) -> ApiKey:
    """Make a key.

    Args:
        random_bytes: 42 bytes from a source that nobody can guess.
    """
    if len(random_bytes) != RANDOM_BYTES:
        raise ValueError(f"a key needs {RANDOM_BYTES} random bytes")
    return ApiKey(id=_base32(random_bytes[:_ID_BYTES]), secret=_base32(random_bytes[_ID_BYTES:]))


RANDOM_BYTES: Final = _ID_BYTES + _SECRET_BYTES


def parse(text: str) -> ApiKey | None:
    """Read a key; None if the text is none, or has a typo."""
    match = _KEY.fullmatch(text)
    if match is None or _check(match[1], match[2]) != match[3]:
        return None
    return ApiKey(id=match[1], secret=match[2])


def is_key_id(text: str) -> bool:
    """Whether `text` can name a key: other entries of the object with the keys mean nothing."""
    return re.fullmatch(KEY_ID_PATTERN, text) is not None


def hash_of(key_id: str, secret: str) -> str:
    """SHA-256 of the id, a NUL and the secret, in hex."""
    return hashlib.sha256(f"{key_id}\0{secret}".encode()).hexdigest()


def is_key_of(key: ApiKey, entry: KeyEntry) -> bool:
    """Whether `entry` was made for `key`; takes as long for a wrong key as for the right one."""
    return hmac.compare_digest(key.sha256, entry.sha256)


def _check(key_id: str, secret: str) -> str:
    return _base32(zlib.crc32(f"{key_id}_{secret}".encode()).to_bytes(4, "big"))


def _base32(value: bytes) -> str:
    return base64.b32encode(value).decode().rstrip("=").lower()
