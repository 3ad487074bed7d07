"""Runs kopf inside our event loop, for as long as the process lives. Wired in by `process`.

kopf watches the kinds that exist. A kind that appears later (KubeRay installed after us) gets a kopf of its own: the first
one could learn of it only with the right to read every CRD, and the memory for them.

Why `spawn_tasks`, and an end of our own: `kopf.run` and `kopf.operator` end in `kopf.run_tasks`, which cancels every task of
the loop that started after it, ours too (a TODO in its code says so). So we end kopf's tasks here, and have to tell them
from ours. A loop of its own for kopf, in a thread with a `stop_flag`, would not need that. But the cache and the queue belong
to one loop: then each event would cross threads, and a pass could no longer rely on a cache that stands still between two
awaits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import kopf

from llama_operator.handlers import registry
from llama_operator.handlers.dispatch import Dispatcher
from llama_operator.handlers.watched import Watched

_LOG = logging.getLogger(__name__)
# Only peering uses it. Without one kopf calls getpass, which fails for a user id without a name. kopf does not export
# the type.
_IDENTITY: Final[Any] = "llama-operator"
_STOP_SECONDS: Final = 5.0
_APPEARANCE_SECONDS: Final = 10.0
"""How often missing kinds are looked for."""


class WatchEndedError(Exception):
    """kopf ended a watch that must not end; the process has to start again."""


class Watches:
    """All watches.

    Args:
        dispatcher: Gets the events.
        namespaces: Where to watch; empty for everywhere.
        login: kopf's login handler.
        on_started: Called after each start of kopf, which takes the signal handlers of the process for itself.
        appeared: Returns those of the given kinds that exist by now, after listing them into the cache.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        namespaces: Sequence[str],
        login: Callable[..., Awaitable[kopf.ConnectionInfo]],
        on_started: Callable[[], None],
        appeared: Callable[[Sequence[Watched]], Awaitable[Sequence[Watched]]],
    ) -> None:
        self._dispatcher = dispatcher
        self._namespaces = namespaces
        self._login = login
        self._on_started = on_started
        self._appeared = appeared
        self.missing: tuple[Watched, ...] = ()
        """Kinds that the cluster does not have."""
        self.barred: frozenset[str] = frozenset()
        """Namespaces that may not be read, and are not watched."""

    async def run(
        self, present: Sequence[Watched], missing: Sequence[Watched], barred: frozenset[str] = frozenset()
    ) -> None:
        """Watch until cancelled.

        Args:
            present: Kinds that exist.
            missing: Kinds to wait for.
            barred: Namespaces to leave out.

        Raises:
            WatchEndedError: If kopf gave up.
        """
        self.missing, self.barred = tuple(missing), barred
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(present))
                while self.missing:
                    await asyncio.sleep(_APPEARANCE_SECONDS)
                    present = await self._appeared(self.missing)
                    if present:
                        _LOG.info("appeared, and are watched now: %s", ", ".join(one.kind.kind for one in present))
                        self.missing = tuple(one for one in self.missing if one not in present)
                        group.create_task(self._watch(present))
        except* WatchEndedError as errors:
            raise errors.exceptions[0] from None

    async def _watch(self, watched: Sequence[Watched]) -> None:
        if not watched:
            return
        tasks = await kopf.spawn_tasks(
            registry=registry.build(watched, self._login),
            memo=kopf.Memo(dispatcher=self._dispatcher),
            settings=registry.settings(watched),
            standalone=True,
            identity=_IDENTITY,
            clusterwide=not self._namespaces,
            namespaces=[name for name in self._namespaces if name not in self.barred],
        )
        self._on_started()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First the tasks that kopf's tasks started: they use connections that the latter close.
            await _stop({task for task in asyncio.all_tasks() if _is_of_kopf(task)} - set(tasks))
            await _stop(tasks)
        failure = next((task.exception() for task in done if not task.cancelled()), None)
        raise WatchEndedError(f"kopf ended a watch: {failure or 'it was told to stop'}") from failure


def _is_of_kopf(task: asyncio.Task[Any]) -> bool:
    """Whether kopf started a task: it hands out its first tasks only, and marks none of the others."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("kopf.")


async def _stop(tasks: Collection[asyncio.Task[Any]]) -> None:
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
    if pending:
        _LOG.warning("kopf did not stop in %.0f s: %s", _STOP_SECONDS, ", ".join(task.get_name() for task in pending))
