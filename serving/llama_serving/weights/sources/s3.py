"""S3, and stores that speak its API (`AWS_ENDPOINT_URL`), by boto3. Called by `weights.sources.store`."""

import os
import re
from collections.abc import Iterator
from typing import Final

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from llama_serving.weights.sources.bucket import CONNECT_SECONDS, READ_SECONDS, Hashing, Place

_CHUNK: Final = 8 * 1024**2
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class S3Bucket:
    """A folder of a bucket."""

    def __init__(self, place: Place) -> None:
        self._place = place
        style = os.environ.get("AWS_S3_ADDRESSING_STYLE")
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": style} if style else None,
            signature_version=UNSIGNED if place.is_anonymous else None,
        )
        self._client = boto3.client("s3", config=config)
        self._tags: dict[str, str] = {}

    def listed(self) -> Iterator[tuple[str, int]]:
        """Names below the folder, and sizes."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._place.bucket, Prefix=self._place.folder
        )
        for page in pages:
            for found in page.get("Contents", ()):
                self._tags[found["Key"]] = found["ETag"]
                yield found["Key"], int(found["Size"])

    def write(self, name: str, file: Hashing) -> str | None:
        """Write an object into a file; its MD5 is its tag, unless it came in parts or is encrypted with a key of its own."""
        answer = self._client.get_object(Bucket=self._place.bucket, Key=name, IfMatch=self._tags[name])
        for piece in answer["Body"].iter_chunks(_CHUNK):
            file.write(piece)
        tag = str(answer["ETag"]).strip('"')
        is_sealed = (
            str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer
        )
        return tag if _MD5.fullmatch(tag) is not None and not is_sealed else None
