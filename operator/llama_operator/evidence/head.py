"""The end of the evidence as one text: the hash of the last line, and if lines are signed, who says so. Pure.

Called by `evidence.log`, which leaves it in the Lease, by `evidence.start`, which finds it there, and by `evidence.verify`.
"""

import json
import re
from dataclasses import dataclass
from typing import Final

from llama_operator.evidence.chain import FORMAT, Json, Position, Signer, canonical, signed, signed_content

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FIELDS: Final = {"evidence", "hash", "sequence", "signature", "signedBy", "term"}


@dataclass(frozen=True, slots=True)
class Head:
    """The last line.

    Attributes:
        hash: Its hash.
        signed_by: Fingerprint of the key that signed this head; empty if none did.
        message: What was signed.
        signature: Of the message, in base64.
    """

    hash: str
    signed_by: str = ""
    message: bytes = b""
    signature: str = ""


def write(position: Position, signer: Signer | None) -> str:
    """The text for the line before `position`: its hash, or with a `signer` JSON that says and signs which line it is."""
    if signer is None:
        return position.previous
    content: dict[str, Json] = {
        "evidence": FORMAT,
        "term": position.term,
        "sequence": position.sequence - 1,
        "hash": position.previous,
    }
    return canonical(signed(content, signer)).decode("ascii")


def read(text: str) -> Head | None:
    """Read what `write` wrote; None for anything else. Says nothing about whether the signature fits."""
    if _HASH.fullmatch(text):
        return Head(text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or set(content) != _FIELDS or content["evidence"] != FORMAT:
        return None
    texts = [content[name] for name in ("hash", "signedBy", "signature", "term")]
    if not all(isinstance(value, str) for value in texts) or not _HASH.fullmatch(content["hash"]):
        return None
    return Head(content["hash"], content["signedBy"], signed_content(content), content["signature"])
