"""Where the ledger of the tenants' limits is, if several deployments share it: a Valkey or Redis server of the team.

The operator renders it into the arguments of a revision, and mounts the credentials by name; `llama_serving.desk.shared.valkey_bank` reads both.
"""

from typing import Final

from pydantic import Field

from llama_serving.contract.frozen import Frozen

STORE_FOLDER: Final = "/etc/llama/store"
"""Where the Secret with the credentials is mounted: files `username`, `password` and `ca.crt`, each of which may be missing."""

ADDRESS_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}$"


class StoreSettings(Frozen):
    """A server that keeps the ledger."""

    address: str = Field(min_length=3, max_length=261, pattern=ADDRESS_PATTERN)
    """Host and port."""
    scope: str = Field(min_length=1, max_length=63)
    """What has one ledger: all deployments of a namespace that name this server."""
    tls: bool = False
    folder: str | None = Field(default=None, max_length=1024)
    """Folder with the credentials; None for a server that asks for none."""
