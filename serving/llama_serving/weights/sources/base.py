"""What every source of weights can do. Implemented by the modules beside it, called by `weights.fetching`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llama_serving.weights.digests import Checksum
from llama_serving.weights.errors import CopyError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a source.

    Attributes:
        path: Below the model's folder, with slashes.
        size: Bytes.
        checksum: What it hashes to, if the source tells before it is fetched.
    """

    path: str
    size: int
    checksum: Checksum | None = None


class Source(Protocol):
    """A place that has weights."""

    name: str
    """For people."""
    commit: str | None
    """Commit that is copied, of a source that has any."""
    falls_back: bool
    """Whether there is a second way to fetch, which `weights.copying` may try after a first one that hung."""

    def entries(self) -> list[Entry]:
        """List all files. Blocks.

        Raises:
            Exception: Whatever the library raises; `explain` reads it.
        """
        ...

    def fetch(self, entry: Entry, folder: Path) -> tuple[Path, Checksum]:
        """Fetch a file into a folder of its own. Blocks.

        Returns:
            Where it is, and what it has to hash to.

        Raises:
            Exception: As above.
        """
        ...

    def explain(self, error: Exception, file: str | None) -> CopyError:
        """Say what an error of this source means."""
        ...
