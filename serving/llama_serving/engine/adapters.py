"""The LoRA adapters of one replica: makes what is loaded follow the list that the operator sends. Called by `engine.direct`.

Each adapter is for itself: one that cannot be loaded is told in the reports, and neither the model nor another adapter notices.
An adapter leaves in three steps: its name is refused, its requests end, the engine forgets it. An engine that forgot it before
would read its files again in the middle of a step.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from llama_serving.contents.adapter import (
    AdapterFacts,
    AdapterRefusedError,
    BaseShape,
    look_at,
    place_of,
)
from llama_serving.contents.alike import stamp
from llama_serving.contract.adapters import Adapter, AdapterFault, AdapterReport, AdapterRoom, Repository

AGAIN_SECONDS: Final = 30.0
"""Time between two tries to load what could not be loaded: somebody may be copying the files."""

_LOOK_SECONDS: Final = 0.1
"""Time between two looks whether the last request for an adapter that leaves has ended."""

_LOGGER = logging.getLogger("ray.serve")


class AdapterEngine(Protocol):
    """What an engine does with adapters."""

    def base_shape(self) -> BaseShape | None:
        """Return the sizes of its model; None if it does not know them."""
        ...

    async def fetch_adapter(self, repository: Repository) -> Path:
        """Fetch the files of an adapter to all nodes of the replica; return their folder, the same on each.

        Raises:
            AdapterRefusedError: If it cannot.
        """
        ...

    async def same_elsewhere(self, folder: Path) -> None:
        """See that the other nodes of the replica have the same files.

        Raises:
            AdapterRefusedError: If they have not.
        """
        ...

    async def load_adapter(self, name: str, path: str) -> None:
        """Load an adapter, and answer requests for its name from then on.

        Raises:
            AdapterRefusedError: If it cannot.
        """
        ...

    def hide_adapter(self, name: str) -> None:
        """Answer no new request for its name."""
        ...

    async def forget_adapter(self, name: str) -> None:
        """Free its place; none of its requests runs any more."""
        ...


@dataclass(slots=True)
class _Held:
    """An adapter that was loaded, or was tried to be."""

    adapter: Adapter
    facts: AdapterFacts | None = None
    refusal: AdapterRefusedError | None = None
    again_at: float = 0.0
    """When it may be tried again if it was refused."""


@dataclass(slots=True)
class _Versions:
    """Weights that were loaded from one path: the engine takes the same path for the same weights."""

    digests: list[str] = field(default_factory=list)

    def path(self, path: str, digest: str) -> str:
        if digest not in self.digests:
            self.digests.append(digest)
        # Other words for the same folder: what the engine has cached for the weights of before is not taken for these.
        return path + "/." * self.digests.index(digest)


class Adapters:
    """The adapters of one replica. For one event loop.

    Args:
        room: How many there may be, of which rank, and where they are.
        engine: Loads them.
        running: Returns how many requests for an adapter run, by its name.
        again_seconds: Time between two tries.
    """

    def __init__(
        self,
        room: AdapterRoom,
        engine: AdapterEngine,
        *,
        running: Callable[[str], int],
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._room = room
        self._engine = engine
        self._running = running
        self._again_seconds = again_seconds
        self._wanted: tuple[Adapter, ...] = ()
        self._held: dict[str, _Held] = {}
        self._versions: dict[str, _Versions] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()

    def names(self) -> frozenset[str]:
        """Names that are answered."""
        return frozenset(held.adapter.name for held in self._held.values() if held.facts and self._is_wanted(held))

    def coming(self) -> frozenset[str]:
        """Names that will be answered soon: they were not tried yet."""
        return frozenset(one.name for one in self._wanted if not self._is_tried(one))

    def reports(self) -> tuple[AdapterReport, ...]:
        """What there is to say about each adapter of the list."""
        return tuple(self._report(one) for one in self._wanted)

    def take(self, wanted: Iterable[Adapter]) -> None:
        """Take a new list. What it does not have any more is refused from now on; the rest follows while requests go on."""
        self._wanted = tuple(wanted)
        for held in self._held.values():
            held.again_at = 0.0
            if held.facts is not None and not self._is_wanted(held):
                self._engine.hide_adapter(held.adapter.name)
        self._tried.clear()
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def tried(self) -> None:
        """Wait until each adapter of the list was loaded, or cannot be."""
        if self._task is not None:
            await self._tried.wait()

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _is_wanted(self, held: _Held) -> bool:
        return held.adapter in self._wanted

    def _is_tried(self, adapter: Adapter) -> bool:
        held = self._held.get(adapter.name)
        return held is not None and held.adapter == adapter

    def _report(self, adapter: Adapter) -> AdapterReport:
        held = self._held.get(adapter.name)
        if held is None or held.adapter != adapter:
            return AdapterReport(name=adapter.name, source=adapter.source)
        refusal, facts = held.refusal, held.facts
        return AdapterReport(
            name=adapter.name,
            source=adapter.source,
            loaded=int(facts is not None),
            failed=int(refusal is not None),
            fault=None if refusal is None else refusal.fault,
            message="" if refusal is None else str(refusal),
            rank=None if facts is None else facts.rank,
            digest="" if facts is None else facts.digest,
        )

    async def _follow(self) -> None:
        while True:
            self._changed.clear()
            await self._forget_idle()
            for adapter in self._wanted:
                await self._try(adapter)
                if self._changed.is_set():
                    break
            if not self._changed.is_set():
                self._tried.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._changed.wait()

    def _pause(self) -> float | None:
        """Seconds until there may be something to do."""
        if any(not self._is_wanted(held) for held in self._held.values()):
            return _LOOK_SECONDS
        return self._again_seconds if any(held.refusal is not None for held in self._held.values()) else None

    async def _forget_idle(self) -> None:
        """Free the places of those that are not wanted any more and have no request that runs."""
        for name, held in list(self._held.items()):
            if self._is_wanted(held) or (held.facts is not None and self._running(name)):
                continue
            if held.facts is not None:
                try:
                    await self._engine.forget_adapter(name)
                except Exception:
                    _LOGGER.exception("The engine does not forget the adapter %s", name)
            del self._held[name]

    async def _try(self, adapter: Adapter) -> None:
        held, now = self._held.get(adapter.name), asyncio.get_running_loop().time()
        if held is not None and (held.facts is not None or held.adapter != adapter or now < held.again_at):
            # Loaded; or requests for one of before, which had the same name, still run; or tried a moment ago.
            return
        trial = _Held(adapter, again_at=now + self._again_seconds)
        try:
            trial.facts = await self._loaded(adapter)
        except AdapterRefusedError as error:
            trial.refusal = error
        except Exception as error:
            _LOGGER.exception("The adapter %s cannot be loaded", adapter.name)
            words = f"the engine cannot load it: {type(error).__name__}: {error}"
            trial.refusal = AdapterRefusedError(AdapterFault.NOT_LOADED, words)
        if trial.refusal is not None and (held is None or str(held.refusal) != str(trial.refusal)):
            _LOGGER.warning("The adapter %s is not loaded: %s", adapter.name, trial.refusal)
        self._held[adapter.name] = trial

    async def _loaded(self, adapter: Adapter) -> AdapterFacts:
        count = sum(held.facts is not None for held in self._held.values())
        if count >= self._room.max_cpu_loras:
            words = f"the engine holds {count} adapters already; raise spec.adapterSlots.maxAdapters, which starts new engines"
            raise AdapterRefusedError(AdapterFault.NOT_LOADED, words)
        if adapter.repository is None:
            folder = await asyncio.to_thread(place_of, self._room.folder, adapter.path or "")
        elif (copied := (self._room.copies or {}).get(adapter.source)) is not None:
            folder = Path(copied)
        else:
            folder = await self._engine.fetch_adapter(adapter.repository)
        before = await asyncio.to_thread(stamp, folder)
        facts, path = await asyncio.to_thread(self._looked_at, folder)
        await self._engine.same_elsewhere(folder)
        path = self._versions.setdefault(path, _Versions()).path(path, facts.digest)
        await self._engine.load_adapter(adapter.name, path)
        if await asyncio.to_thread(stamp, folder) != before:
            # Ranks read at different times: some may have the files of before, some those of now.
            await self._engine.forget_adapter(adapter.name)
            words = "its files changed while it was loaded; put a new version into a new folder, and name that in spec.adapters"
            raise AdapterRefusedError(AdapterFault.NOT_LOADED, words)
        return facts

    def _looked_at(self, folder: Path) -> tuple[AdapterFacts, str]:
        facts = look_at(folder, max_rank=self._room.max_lora_rank, base=self._engine.base_shape())
        return facts, str(folder)
