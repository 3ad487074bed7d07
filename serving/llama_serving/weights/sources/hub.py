"""Repositories of the Hugging Face Hub, or of a mirror that speaks its API. Called by `weights.sources`.

By the library that engines download with, so that proxies, certificates and Xet are as they would be there. Checksums are the
Hub's own: the SHA-256 of a large file, Git's name of a small one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import RepoFile

from llama_serving.access_check import Answer, judge
from llama_serving.contract.hub import HubAccess
from llama_serving.contract.weights import CopyOutcome, HubSource
from llama_serving.weights.digests import Checksum
from llama_serving.weights.errors import CopyError
from llama_serving.weights.sources.base import Entry

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_OUTCOMES: Final = {
    HubAccess.ACCESSIBLE: CopyOutcome.FAILED,
    HubAccess.TOKEN_MISSING: CopyOutcome.TOKEN_INVALID,
    HubAccess.TOKEN_INVALID: CopyOutcome.TOKEN_INVALID,
    HubAccess.NOT_ACCEPTED: CopyOutcome.ACCESS_DENIED,
    HubAccess.PENDING_REVIEW: CopyOutcome.ACCESS_DENIED,
    HubAccess.DENIED: CopyOutcome.ACCESS_DENIED,
    HubAccess.NOT_FOUND: CopyOutcome.NOT_FOUND,
    HubAccess.OFFLINE: CopyOutcome.UNREACHABLE,
}
_TOO_LARGE: Final = "too large to be downloaded using the regular download method"


class Hub:
    """A repository at one commit."""

    def __init__(self, source: HubSource, token: str) -> None:
        self._source, self._token = source, token
        # False: without a token of our own none is looked for on the disk either.
        self._api = HfApi(endpoint=source.endpoint, token=token or False)
        self._checksums: dict[str, Checksum] = {}
        self.name = f"{source.repository} at {source.endpoint}"
        self.commit: str | None = source.commit
        self.falls_back = False

    def entries(self) -> list[Entry]:
        """List all files, with the checksums of the Hub."""
        listed = self._api.list_repo_tree(self._source.repository, recursive=True, revision=self._source.commit)
        files = [entry for entry in listed if isinstance(entry, RepoFile)]
        self.falls_back = not constants.HF_HUB_DISABLE_XET and any(file.xet_hash for file in files)
        return [Entry(file.path, file.size, _checksum(file)) for file in files]

    def fetch(self, entry: Entry, folder: Path) -> tuple[Path, Checksum]:
        """Fetch a file."""
        if entry.checksum is None:
            raise CopyError(CopyOutcome.MISMATCH, f"{self.name} tells no checksum of it, so nothing could be verified")
        path = self._api.hf_hub_download(
            self._source.repository, entry.path, revision=self._source.commit, local_dir=folder, force_download=True
        )
        return Path(path), entry.checksum

    def explain(self, error: Exception, file: str | None) -> CopyError:
        """Say what an error of the Hub's library means: they wrap one another, and those of the transport."""
        chain = list(_chain(error))
        for each in chain:
            response = getattr(each, "response", None)
            if getattr(response, "status_code", None) is not None:
                return self._answered(response, file)
        words = f"{type(chain[-1]).__name__}: {chain[-1]}"
        names = {type(each).__name__ for each in chain}
        if any(_TOO_LARGE in str(each) for each in chain):
            return CopyError(
                CopyOutcome.FAILED, "files of more than 50 GB come by Xet only: unset HF_HUB_DISABLE_XET", file
            )
        if any("Consistency check failed" in str(each) for each in chain):
            return CopyError(CopyOutcome.MISMATCH, f"{self.name} sent another size than it told", file)
        if "ReadTimeout" in names:
            return CopyError(CopyOutcome.STALLED, f"{self.name} stopped sending ({words})", file)
        if any("CERTIFICATE_VERIFY_FAILED" in str(each) for each in chain):
            words = f"{words}. Give pods the authority of your proxy (docs/pods.md)"
        is_network = "FileMetadataError" in names or any(
            isinstance(each, ConnectionError) or "httpx" in type(each).__module__ for each in chain
        )
        return CopyError(CopyOutcome.UNREACHABLE if is_network else CopyOutcome.FAILED, f"{self.name}: {words}", file)

    def _answered(self, response: Any, file: str | None) -> CopyError:
        headers, status = response.headers, int(response.status_code)
        said = headers.get("X-Error-Message") or f"HTTP {status}"
        host = urlsplit(str(response.url)).netloc
        if host != urlsplit(self._source.endpoint).netloc and status != 404:  # noqa: PLR2004 - not found
            # The gate let us pass; signed addresses of a storage end, and firewalls know the Hub's own host only.
            advice = "it is busy, and is asked again" if _is_busy(status) else f"let pods reach {host}"
            words = f"the Hub sends the file from {host}, and that answers HTTP {status}: {advice}"
            return CopyError(CopyOutcome.UNREACHABLE, words, file)
        access = judge(Answer(status, headers.get("X-Error-Code") or "", said), with_token=bool(self._token))
        return CopyError(_OUTCOMES[access], f"{self.name}: {said}", file)


def _is_busy(status: int) -> bool:
    """Whether a server limits how often it is asked, or fails: it was reached."""
    return status == 429 or status >= 500  # noqa: PLR2004 - too many requests, and errors of the server


def _checksum(file: RepoFile) -> Checksum | None:
    if file.lfs is not None:
        return Checksum("sha256", file.lfs.sha256) if _SHA256.fullmatch(file.lfs.sha256) else None
    return Checksum("git-sha1", file.blob_id) if _SHA1.fullmatch(file.blob_id) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it came from."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
