"""A folder of an object store, by its address, and what the library of a store's maker does for it. Used by `weights.sources.store`.

The modules `s3`, `gcs` and `azure` beside it are such libraries' adapters.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final, Protocol

from llama_serving.contract.weights import CopyOutcome
from llama_serving.weights.errors import CopyError

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60
ANONYMOUS: Final = "anonymous@"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a store.

    Attributes:
        scheme: `s3`, `gs`, `abfss` or `azure`.
        bucket: The bucket; of Azure the container.
        account: Host of the account, of Azure.
        folder: The folder in it, with a slash at its end unless it is the top.
        is_anonymous: Whether the store asks for no credentials.
    """

    scheme: str
    bucket: str
    account: str
    folder: str
    is_anonymous: bool


class Hashing:
    """A file that hashes what is written to it. Libraries write in order, and into nothing else."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, piece: bytes) -> int:
        """Write a piece."""
        self.digest.update(piece)
        return self._file.write(piece)


class Bucket(Protocol):
    """What the library of a store's maker does."""

    def listed(self) -> Iterator[tuple[str, int]]:
        """Names below the folder, and sizes."""
        ...

    def write(self, name: str, file: Hashing) -> str | None:
        """Write an object into a file; returns its MD5 if the store tells it."""
        ...


def parsed(uri: str) -> Place:
    """Read the address of a folder.

    Raises:
        CopyError: If it is none of a store that is known.
    """
    scheme, found, rest = uri.partition("://")
    bucket, _, folder = rest.partition("/")
    is_anonymous = bucket.startswith(ANONYMOUS)
    bucket, _, account = bucket.removeprefix(ANONYMOUS).partition("@")
    is_azure = scheme in {"abfss", "azure"}
    if not found or not bucket or scheme not in {"s3", "gs", "abfss", "azure"} or bool(account) != is_azure:
        raise CopyError(CopyOutcome.FAILED, f"{uri[:200]} is no folder of a store: s3://, gs://, abfss:// or azure://")
    folder = folder.strip("/")
    return Place(scheme, bucket, account, f"{folder}/" if folder else "", is_anonymous)
