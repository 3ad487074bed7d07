"""Azure Blob Storage, by its own library. Called by `weights.sources.store`."""

from collections.abc import Iterator

from azure.core import MatchConditions
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from llama_serving.weights.sources.bucket import CONNECT_SECONDS, READ_SECONDS, Hashing, Place


class AzureContainer:
    """A folder of a container."""

    def __init__(self, place: Place) -> None:
        self._place = place
        # The endpoint of blobs answers for accounts with folders of their own, too.
        host = place.account.replace(".dfs.", ".blob.", 1)
        self._client = ContainerClient(
            f"https://{host}",
            place.bucket,
            credential=DefaultAzureCredential(),
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
        )
        self._blobs: dict[str, tuple[str, str | None]] = {}

    def listed(self) -> Iterator[tuple[str, int]]:
        """Names below the folder, and sizes."""
        for blob in self._client.list_blobs(name_starts_with=self._place.folder, include=["metadata"]):
            if (blob.metadata or {}).get("hdi_isfolder") == "true":
                continue
            md5 = blob.content_settings.content_md5
            self._blobs[blob.name] = (blob.etag, bytes(md5).hex() if md5 else None)
            yield blob.name, int(blob.size)

    def write(self, name: str, file: Hashing) -> str | None:
        """Write an object into a file; large ones may have no MD5, as whoever uploaded them chose."""
        tag, md5 = self._blobs[name]
        stream = self._client.download_blob(
            name, etag=tag, match_condition=MatchConditions.IfNotModified, max_concurrency=1
        )
        for piece in stream.chunks():
            file.write(piece)
        return md5
