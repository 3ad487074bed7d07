"""What the process that fetches tells the one that watches, a line of JSON each. Used by `weights.fetching` and `weights.copying`."""

from typing import Literal

from pydantic import Field

from llama_serving.contract.frozen import Frozen
from llama_serving.contract.weights import CopiedFile, CopyOutcome


class Event(Frozen):
    """One line. Which fields count follows from `kind`."""

    kind: Literal["Planned", "Copied", "Read", "Said", "Ended"]
    files: int = 0
    """Planned: files of the copy, so far known. Ended: none."""
    bytes: int = 0
    """Planned: bytes of the copy. Copied: of the file. Read: bytes read back so far, to verify."""
    held: bool = False
    """Copied: whether the file was there and verified before."""
    path: str = ""
    """Copied: the file."""
    message: str = ""
    """Said: a line for the log. Ended: for the verdict."""
    outcome: CopyOutcome | None = None
    """Ended: the verdict."""
    file: str | None = None
    """Ended: what the verdict is about."""
    falls_back: bool = False
    """Planned, Ended: whether there is another way to fetch, which may do better."""
    source: str = ""
    """Ended: the source, for the manifest."""
    commit: str | None = None
    """Ended: its commit."""
    copied: tuple[CopiedFile, ...] = Field(default=())
    """Ended well: all files."""
