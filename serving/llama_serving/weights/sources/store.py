"""Folders of object stores, by the library of their maker. Called by `weights.sources`.

The libraries are those that the serving image has for streaming loaders; they find credentials, proxies and authorities as their
makers document it. A store that tells an MD5 is compared with it. Where it tells none (uploads in parts, keys of one's own), a file
is hashed as it comes and once more as it is on the claim, and the library compares what checksums it knows.
"""

from pathlib import Path
from typing import Final

from llama_serving.contract.weights import CopyOutcome, StoreSource
from llama_serving.weights.digests import Checksum
from llama_serving.weights.errors import CopyError
from llama_serving.weights.sources.base import Entry
from llama_serving.weights.sources.bucket import ANONYMOUS, Bucket, Hashing, Place, parsed

_MOST_FILES: Final = 10_000
_CREDENTIALS: Final = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "DefaultCredentialsError",
        "RefreshError",
        "ClientAuthenticationError",
        "CredentialUnavailableError",
    }
)
"""Errors of the libraries that say: there are no credentials, or they could not be renewed."""
_CREDENTIAL_CODES: Final = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "AuthenticationFailed",
    }
)
"""Codes of stores that mean the same; S3 sends most of them as 403."""
_CURES: Final = {
    "RequestTimeTooSkewed": "the clock of this node is wrong, and no other credentials change that: have it set",
    "InvalidObjectState": "the object is archived: restore it, or copy it to a class that is read at once",
    "BlobArchived": "the object is archived: restore it, or copy it to a class that is read at once",
    "AuthorizationHeaderMalformed": "set region in the objectStore of the LlamaModel to that of the bucket",
    "PermanentRedirect": "set region in the objectStore of the LlamaModel to that of the bucket, and leave out an endpoint of another region",
}
"""Codes of stores that are no matter of access, although S3 sends some of them as 403, and what to do."""
_NETWORK: Final = ("Connect", "SSL", "ServiceRequest", "ServiceResponse", "Transport", "Timeout", "Proxy")


class Store:
    """A folder of an object store."""

    commit: str | None = None
    falls_back = False

    def __init__(self, source: StoreSource) -> None:
        place = parsed(source.uri)
        self.name = source.uri.replace(ANONYMOUS, "")
        self._place = place
        try:
            self._bucket = _bucket_of(place)
        except ImportError as error:
            words = f"the image has no library for {place.scheme}:// ({error})"
            raise CopyError(CopyOutcome.FAILED, words) from error
        except Exception as error:
            raise self.explain(error, None) from error

    def entries(self) -> list[Entry]:
        """List all objects of the folder."""
        found: list[Entry] = []
        for name, size in self._bucket.listed():
            path = name.removeprefix(self._place.folder)
            # Consoles make objects without content for folders.
            if path and not path.endswith("/"):
                found.append(Entry(path, size))
            if len(found) > _MOST_FILES:
                raise CopyError(
                    CopyOutcome.FAILED, f"{self.name} has more than {_MOST_FILES} objects: it is no model's folder"
                )
        if not found:
            raise CopyError(CopyOutcome.NOT_FOUND, f"{self.name} has no objects")
        return found

    def fetch(self, entry: Entry, folder: Path) -> tuple[Path, Checksum]:
        """Fetch an object."""
        target = folder / Path(entry.path).name
        with target.open("wb") as file:
            hashing = Hashing(file)
            md5 = self._bucket.write(f"{self._place.folder}{entry.path}", hashing)
        return target, Checksum("md5", md5) if md5 else Checksum("sha256", hashing.digest.hexdigest())

    def explain(self, error: Exception, file: str | None) -> CopyError:
        """Say what an error of a store's library means."""
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
            chain.append(cause)
        names = {type(each).__name__ for each in chain}
        status, code = _status_and_code(chain)
        # Messages of these libraries hold no keys, but hosts, requests and codes.
        words = f"{self.name}: {type(error).__name__}: {error}"
        if (cure := _CURES.get(code)) is not None:
            return CopyError(CopyOutcome.FAILED, f"{words}; {cure}", file)
        if names & _CREDENTIALS or code in _CREDENTIAL_CODES or status == 401:  # noqa: PLR2004 - unauthorized
            return CopyError(CopyOutcome.TOKEN_INVALID, words, file)
        if status == 403:  # noqa: PLR2004 - forbidden
            return CopyError(CopyOutcome.ACCESS_DENIED, words, file)
        if status == 404:  # noqa: PLR2004 - not found
            return CopyError(CopyOutcome.NOT_FOUND, words, file)
        if status == 412:  # noqa: PLR2004 - the precondition: it is still what was listed
            return CopyError(CopyOutcome.MISMATCH, f"{self.name}: the object changed while it was copied", file)
        if "ReadTimeout" in names or "ReadTimeoutError" in names:
            return CopyError(CopyOutcome.STALLED, words, file)
        is_network = isinstance(error, ConnectionError) or any(part in name for name in names for part in _NETWORK)
        is_busy = status is not None and (status == 429 or status >= 500)  # noqa: PLR2004 - ask later
        return CopyError(CopyOutcome.UNREACHABLE if is_network or is_busy else CopyOutcome.FAILED, words, file)


def _bucket_of(place: Place) -> Bucket:
    match place.scheme:
        case "s3":
            from llama_serving.weights.sources.s3 import S3Bucket  # noqa: PLC0415 - only the library that is needed

            return S3Bucket(place)
        case "gs":
            from llama_serving.weights.sources.gcs import GcsBucket  # noqa: PLC0415

            return GcsBucket(place)
        case _:
            from llama_serving.weights.sources.azure import AzureContainer  # noqa: PLC0415

            return AzureContainer(place)


def _status_and_code(chain: list[BaseException]) -> tuple[int | None, str]:
    for each in chain:
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            # boto3
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status, str(response.get("Error", {}).get("Code", ""))
        for name in ("status_code", "code"):
            status = getattr(each, name, None)
            if isinstance(status, int):
                return int(status), str(getattr(each, "error_code", "") or "")
    return None, ""
