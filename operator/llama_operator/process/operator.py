"""The operator as one process: what `wiring` made is started in order, and stopped in order. Called by `main`.

Every replica watches and keeps its cache warm; the one that holds the Lease reconciles. See
docs/designs/0006-operator-process.md.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final

import aiohttp

from llama_operator import __version__
from llama_operator.api.meta import ANNOTATION_LISTED_AT, ANNOTATION_LISTS_AGAIN_AT, rfc3339
from llama_operator.evidence import start
from llama_operator.evidence.chain import Signer
from llama_operator.evidence.log import EvidenceError
from llama_operator.handlers import registry
from llama_operator.handlers.dispatch import Dispatcher
from llama_operator.handlers.resync import Kinds, Resync
from llama_operator.handlers.watched import WATCHED, Watched
from llama_operator.handlers.watches import WatchEndedError, Watches
from llama_operator.kube.leadership.lease import LostLeaseError
from llama_operator.kube.port import KubeError, Ref
from llama_operator.kube.server.client import KubernetesCluster, connect
from llama_operator.observe.platform import read_platform
from llama_operator.process import gauges
from llama_operator.process.full_collections import collect_when_idle
from llama_operator.process.stop_signals import StopSignals
from llama_operator.process.wiring import utc_now, wire
from llama_operator.settings.operator import OperatorSettings
from llama_operator.telemetry import probes
from llama_operator.telemetry.export import Export, OtlpSettings
from llama_operator.work.queue import Priority

_LOG = logging.getLogger(__name__)
_FOREVER: Final = float("inf")
_STUCK_SECONDS: Final = 900.0
"""A pass that runs longer than any chain of requests with all their retries hangs."""
_RETRY_SECONDS: Final = 5.0
_BARRED_SECONDS: Final = 15.0
"""How often is asked whether a namespace may be read again."""


class BarredError(Exception):
    """Other namespaces or kinds may be read than at the start; the process has to start again."""


async def run(settings: OperatorSettings, environment: Mapping[str, str]) -> int:
    """Run until a signal, or a failure that only a restart mends.

    Args:
        settings: All settings.
        environment: Environment variables: those of OpenTelemetry are read.

    Returns:
        The exit code of the process.
    """
    # First: a key that cannot sign ends the process before anything is watched.
    signer = start.signer(settings.evidence_signing_key)
    signals = StopSignals()
    signals.install()
    async with AsyncExitStack() as stack:
        export = await stack.enter_async_context(Export(settings.metrics, OtlpSettings.read(environment)))
        cluster = await stack.enter_async_context(connect(settings.kubeconfig, settings.context or None))
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        operator = Operator(settings, export, cluster, http, signals, signer)
        if settings.probe_port:
            address = await stack.enter_async_context(
                probes.serve(
                    settings.probe_host,
                    settings.probe_port,
                    healthy=operator.healthy,
                    ready=operator.ready,
                    metrics=export.scrape,
                )
            )
            _LOG.info("answers probes at %s", address)
        return await operator.run()


class Operator:
    """The process: its parts, and when each of them runs.

    Args:
        settings: All settings.
        export: Where numbers and spans go.
        cluster: The API server.
        http: For the serving pods' status endpoint.
        signals: When to stop.
        signer: Signs evidence; None: it is not signed.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        export: Export,
        cluster: KubernetesCluster,
        http: aiohttp.ClientSession,
        signals: StopSignals,
        signer: Signer | None = None,
    ) -> None:
        self._settings = settings
        self._server = cluster
        self._signals = signals
        self._parts = parts = wire(settings, export, cluster, http, signer)
        self._controller = parts.controller
        loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(
            parts.cache,
            self._enqueue,
            catalog=parts.catalog,
            later=loop.call_later,
            count=lambda kind: parts.metrics.events.add(1, {"kind": kind.kind}),
            unreadable=parts.unreadable,
            endings=parts.endings,
        )
        self._resync = Resync(cluster, parts.cache, settings.namespaces, may_watch=cluster.may_watch)
        self._watches = Watches(
            self._dispatcher,
            namespaces=settings.namespaces,
            login=registry.login(settings.kubeconfig, settings.context or None),
            on_started=signals.install,
            appeared=self._appeared,
        )
        self._leading: asyncio.Task[None] | None = None
        self._refused: tuple[Watched, ...] = ()
        self._primed = False
        self._takes_keys = False
        self._leads = False
        gauges.observe(parts.metrics, parts.controller, parts.leadership, parts.cache, self._resync, parts.answers)

    async def run(self) -> int:
        """Start everything, wait for a reason to end, and end everything in order; returns the exit code."""
        _LOG.info(
            "llama-operator %s starts; namespaces: %s", __version__, ", ".join(self._settings.namespaces) or "all"
        )
        tasks: set[asyncio.Task[Any]] = {
            asyncio.create_task(self._signals.asked.wait(), name="signals"),
            asyncio.create_task(self._work(), name="work"),
        }
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        failure = next((task.exception() for task in done if task.exception()), None)
        if failure is None:
            _LOG.info("asked to stop; gives running reconciles up to %d s", self._settings.grace_seconds)
        else:
            _report(failure)
        await self._stop(tasks, graceful=failure is None)
        _LOG.info("stopped")
        return 0 if failure is None else 1

    async def _work(self) -> None:
        found = await self._prime()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run(found.present, found.missing, found.barred))
            group.create_task(self._keep_comparing())
            group.create_task(self._wait_for_barred(found))
            group.create_task(collect_when_idle(self._busy, time.monotonic))
            self._leading = group.create_task(self._lead())

    async def _prime(self) -> Kinds:
        """Fill the cache; the API server may come up after us."""
        found = await self._listed(WATCHED, "cannot list what it watches")
        if found.missing:
            level = logging.WARNING if any(each.needed for each in found.missing) else logging.INFO
            _LOG.log(level, "not installed, goes on without: %s", ", ".join(each.kind.kind for each in found.missing))
        self._refused = tuple(each.watched for each in found.refused)
        for each in found.refused:
            kind = each.watched.kind.plural
            _LOG.warning("%s are not watched, so %s: %s", kind, each.watched.without, each.why)
        self._primed = True
        return found

    async def _listed(self, watched: Sequence[Watched], trouble: str) -> Kinds:
        while True:
            try:
                return await self._resync.run(watched)
            except KubeError as error:
                _LOG.warning("%s, tries again: %s", trouble, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _lead(self) -> None:
        election = self._parts.election
        if election is None:
            self._parts.leadership.hold_until(_FOREVER)
            await self._reconcile_all()
            return
        await election.acquire()
        async with asyncio.TaskGroup() as group:
            group.create_task(election.keep())
            group.create_task(self._reconcile_all())

    async def _reconcile_all(self) -> None:
        self._takes_keys = True
        # The last writes of the leader before may not have come through our watches yet.
        await self._compare()
        await self._begin_evidence()
        await self._look_at_platform()
        self._leads = True
        await self._controller.run()

    async def _look_at_platform(self) -> None:
        self._parts.platform.value = await read_platform(self._server)
        _LOG.info("Kubernetes version: %s", self._parts.platform.value.kubernetes or "not known")

    async def _begin_evidence(self) -> None:
        parts = self._parts
        previous = start.previous(parts.sink, parts.handover.received)
        term = f"{parts.identity}/0" if parts.election is None else parts.election.term
        await parts.evidence.begin(term, previous, utc_now())

    async def _keep_comparing(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds * (1 + 0.1 * random.random()))  # noqa: S311 - no secret
            await self._compare()

    async def _compare(self) -> None:
        present = [each for each in WATCHED if each not in self._watches.missing and each not in self._refused]
        found = await self._listed(present, "cannot compare the cache with the API server")
        if found.missing:
            _LOG.warning("gone from the API server: %s", ", ".join(each.kind.kind for each in found.missing))
        if found.barred - self._watches.barred:
            raise BarredError(f"{', '.join(sorted(found.barred))} may not be read any more")
        if found.refused:
            raise BarredError(
                f"{', '.join(each.watched.kind.plural for each in found.refused)} may not be watched any more"
            )
        self._tell_of_lists()
        self._dispatcher.enqueue_all()

    async def _wait_for_barred(self, found: Kinds) -> None:
        """End when what could not be read may be read now: kopf takes nothing more, and a start costs little."""
        barred, refused = set(found.barred), self._refused
        while barred or refused:
            await asyncio.sleep(_BARRED_SECONDS)
            with contextlib.suppress(KubeError):
                if refused and (now := await self._resync.permitted(refused)):
                    raise BarredError(f"{', '.join(each.kind.plural for each in now)} may be watched now")
            for name in sorted(barred):
                with contextlib.suppress(KubeError):
                    if await self._resync.may_read(name, found.present):
                        raise BarredError(f"namespace {name} may be read now")

    def _tell_of_lists(self) -> None:
        """Say in the Lease when everything was listed, and when it will be again: `kubectl llama doctor` reads it there."""
        now, again = utc_now(), timedelta(seconds=self._settings.resync_seconds * 1.1)
        self._parts.handover.note(ANNOTATION_LISTED_AT, rfc3339(now))
        self._parts.handover.note(ANNOTATION_LISTS_AGAIN_AT, rfc3339(now + again))

    async def _appeared(self, missing: Sequence[Watched]) -> Sequence[Watched]:
        try:
            found = (await self._resync.run(missing)).present
        except KubeError as error:
            _LOG.warning("cannot look for kinds that were missing: %s", error)
            return ()
        if found:
            await self._look_at_platform()
            self._dispatcher.enqueue_all()
        return found

    async def _stop(self, tasks: Collection[asyncio.Task[Any]], *, graceful: bool) -> None:
        """End passes while the Lease is still renewed, then give it back, then end the watches."""
        await self._end_passes(self._settings.grace_seconds if graceful else 0)
        if self._leading is not None:
            self._leading.cancel()
            await asyncio.wait({self._leading})
        if self._parts.election is not None and graceful:
            await self._parts.election.release()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_passes(self, grace: float) -> None:
        ending = asyncio.create_task(self._controller.stop(grace))
        insisted = asyncio.create_task(self._signals.insisted.wait())
        await asyncio.wait({ending, insisted}, return_when=asyncio.FIRST_COMPLETED)
        insisted.cancel()
        if not ending.done():
            _LOG.warning("asked again: ends running reconciles at once")
            ending.cancel()
            await self._controller.stop(0)

    def _enqueue(self, ref: Ref, priority: Priority = Priority.RECHECK) -> None:
        # A standby would only pile them up; when it takes over, it looks at everything first.
        if self._takes_keys:
            self._controller.enqueue(ref, priority)

    def _busy(self) -> bool:
        return bool(self._controller.running or self._controller.depth)

    def healthy(self) -> probes.Report:
        """Whether the process works. If this answers, the event loop does; here a pass shows that hangs."""
        oldest = self._controller.oldest_pass_seconds()
        return probes.Report(oldest < _STUCK_SECONDS, {"oldestReconcileSeconds": f"{oldest:.1f}"})

    def ready(self) -> probes.Report:
        """Whether it reconciles, or could do so at once if the leader ended."""
        missing = ", ".join(each.kind.kind for each in self._watches.missing)
        return probes.Report(
            self._primed,
            {
                "cache": "filled" if self._primed else "being filled",
                "role": "leader" if self._leads else "standby",
                "missing": missing or "nothing",
                "barred": ", ".join(sorted(self._watches.barred)) or "nothing",
                "notWatched": ", ".join(sorted(each.kind.plural for each in self._refused)) or "nothing",
            },
        )


def _report(failure: BaseException) -> None:
    errors = failure.exceptions if isinstance(failure, BaseExceptionGroup) else (failure,)
    for error in errors:
        if isinstance(error, BaseExceptionGroup):
            _report(error)
        elif isinstance(error, LostLeaseError | WatchEndedError | BarredError | KubeError | EvidenceError):
            _LOG.error("ends, to be started again: %s", error)
        else:
            _LOG.error("ends because of a defect", exc_info=error)
