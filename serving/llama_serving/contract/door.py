"""Settings of the door, which judges every request before anything else reads it.

The operator renders them into an environment variable of all Ray pods (`config.pod_environment`); `llama_serving.door`
reads them. They belong to a revision: pods mount the keys, and Kubernetes changes no pod that runs. The keys themselves
change at any time, see `contract.keys`.
"""

from enum import StrEnum
from typing import Any, Final

from pydantic import Field, model_validator

from llama_serving.contract.frozen import Frozen

DOOR_VARIABLE: Final = "LLAMA_SERVING_DOOR"
"""Environment variable with `DoorSettings` as JSON. Without it there is no door: pods of older revisions have none."""

DOOR_CALLBACK: Final = "llama_serving.door.installed:middlewares"
"""What Ray Serve calls for the middleware of each of its HTTP servers: proxies, and replicas that listen themselves."""

KEYS_FOLDER: Final = "/etc/llama/keys"
"""Where the ConfigMap or Secret with the keys is mounted; one file for each key, see `contract.keys`."""


class Access(StrEnum):
    """Who may send requests."""

    OPEN = "Open"
    """Everyone who reaches the endpoint."""
    KEYS = "Keys"
    """Only who shows an API key."""


class DoorSettings(Frozen):
    """What the door enforces."""

    access: Access
    """Needed: settings that say nothing shall open nothing."""
    keys_folder: str | None = Field(default=None, max_length=1024)
    """Folder with the keys; needed for `Keys`."""
    max_body_bytes: int = Field(default=20 * 1024**2, ge=1024)
    """Longest body of a request; a longer one is refused with 413 before it is read to its end."""

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_no_more(cls, value: Any) -> Any:
        """The name of the model stood here; whether a key may ask for it is the desk's to say. Revisions of then still have it."""
        if isinstance(value, dict):
            return {name: each for name, each in value.items() if name != "model_id"}
        return value

    @model_validator(mode="after")
    def _keys_have_a_place(self) -> "DoorSettings":
        if self.access is Access.KEYS and self.keys_folder is None:
            raise ValueError("keys_folder must be set when access is Keys")
        return self
