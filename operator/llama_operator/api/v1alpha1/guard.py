"""`spec.guard`: a second model that reads requests and answers before they pass. Part of the `LlamaDeployment` resource.

`decide.guard` plans it, `decide.bounds` makes live settings of how it is used, and the serving pods enforce them
(`llama_serving.contract.guard`).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_serving.contract.guard import Category, GuardFailure, GuardMode

MAX_GUARD_REPLICAS = 64


class GuardPlacement(StrEnum):
    """On whose cards the guard runs."""

    OWN = "Own"
    SHARED = "Shared"


class GuardModelSpec(ApiModel):
    """Which model is the guard."""

    name: Annotated[str, Field(min_length=1, max_length=192, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$")]
    """Name of a catalog entry, for example `llama-guard-3-8b`, or of a LlamaModel; `kubectl llama models` lists them."""
    variant: (
        Annotated[str, Field(min_length=1, max_length=192, pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")] | None
    ) = None
    """Repository (`owner/name`) of the variant. Default: the highest quality that fits on the fewest GPUs."""


class GuardSpec(ApiModel):
    """A second model in the same Ray cluster, which reads what comes in and what goes out."""

    model: GuardModelSpec
    """Which model. It needs a license as any model does, an acceptance of its own version included."""
    mode: GuardMode = GuardMode.BLOCK
    """`Block` holds all text until it was checked: unsafe requests get 400 `content_filter`, unsafe answers stop with
    `content_filter`. `Annotate` holds nothing, and tells with each answer what the guard said. `Log` holds nothing; metrics and
    the log of the replica tell it."""
    failure: GuardFailure = GuardFailure.CLOSED
    """What mode `Block` does with text that could not be judged: `Closed` refuses it with 503 `guard_unavailable`, `Open` lets it
    pass and tells so in a header, a metric and the status. `Open` needs `reason`."""
    reason: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Why text that could not be judged may pass, for those who read the status."""
    categories: Annotated[tuple[Category, ...], Field(max_length=32, strict=False)] = ()
    """Hazard categories that count, by the ids that the guard writes, for example `S1`. Default: all."""
    deadline_milliseconds: Annotated[int, Field(ge=50, le=60_000)] = 2000
    """Longest wait for one verdict; after that the text could not be judged."""
    replicas: Annotated[int, Field(ge=1, le=MAX_GUARD_REPLICAS)] = 1
    """Replicas of the guard. They run for as long as the deployment is active, also while the model is scaled to zero."""
    accelerator: (
        Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")] | None
    ) = None
    """Name of an accelerator, as in `hardware.accelerator`. Default: that of the model's plan."""
    placement: GuardPlacement = GuardPlacement.OWN
    """`Own` gives the guard cards of its own. `Shared` puts each replica of it on a card that a replica of the model is on, and both are
    planned together: it takes no further card, and the memory that it needs is taken from the model's KV cache. Needs
    `context.maxModelLength`, as many replicas of the model at all times as the guard has, and replicas that fit one node."""
