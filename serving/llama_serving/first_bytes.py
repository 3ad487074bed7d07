"""Reads the first bytes of a weight file from the Hub, as a download would: called by `access_check`.

The gate may open for the small files of a repository while the large ones cannot come: they lie on other hosts, behind Xet's
own servers, which a proxy or a firewall may not let through. So this goes the way of the library that downloads, with its
settings: by Xet where the file is in Xet and `HF_HUB_DISABLE_XET` is not set, else by HTTP.
"""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from typing_extensions import override

BYTES: Final = 64 * 1024
_WEIGHTS: Final = ".safetensors"


class StalledError(Exception):
    """Nothing came in time. The message says what was asked for, from where and how."""


@dataclass(slots=True)
class _Way:
    """Where a read has got to, for a message about a stall."""

    host: str
    by: str = "HTTP"


def weight_file(repository: str, revision: str, endpoint: str, token: str) -> str | None:
    """Name of the first weight file of a repository; None if it has none at its top.

    Raises:
        Exception: Whatever the Hub's library raises.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - it reads its settings when it is imported

    listed = HfApi(endpoint=endpoint, token=token or False).list_repo_tree(repository, revision=revision)
    return min((entry.path for entry in listed if entry.path.endswith(_WEIGHTS)), default=None)


def read(repository: str, revision: str, file: str, endpoint: str, token: str, *, seconds: float) -> int:
    """Read the first bytes of a file; returns how many came. Blocks for `seconds` at most.

    Raises:
        StalledError: If nothing came in time.
        Exception: Whatever the Hub's library raises.
    """
    way = _Way(urlsplit(endpoint).netloc)
    answers: list[int | Exception] = []

    def run() -> None:
        try:
            answers.append(_read(repository, revision, file, endpoint, token, way))
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            answers.append(error)

    # The libraries have threads of their own that no time limit stops.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        cure = (
            " Some proxies cannot pass it: HF_HUB_DISABLE_XET=1 in the environment of pods takes HTTP."
            if way.by == "Xet"
            else ""
        )
        raise StalledError(f"stalled: no byte of {file} came from {way.host} by {way.by} in {seconds:.0f} s.{cure}")
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _read(repository: str, revision: str, file: str, endpoint: str, token: str, way: _Way) -> int:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415
    from huggingface_hub.utils._headers import build_hf_headers  # noqa: PLC0415

    url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint)
    metadata = get_hf_file_metadata(url, token=token or False, endpoint=endpoint)
    wanted = min(BYTES, metadata.size or BYTES)
    headers = build_hf_headers(token=token or False)
    way.host = urlsplit(metadata.location).netloc or way.host
    if (by_xet := _xet_reader()) is not None and metadata.xet_file_data is not None:
        way.by = "Xet"
        return by_xet(metadata.xet_file_data, headers, metadata.size or 0, wanted, way)
    return _by_http(url, headers, wanted)


def _by_http(url: str, headers: dict[str, str], wanted: int) -> int:
    from huggingface_hub.file_download import http_get  # noqa: PLC0415

    came = _Some(wanted)
    try:
        http_get(url, came, headers=headers | {"Range": f"bytes=0-{wanted - 1}"}, expected_size=wanted)
    except _EnoughError:
        # A proxy that knows no ranges sends the whole file.
        return wanted
    return came.tell()


def _xet_reader() -> Callable[[Any, dict[str, str], int, int, _Way], int] | None:
    """The library's way to Xet; None where it takes HTTP."""
    from huggingface_hub.utils._runtime import is_xet_available  # noqa: PLC0415

    return _by_xet if is_xet_available() else None


def _by_xet(data: Any, headers: dict[str, str], size: int, wanted: int, way: _Way) -> int:
    # The library has no public way to read a part of a file by Xet; this is what its own download does.
    from hf_xet import XetFileInfo  # noqa: PLC0415
    from huggingface_hub.utils import _xet  # noqa: PLC0415

    connection = _xet.refresh_xet_connection_info(file_data=data, headers=headers)
    way.host = urlsplit(connection.endpoint).netloc or way.host
    session: Any = _xet.get_xet_session  # untyped there
    group = session().new_download_stream_group(
        endpoint=connection.endpoint,
        token=connection.access_token,
        token_expiry_unix_secs=connection.expiration_unix_epoch,
        token_refresh_url=data.refresh_route,
        token_refresh_headers=headers,
        custom_headers=_xet.xet_headers_without_auth(headers),
    )
    return sum(map(len, group.download_stream(XetFileInfo(data.file_hash, size), end=wanted)))


class _EnoughError(Exception):
    """More came than was asked for."""


class _Some(io.BytesIO):
    """Takes some bytes and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    @override
    def write(self, piece: Any, /) -> int:
        if self.tell() + len(piece) > self._most:
            raise _EnoughError
        return super().write(piece)
