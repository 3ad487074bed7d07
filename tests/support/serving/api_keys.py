"""A folder with API keys, as a pod mounts it. For the tests of serving and `make bench-serving`."""

import secrets
from pathlib import Path
from typing import Any

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
