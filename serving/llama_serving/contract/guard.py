"""The guard: a second model that reads requests and answers. How it is used; the operator renders it, replicas follow it.

`llama_serving.guard` enforces it on the direct path, `llama_serving.engine.guard` runs the model.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from llama_serving.contract.frozen import Frozen

GUARD_DEPLOYMENT: Final = "Guard"
"""Name of the guard's Serve deployment, in the application with the engines."""

GUARD_GROUP: Final = "guard-"
"""How the name of the guard's worker group begins."""

GUARD_HEADER: Final = "x-llama-guard"
"""Response header with what the guard said: `safe`, `unsafe; categories=S1,S9` or `not-classified; reason=timeout`."""

GUARD_RESOURCE: Final = "llama_guard"
"""Resource of Ray that the guard's nodes have, so that no replica of the model takes their place."""

MODEL_RESOURCE: Final = "llama_model"
"""Resource of Ray that the model's nodes have where there is a guard."""

MODEL_SHARE: Final = 0.75
"""Of each card, what Ray books for a rank of the model where a guard is on the same cards: no second one goes there. Memory is another matter: each engine
is told how much it has."""

GUARD_SHARE: Final = 1 - MODEL_SHARE
"""What Ray books for a guard there."""

Category = Annotated[str, Field(min_length=2, max_length=4, pattern=r"^S[1-9][0-9]{0,2}$")]
"""Id of a hazard category, as the guard writes it."""


class GuardMode(StrEnum):
    """What happens to what the guard calls unsafe."""

    BLOCK = "Block"
    """Nothing leaves before it was checked."""
    ANNOTATE = "Annotate"
    """Everything leaves at once, and the answer says what the guard said."""
    LOG = "Log"
    """Everything leaves at once; only metrics and logs say what the guard said."""


class GuardFailure(StrEnum):
    """What happens to what the guard could not judge, in mode `Block`."""

    CLOSED = "Closed"
    OPEN = "Open"


class GuardSettings(Frozen):
    """How the guard is used."""

    mode: GuardMode = GuardMode.BLOCK
    failure: GuardFailure = GuardFailure.CLOSED
    reason: str | None = Field(default=None, min_length=1, max_length=256)
    """Why what could not be judged may pass; needed with failure `Open`."""
    categories: tuple[Category, ...] = Field(default=(), max_length=32)
    """Categories that count; empty for all."""
    deadline_ms: int = Field(default=2000, ge=50, le=60_000)
    """Longest wait for one verdict."""

    @model_validator(mode="after")
    def _open_has_a_reason(self) -> Self:
        if self.failure is GuardFailure.OPEN and self.reason is None:
            raise ValueError("reason must be set where failure is Open")
        return self
