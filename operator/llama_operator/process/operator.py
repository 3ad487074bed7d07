"""The operator as one process: all parts are made and joined here, started in order, and stopped in order. Called by `main`.

Every replica watches and keeps its cache warm; the one that holds the Lease reconciles. See
docs/designs/0006-operator-process.md.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from llama_operator import __version__, catalog
from llama_operator.api.reasons import ConditionType
from llama_operator.evidence import start
from llama_operator.evidence.anchor import ANNOTATION_HEAD, LeaseAnchor
from llama_operator.evidence.chain import Signer
from llama_operator.evidence.log import EvidenceError, HashChainLog, NoAnchor
from llama_operator.handlers import registry
from llama_operator.handlers.dispatch import Dispatcher
from llama_operator.handlers.resync import Found, Resync
from llama_operator.handlers.watched import WATCHED, Watched
from llama_operator.handlers.watches import WatchEndedError, Watches
from llama_operator.kube import kinds
from llama_operator.kube.cache.cluster import CachedCluster
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.events import EventRecorder
from llama_operator.kube.leadership.fenced import FencedCluster
from llama_operator.kube.leadership.handover import Handover
from llama_operator.kube.leadership.lease import Leadership, LeaseElection, LeaseTiming, LostLeaseError
from llama_operator.kube.port import Kind, KubeError, Ref
from llama_operator.kube.server.client import KubernetesCluster, connect
from llama_operator.observe.gather import NoServingReader, ServingReader
from llama_operator.observe.serving_http import HttpServingReader
from llama_operator.process.full_collections import collect_when_idle
from llama_operator.process.stop_signals import StopSignals
from llama_operator.reconcile.deployment import Ports, reconcile
from llama_operator.reconcile.license_records import comment
from llama_operator.settings.operator import OperatorSettings, ServingStatusSource, Switch
from llama_operator.telemetry import metrics as numbers
from llama_operator.telemetry import probes
from llama_operator.telemetry.export import Export, OtlpSettings
from llama_operator.telemetry.measured import MeasuredCluster
from llama_operator.telemetry.metrics import Metrics
from llama_operator.telemetry.recorder import Recorder
from llama_operator.work.controller import Controller
from llama_operator.work.queue import Priority, Slots

_LOG = logging.getLogger(__name__)
_FOREVER: Final = float("inf")
_STUCK_SECONDS: Final = 900.0
"""A pass that runs longer than any chain of requests with all their retries hangs."""
_RETRY_SECONDS: Final = 5.0
_SETTLE_SECONDS: Final = 0.5
"""After a pass that wrote; the first news from KubeRay come meanwhile, and one pass serves both."""
_WRITTEN: ContextVar[set[Kind] | None] = ContextVar("llama_operator_written", default=None)
"""Kinds that the running pass wrote, other than status and events."""


async def run(settings: OperatorSettings, environment: Mapping[str, str]) -> int:
    """Run until a signal or a failure that only a restart mends; returns the exit code."""
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
    """The parts of the process, joined.

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
        self._signals = signals
        metrics = Metrics(export.meter)
        tracer = export.tracer if export.traces else None
        known = catalog.load()
        self._leadership = Leadership(boot_clock)
        self._cache = ObjectCache()
        self._handover = Handover(ANNOTATION_HEAD)
        self._election = _election(settings, cluster, self._leadership, self._handover)
        self._sink = start.sink(settings.evidence_file)
        self._evidence = HashChainLog(
            self._sink.write,
            NoAnchor() if self._election is None else LeaseAnchor(self._election, self._leadership),
            signer,
        )
        writer = FencedCluster(MeasuredCluster(cluster, metrics, tracer), self._leadership, wrote=_note_write)
        self._ports = Ports(
            cluster=CachedCluster(self._cache, writer, kinds=tuple(each.kind for each in WATCHED)),
            serving=_serving(settings, http),
            catalog=known,
            settings=settings.decisions(),
            now=utc_now,
            events=EventRecorder(writer, now=utc_now),
            evidence=self._evidence,
            stage=contextlib.nullcontext if tracer is None else tracer.start_as_current_span,
        )
        self._controller = Controller(
            self._reconcile,
            slots=Slots(settings.workers, kept=settings.workers // 2),
            recorder=Recorder(metrics, tracer),
            clock=time.monotonic,
        )
        loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(
            self._cache,
            self._enqueue,
            catalog=known,
            later=loop.call_later,
            count=lambda kind: metrics.events.add(1, {"kind": kind.kind}),
        )
        self._resync = Resync(cluster, self._cache, settings.namespaces)
        self._watches = Watches(
            self._dispatcher,
            namespaces=settings.namespaces,
            login=registry.login(settings.kubeconfig, settings.context or None),
            on_started=signals.install,
            appeared=self._appeared,
        )
        self._leading: asyncio.Task[None] | None = None
        self._primed = False
        self._takes_keys = False
        self._leads = False
        self._observe(metrics)

    async def run(self) -> int:
        """Start everything, wait for a reason to end, end everything in order."""
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
            group.create_task(self._watches.run(found.present, found.missing))
            group.create_task(self._keep_comparing())
            group.create_task(collect_when_idle(self._busy, time.monotonic))
            self._leading = group.create_task(self._lead())

    async def _prime(self) -> Found:
        """Fill the cache; the API server may come up after us."""
        while True:
            try:
                found = await self._resync.run(WATCHED)
            except KubeError as error:
                _LOG.warning("cannot list what it watches, tries again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if found.missing:
                _LOG.warning("not installed, goes on without: %s", ", ".join(each.kind.kind for each in found.missing))
            self._primed = True
            return found

    async def _lead(self) -> None:
        if self._election is None:
            self._leadership.hold_until(_FOREVER)
            await self._reconcile_all()
            return
        await self._election.acquire()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._election.keep())
            group.create_task(self._reconcile_all())

    async def _reconcile_all(self) -> None:
        self._takes_keys = True
        # What a predecessor wrote last may not have come through our watches yet.
        await self._compare()
        await self._begin_evidence()
        self._leads = True
        await self._controller.run()

    async def _begin_evidence(self) -> None:
        previous = start.previous(self._sink, self._handover.found)
        term = _identity(self._settings) + "/0" if self._election is None else self._election.term
        await self._evidence.begin(term, previous, utc_now())

    async def _keep_comparing(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds * (1 + 0.1 * random.random()))  # noqa: S311 - no secret
            await self._compare()

    async def _compare(self) -> None:
        present = [each for each in WATCHED if each not in self._watches.missing]
        while True:
            try:
                found = await self._resync.run(present)
            except KubeError as error:
                _LOG.warning("cannot compare the cache with the API server, tries again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if found.missing:
                _LOG.warning("gone from the API server: %s", ", ".join(each.kind.kind for each in found.missing))
            self._dispatcher.enqueue_all()
            return

    async def _appeared(self, missing: Sequence[Watched]) -> Sequence[Watched]:
        try:
            found = (await self._resync.run(missing)).present
        except KubeError as error:
            _LOG.warning("cannot look for kinds that were missing: %s", error)
            return ()
        if found:
            self._dispatcher.enqueue_all()
        return found

    async def _reconcile(self, ref: Ref) -> float | None:
        written: set[Kind] = set()
        _WRITTEN.set(written)
        if ref.kind != kinds.LLAMA_DEPLOYMENT:
            return await comment(self._ports.cluster, ref, catalog=self._ports.catalog, now=self._ports.now)
        next_check = (await reconcile(self._ports, ref)).next_check
        if not written:
            return next_check
        # The events of own writes wake nobody, and status was made before them: look once more at what came of it.
        return _SETTLE_SECONDS if next_check is None else min(next_check, _SETTLE_SECONDS)

    async def _stop(self, tasks: Collection[asyncio.Task[Any]], *, graceful: bool) -> None:
        """End passes while the Lease is still renewed, then give it back, then end the watches."""
        await self._end_passes(self._settings.grace_seconds if graceful else 0)
        if self._leading is not None:
            self._leading.cancel()
            await asyncio.wait({self._leading})
        if self._election is not None and graceful:
            await self._election.release()
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
        # A standby would only pile them up; who takes over looks at everything first.
        if self._takes_keys:
            self._controller.enqueue(ref, priority)

    def _busy(self) -> bool:
        return bool(self._controller.running or self._controller.depth)

    def healthy(self) -> probes.Report:
        """Whether a restart would help: it answers, so its loop lives; a pass that hangs shows here."""
        oldest = self._controller.oldest_pass_seconds()
        return probes.Report(oldest < _STUCK_SECONDS, {"oldestReconcileSeconds": f"{oldest:.1f}"})

    def ready(self) -> probes.Report:
        """Whether it reconciles, or could at once if the leader went."""
        missing = ", ".join(each.kind.kind for each in self._watches.missing)
        return probes.Report(
            self._primed,
            {
                "cache": "filled" if self._primed else "being filled",
                "role": "leader" if self._leads else "standby",
                "missing": missing or "nothing",
            },
        )

    def _observe(self, metrics: Metrics) -> None:
        def read(value: Callable[[], float]) -> Callable[[], numbers.Readings]:
            return lambda: [({}, value())]

        metrics.observe(numbers.QUEUE_DEPTH, read(lambda: self._controller.depth))
        metrics.observe(numbers.QUEUE_RUNNING, read(lambda: self._controller.running))
        metrics.observe(numbers.QUEUE_FAILING, read(lambda: self._controller.failing))
        metrics.observe(numbers.LEADER, read(lambda: int(self._leadership.seconds_left() > 0)))
        metrics.observe(numbers.CACHED, lambda: [({"kind": kind.kind}, count) for kind, count in self._counts()])
        metrics.observe(numbers.DEPLOYMENTS, self._deployments)
        metrics.observe(numbers.PLAN_RATIO, lambda: numbers.plan_ratios(self._cache.list(kinds.LLAMA_DEPLOYMENT)))

    def _counts(self) -> Iterator[tuple[Kind, int]]:
        for each in WATCHED:
            yield each.kind, self._cache.count(each.kind)

    def _deployments(self) -> numbers.Readings:
        found = {"True": 0, "False": 0, "Unknown": 0}
        for deployment in self._cache.list(kinds.LLAMA_DEPLOYMENT):
            conditions = (deployment.get("status") or {}).get("conditions") or ()
            ready = next((each["status"] for each in conditions if each["type"] == ConditionType.READY), "Unknown")
            found[ready] += 1
        return [({"ready": status}, count) for status, count in found.items()]


def _note_write(kind: Kind) -> None:
    written = _WRITTEN.get()
    if written is not None and kind != kinds.EVENT:
        written.add(kind)


def boot_clock() -> float:
    """Seconds that go on while the machine sleeps, unlike those of the event loop: a Lease ends meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_now() -> datetime:
    """Time of the wall clock."""
    return datetime.now(UTC)


def _serving(settings: OperatorSettings, http: aiohttp.ClientSession) -> ServingReader:
    if settings.serving_status is ServingStatusSource.OFF:
        return NoServingReader()
    return HttpServingReader(http, cluster_domain=settings.cluster_domain)


def _identity(settings: OperatorSettings) -> str:
    return settings.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"


def _election(
    settings: OperatorSettings, cluster: KubernetesCluster, leadership: Leadership, handover: Handover
) -> LeaseElection | None:
    if settings.leader_election is Switch.DISABLED:
        return None
    return LeaseElection(
        cluster,
        Ref(kinds.LEASE, settings.lease_namespace or cluster.namespace, settings.lease_name),
        _identity(settings),
        timing=LeaseTiming(settings.lease_duration_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds),
        leadership=leadership,
        clock=boot_clock,
        now=utc_now,
        chance=random.random,
        handover=handover,
    )


def _report(failure: BaseException) -> None:
    errors = failure.exceptions if isinstance(failure, BaseExceptionGroup) else (failure,)
    for error in errors:
        if isinstance(error, BaseExceptionGroup):
            _report(error)
        elif isinstance(error, LostLeaseError | WatchEndedError | KubeError | EvidenceError):
            _LOG.error("ends, to be started again: %s", error)
        else:
            _LOG.error("ends because of a defect", exc_info=error)
