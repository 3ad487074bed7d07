"""A hash chain over lines of JSON: every line has the hash of the line before it, and a hash of itself.

Pure. Called by `evidence.log`, which writes lines, and by `evidence.verify`, which reads them. docs/evidence.md documents
the format, so that others can verify it with their own programs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

Json: TypeAlias = "str | int | list[Json] | dict[str, Json] | None"
"""What a line may hold. No fractions: they can be written in several ways."""

FORMAT: Final = "llama-operator.io/license-evidence/v1"
"""Value of `evidence` in every line: the mark by which log shippers select them, and the version of the format."""
GENESIS: Final = "0" * 64
"""Hash of the line before the first line of the first term."""
LONGEST_LINE: Final = 262_144
"""Upper limit on the bytes of a line, its end included."""

OWN_FIELDS: Final = ("evidence", "hash", "previous", "sequence", "signature", "signedBy", "term")
"""Fields that the chain adds to the content of a line."""


class Signer(Protocol):
    """Signs lines."""

    @property
    def key(self) -> str:
        """Fingerprint of the public key."""
        ...

    def sign(self, message: bytes) -> str:
        """Signature of `message`, in base64."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next line goes.

    Attributes:
        term: Id of the term: one process, as long as it leads.
        sequence: Number of the next line in the term; the first is 0.
        previous: Hash of the line before it, 64 hexadecimal digits. For the first line of a term it is the last known hash of
            the term before, or `GENESIS` if there was none.
    """

    term: str
    sequence: int = 0
    previous: str = GENESIS


def canonical(content: Mapping[str, Json]) -> bytes:
    """Return the one way to write `content`: sorted keys, no spaces, only ASCII (other characters as JSON escapes, in small letters)."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode(
        "ascii"
    )


def digest(content: Mapping[str, Json]) -> str:
    """Return the SHA-256 of the canonical form of everything but the field `hash`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical({key: value for key, value in content.items() if key != "hash"})).hexdigest()


def signed(content: Mapping[str, Json], signer: Signer) -> dict[str, Json]:
    """`content` with the key that signs it and the signature over both."""
    named: dict[str, Json] = {**content, "signedBy": signer.key}
    return {**named, "signature": signer.sign(canonical(named))}


def signed_content(content: Mapping[str, Json]) -> bytes:
    """What the signature of `content` is over: the canonical form of all else."""
    return canonical({key: value for key, value in content.items() if key != "signature"})


def seal(content: Mapping[str, Json], position: Position, signer: Signer | None = None) -> tuple[bytes, Position]:
    """Write `content` as the line at `position`.

    Args:
        content: The record.
        position: Where it goes.
        signer: Signs it; None: it gets no signature. The hash covers the signature, so it cannot be taken off unseen.

    Returns:
        The line with its end, and the position of the next line.

    Raises:
        ValueError: If `content` uses a field of the chain, or the line is too long.
    """
    if taken := sorted(set(OWN_FIELDS) & set(content)):
        raise ValueError(f"{', '.join(taken)}: fields of the chain, not of its content")
    line: dict[str, Json] = {
        **content,
        "evidence": FORMAT,
        "term": position.term,
        "sequence": position.sequence,
        "previous": position.previous,
    }
    if signer is not None:
        line = signed(line, signer)
    own = digest(line)
    written = canonical({**line, "hash": own}) + b"\n"
    if len(written) > LONGEST_LINE:
        raise ValueError(f"a line of {len(written):,} bytes is longer than {LONGEST_LINE:,}")
    return written, replace(position, sequence=position.sequence + 1, previous=own)
