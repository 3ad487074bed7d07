"""Names under which a model is asked for, its own and those of LoRA adapters: what a replica shall have loaded, and what it tells about it.

The room for adapters belongs to a revision, because vLLM takes its memory when it starts. The list of adapters is live: the
operator renders it into `user_config` beside the limits of tenants, and replicas load and unload while they run.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from llama_serving.contract.frozen import Frozen

MOST_ADAPTERS: Final = 64
"""Longest list of adapters of a deployment."""

ENGINE_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for (`MaxLoRARanks` in its config/lora.py)."""

MOST_TEXT: Final = 300
"""Longest message about an adapter: a status has one for each adapter of each deployment."""

MOST_NAME_CHARACTERS: Final = 128
"""Longest name of a model on the endpoint."""

MOST_ALIASES: Final = 16

NAME_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
"""Letters, digits and what may stand in a path without being encoded."""

Alias = Annotated[str, Field(min_length=1, max_length=MOST_NAME_CHARACTERS, pattern=NAME_PATTERN)]
"""Another name of the model on the endpoint."""
AdapterName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._/-]*[A-Za-z0-9])?$")
]
"""Name of an adapter in requests and in the list of models."""
AdapterPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]
"""Folder of an adapter below the folder of all adapters."""


class Repository(Frozen):
    """A repository of the Hub with an adapter, at one commit."""

    repository: str = Field(min_length=3, max_length=192)
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")

    @property
    def source(self) -> str:
        """How reports and copies name it."""
        return f"{self.repository}@{self.revision}"


class AdapterRoom(Frozen):
    """Room for adapters in an engine, for vLLM's arguments of the same names."""

    max_loras: int = Field(ge=1, le=64)
    """Adapters that one batch may use."""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]
    """Largest rank; each of the `max_loras` places takes the memory of it."""
    max_cpu_loras: int = Field(ge=1, le=MOST_ADAPTERS)
    """Adapters that a replica holds, in memory of the host: as many as may be loaded at all."""
    folder: str | None = Field(default=None, max_length=2048)
    """Folder below which the adapters' paths are; None where no volume has any."""
    repositories: tuple[Repository, ...] | None = Field(default=None, max_length=MOST_ADAPTERS)
    """Repositories that pods may fetch adapters from; None for none."""
    copies: dict[str, Annotated[str, Field(max_length=2048)]] | None = Field(default=None, max_length=MOST_ADAPTERS)
    """Folders of those that pods have a copy of, by `Adapter.source`: they fetch nothing. None for none."""

    @property
    def fetches(self) -> bool:
        """Whether pods fetch an adapter from the Hub."""
        return any(one.source not in (self.copies or {}) for one in self.repositories or ())


class Adapter(Frozen):
    """An adapter that replicas shall have. It has either a path or a repository."""

    name: AdapterName
    path: AdapterPath | None = None
    repository: Repository | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.repository is None):
            raise ValueError("an adapter has either a path or a repository")
        return self

    @property
    def source(self) -> str:
        """Where it is, as reports name it."""
        if self.repository is not None:
            return self.repository.source
        return self.path or ""


class AdapterFault(StrEnum):
    """Why an adapter is not loaded; also reasons of the condition AdaptersReady."""

    NOT_FOUND = "AdapterNotFound"
    REFUSED = "AdapterRefused"
    RANK_TOO_LARGE = "AdapterRankTooLarge"
    DOES_NOT_FIT = "AdapterDoesNotFit"
    NOT_LOADED = "AdapterNotLoaded"


class AdapterReport(Frozen):
    """What one replica says of an adapter, or (summed up) all replicas of a deployment."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=128)
    source: str = Field(max_length=1024)
    """`Adapter.source`: what was told of another one is not about this one."""
    loaded: int = Field(default=0, ge=0, le=1_000_000)
    """Replicas that serve it: 0 or 1 in the report of one replica."""
    failed: int = Field(default=0, ge=0, le=1_000_000)
    """Replicas that could not load it."""
    fault: AdapterFault | None = None
    """Why, in the first of them."""
    message: str = Field(default="", max_length=MOST_TEXT)
    """The same for people."""
    rank: int | None = Field(default=None, ge=0, le=1_000_000)
    """Its rank, as its files say."""
    digest: str = Field(default="", max_length=64)
    """SHA-256 of its weights, in hex; empty while they were not read."""


_DIFFER: Final = "replicas have loaded different weights from it; put a new version into a new folder, and name that"


def summed(reports: tuple[tuple[AdapterReport, ...], ...]) -> tuple[AdapterReport, ...]:
    """Add up what replicas say; one entry for each name and source, in the order of the names.

    Args:
        reports: What each replica says.
    """
    sums: dict[tuple[str, str], AdapterReport] = {}
    for report in (one for each in reports for one in each):
        key = (report.name, report.source)
        before = sums.get(key)
        if before is None:
            sums[key] = report
            continue
        told = before if before.fault is not None else report
        differ = bool(before.digest and report.digest and before.digest != report.digest)
        sums[key] = before.model_copy(
            update={
                "loaded": before.loaded + report.loaded,
                "failed": before.failed + report.failed,
                "fault": told.fault,
                "message": told.message or before.message or (_DIFFER if differ else ""),
                "rank": before.rank if before.rank is not None else report.rank,
                "digest": before.digest or report.digest,
            }
        )
    return tuple(report for _, report in sorted(sums.items()))


def engine_rank(rank: int) -> Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]:
    """Return the smallest rank that vLLM makes room for and that holds `rank`.

    Raises:
        ValueError: If there is none.
    """
    for known in ENGINE_RANKS:
        if rank <= known:
            return known
    raise ValueError(f"vLLM has no room for rank {rank}")


def cpu_places(room: AdapterRoom) -> int:
    """Return the places that an engine on a CPU gets: one for each adapter that may be loaded, and one that stays empty.

    In a batch of the model and its adapters, vLLM on a CPU adds what is in the last place to the answers of the model itself
    (`lora_b_weights[-1]` in its lora/ops/torch_ops). With a place that is never taken it adds nothing.
    """
    return room.max_cpu_loras + 1
