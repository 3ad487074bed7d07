"""The one error of this package: why a copy was not made. Raised everywhere in it, answered by `weights.command`."""

import errno
import os
import re
from pathlib import Path
from typing import Final

from llama_serving.contract.weights import CopyOutcome

_QUERY: Final = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]+")
_NAMED: Final = re.compile(r"(?i)(authorization:?\s*bearer|bearer)\s+\S+")
_TOKEN: Final = re.compile(r"\bhf_[A-Za-z0-9]{8,}")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_LONGEST: Final = 1000


class CopyError(Exception):
    """Why there is no copy.

    Attributes:
        outcome: The verdict.
        message: For the verdict.
        file: The file that it is about.
    """

    def __init__(self, outcome: CopyOutcome, message: str, file: str | None = None) -> None:
        super().__init__(message)
        self.outcome, self.message, self.file = outcome, message, file


def without_secrets(text: str, *secrets: str) -> str:
    """One line of `text` without the secrets, without what looks like a token, and without the signatures of addresses."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = _QUERY.sub(r"\1?***", text)
    text = _TOKEN.sub("***", _NAMED.sub(r"\1 ***", text))
    return " ".join(text.split())[:_LONGEST]


def of_disk(error: OSError, root: Path, file: str | None = None) -> CopyError | None:
    """What an error says about the claim at `root`; None if it is about something else, a file of the source for example."""
    if error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(root):
        return None
    where = "" if error.filename is None else f" ({error.filename})"
    if error.errno in _FULL:
        return CopyError(CopyOutcome.NO_SPACE, f"the claim is full: {error.strerror}{where}", file)
    if error.errno in _CLOSED:
        return CopyError(CopyOutcome.NOT_WRITABLE, f"the claim refuses to write: {error.strerror}{where}", file)
    return None
