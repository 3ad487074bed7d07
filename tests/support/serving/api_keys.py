"""A folder with API keys, as a pod mounts it. For the tests of serving and `make bench-serving`."""

import secrets
from pathlib import Path
from typing import Any, Final

import httpx

from llama_serving.contract.keys import RANDOM_BYTES, ApiKey, KeyEntry, make


class KeysOfTeam:
    """Keys in a folder.

    Args:
        folder: An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, tenant: str, **terms: Any) -> ApiKey:
        """Make a key of `tenant`; `terms` are further fields of `KeyEntry`."""
        key = make(secrets.token_bytes(RANDOM_BYTES))
        entry = KeyEntry(tenant=tenant, sha256=key.sha256, **terms)
        (self.folder / key.id).write_text(entry.model_dump_json())
        return key

    def revoke(self, key: ApiKey) -> None:
        """Take a key away."""
        (self.folder / key.id).unlink()


_BY_THE_BOARD: Final = "/v1/models"
_BY_THE_ENGINE: Final = "/v1/completions"
_NOTHING: Final = {"model": "nobody", "prompt": "llama"}
"""What is refused before it costs an engine or a quota, or is booked."""


def is_known(url: str, key: str, *, to_all: bool = True) -> bool:
    """Whether a server of the cluster at `url` takes `key` on the routes of both applications, or of one of them.

    The board and the replica of an engine each have a table of their own, which a thread of their own reads once a second.
    """
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        taken = (
            client.get(_BY_THE_BOARD).status_code != httpx.codes.UNAUTHORIZED,
            client.post(_BY_THE_ENGINE, json=_NOTHING).status_code != httpx.codes.UNAUTHORIZED,
        )
    return all(taken) if to_all else any(taken)
