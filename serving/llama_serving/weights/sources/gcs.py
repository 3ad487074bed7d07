"""Google Cloud Storage, by its own library. Called by `weights.sources.store`."""

import base64
from collections.abc import Iterator
from typing import Any

from google.cloud import storage

from llama_serving.weights.sources.bucket import CONNECT_SECONDS, READ_SECONDS, Hashing, Place


class GcsBucket:
    """A folder of a bucket."""

    def __init__(self, place: Place) -> None:
        self._place = place
        client = storage.Client.create_anonymous_client() if place.is_anonymous else storage.Client()
        self._bucket = client.bucket(place.bucket)
        self._client = client
        self._blobs: dict[str, Any] = {}

    def listed(self) -> Iterator[tuple[str, int]]:
        """Names below the folder, and sizes."""
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        for blob in self._client.list_blobs(self._bucket, prefix=self._place.folder, timeout=timeout):
            self._blobs[blob.name] = blob
            yield blob.name, int(blob.size)

    def write(self, name: str, file: Hashing) -> str | None:
        """Write an object into a file; composed objects have no MD5, and the library compares their CRC32C."""
        blob = self._blobs[name]
        blob.download_to_file(
            file, if_generation_match=blob.generation, timeout=(CONNECT_SECONDS, READ_SECONDS), checksum="auto"
        )
        return base64.b64decode(blob.md5_hash).hex() if blob.md5_hash else None
