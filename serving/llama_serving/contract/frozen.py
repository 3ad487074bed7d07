"""The base of all that operator and pods exchange. Imported by `config` and the other modules of the contract."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, closed to unknown fields: a typo in the contract fails at build time, not at the first request."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
