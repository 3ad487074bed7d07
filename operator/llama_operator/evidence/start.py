"""Prepares a term of evidence: where its lines go, and which line its first one follows. Called by `process`."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llama_operator.evidence import head
from llama_operator.evidence.chain import GENESIS
from llama_operator.evidence.log import EvidenceError
from llama_operator.evidence.pem import KeyFileError
from llama_operator.evidence.sink import EvidenceFile, EvidenceStream

if TYPE_CHECKING:
    from llama_operator.evidence.keys import SigningKey

_LOG = logging.getLogger(__name__)


def sink(path: Path | None) -> EvidenceFile | EvidenceStream:
    """Return the file at `path`, or standard output if there is none."""
    return EvidenceStream(sys.stdout.buffer) if path is None else EvidenceFile(path)


def signer(path: Path | None) -> "SigningKey | None":
    """What signs lines: the key in the file at `path`, read once; None without one.

    Raises:
        KeyFileError: If it cannot sign; the message names the setting.
    """
    if path is None:
        return None
    setting = "--evidence-signing-key (or LLAMA_OPERATOR_EVIDENCE_SIGNING_KEY)"
    try:
        # Only here: the library takes a tenth of a second to load.
        from llama_operator.evidence import keys  # noqa: PLC0415
    except ImportError as error:
        raise KeyFileError(f"{setting}: needs the library cryptography, which cannot be loaded: {error}") from None
    try:
        key = keys.signing_key(path)
    except KeyFileError as error:
        raise KeyFileError(f"{setting}: {path} {error}") from None
    _LOG.info("signs the evidence with the key %s", key.key)
    return key


def previous(target: EvidenceFile | EvidenceStream, anchored: str) -> str:
    """Return the hash of the line that the first line of the new term follows.

    Args:
        target: Where lines go; a line that was cut off at the end of a file is ended.
        anchored: What the Lease has, as `evidence.head` writes it, or empty; it takes precedence over the file, which others
            may have changed. A signature is not checked: no key of the past is at hand, and verification sees who signed.

    Raises:
        EvidenceError: If the file cannot be read or written.
    """
    written = GENESIS
    if isinstance(target, EvidenceFile):
        try:
            if target.repair():
                _LOG.warning(
                    "the last line of the evidence was cut off; it stays as it is, and the chain continues after it"
                )
            written = target.head()
        except OSError as error:
            raise EvidenceError(f"the evidence file cannot be used: {error}; see --evidence-file") from error
    if not anchored:
        return written
    end = head.read(anchored)
    if end is None:
        _LOG.warning(
            "the Lease has %r instead of the hash of the last line of evidence; the chain continues from the log",
            anchored[:80],
        )
        return written
    return end.hash
