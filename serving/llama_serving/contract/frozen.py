"""The bases of all that operator and pods exchange. Imported by `config` and the other modules of the contract."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, closed to unknown fields: a typo in the contract fails at build time, not at the first request."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Live(Frozen):
    """Base of what replicas take while they run. They may be older than the operator, and ignore what they do not know."""

    model_config = ConfigDict(extra="ignore")
