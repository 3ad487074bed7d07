"""Prepares a term of evidence: where its lines go, and which line its first one follows. Called by `process`."""

import logging
import re
import sys
from pathlib import Path
from typing import Final

from llama_operator.evidence.chain import GENESIS
from llama_operator.evidence.log import EvidenceError
from llama_operator.evidence.sink import EvidenceFile, EvidenceStream

_LOG = logging.getLogger(__name__)
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def sink(path: Path | None) -> EvidenceFile | EvidenceStream:
    """Return the file at `path`, or standard output if there is none."""
    return EvidenceStream(sys.stdout.buffer) if path is None else EvidenceFile(path)


def previous(target: EvidenceFile | EvidenceStream, anchored: str) -> str:
    """Return the hash of the line that the first line of the new term follows.

    Args:
        target: Where lines go; a line that was cut off at the end of a file is ended.
        anchored: Hash in the Lease, or empty; it takes precedence over the file, which others may have changed.

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
    if _HASH.fullmatch(anchored) is None:
        _LOG.warning(
            "the Lease has %r instead of the hash of the last line of evidence; the chain continues from the log",
            anchored[:80],
        )
        return written
    return anchored
