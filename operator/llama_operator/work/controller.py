"""Runs the reconcile for every key: passes in tasks, chosen by the pure `work.queue`. Wired in by `process`.

One task gives out keys; each pass is a task of its own; the queue says how many may run. Only a leader runs it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from llama_operator.errors import LlamaOperatorError, NamespaceEndingError, PassTooLongError
from llama_operator.kube.leadership.fenced import NotLeaderError
from llama_operator.kube.port import KubeError, Ref
from llama_operator.telemetry.passes import NO_METER, Meter, Outcome
from llama_operator.work.queue import BackOff, Priority, Slots, WorkQueue

_LOG = logging.getLogger(__name__)
_BACK_OFF: Final = BackOff()
_STOPPED: Final = "the controller was stopped"

Reconcile = Callable[[Ref], Awaitable[float | None]]
"""One pass; returns the seconds after which to look again without an event, or None."""


class Controller:
    """Keeps reconciling.

    Args:
        reconcile: One pass.
        slots: Passes at the same time, each for another key.
        back_off: How long failed keys wait.
        meter: Measures every pass.
        clock: Monotonic seconds.
        chance: Random numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        reconcile: Reconcile,
        *,
        slots: Slots,
        back_off: BackOff = _BACK_OFF,
        meter: Meter = NO_METER,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._reconcile = reconcile
        self._meter = meter
        self._clock = clock
        self._queue = WorkQueue(back_off, chance, slots)
        self._wake = asyncio.Event()
        self._stopping = False
        self._passes: dict[asyncio.Task[None], float] = {}

    @property
    def depth(self) -> int:
        """Keys that wait for a worker or their turn."""
        return self._queue.ready

    @property
    def running(self) -> int:
        """Passes that run now."""
        return len(self._passes)

    @property
    def failing(self) -> int:
        """Keys whose last pass failed."""
        return self._queue.failing

    def oldest_pass_seconds(self) -> float:
        """How long the oldest running pass runs already; 0 when none runs."""
        return max((self._clock() - started for started in self._passes.values()), default=0.0)

    def enqueue(self, ref: Ref, priority: Priority = Priority.RECHECK) -> None:
        """Ask for a pass. Cheap, and may be called before `run`."""
        self._queue.add(ref, priority)
        self._wake.set()

    async def run(self) -> None:
        """Give out keys until `stop`."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            self._wake.clear()
            # The time of the last look: a key that became due since then must not be overlooked.
            due = self._queue.next_due(self._start_passes())
            timer = None if due is None else loop.call_later(max(0.0, due - self._clock()), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    async def stop(self, grace: float) -> None:
        """Start no more passes; give those that run `grace` seconds, then cancel them. Returns when none is left."""
        self._stopping = True
        self._wake.set()
        if self._passes and grace > 0:
            await asyncio.wait(list(self._passes), timeout=grace)
        left = list(self._passes)
        for task in left:
            task.cancel(_STOPPED)
        await asyncio.gather(*left, return_exceptions=True)

    def _start_passes(self) -> float:
        """Start every pass that may start; returns the time at which none was left."""
        while (key := self._queue.take(now := self._clock())) is not None:
            task = asyncio.create_task(self._pass(key), name=f"reconcile {key}")
            self._passes[task] = now
            task.add_done_callback(self._done)
        return now

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._passes[task]
        self._wake.set()

    async def _pass(self, key: Ref) -> None:
        with self._meter.measure(key) as measured:
            try:
                again = await self._reconcile(key)
            except NotLeaderError as error:
                # Not a failure of the deployment: the process is about to end, or holds the Lease again in a moment.
                self._queue.failed(key, self._clock())
                _LOG.info("reconcile ended before its end: %s", error)
            except (LlamaOperatorError, KubeError) as error:
                # Named errors say what is wrong; a trace would add nothing.
                wait = self._queue.failed(key, self._clock())
                measured.outcome = Outcome.TOO_LONG if isinstance(error, PassTooLongError) else Outcome.ERROR
                # A namespace that is being deleted takes its deployments along: nobody has to do anything.
                level = logging.DEBUG if isinstance(error, NamespaceEndingError) else logging.WARNING
                _LOG.log(level, "reconcile failed, tries again in %.1f s: %s", wait, error)
            except Exception:  # noqa: BLE001 - one deployment must not stop all others; it is logged with its trace
                wait = self._queue.failed(key, self._clock())
                measured.outcome = Outcome.ERROR
                _LOG.exception("reconcile failed by a defect, tries again in %.1f s", wait)
            else:
                self._queue.succeeded(key, self._clock(), again_after=again)
                measured.outcome = Outcome.SUCCESS
