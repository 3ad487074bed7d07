"""The parts of the process, made and joined from the settings. Called by `process.operator`, which runs them."""

import contextlib
import random
import secrets
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import aiohttp

from llama_operator import catalog
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.catalog import Catalog
from llama_operator.decide.platform import Platform
from llama_operator.evidence import start
from llama_operator.evidence.anchor import ANNOTATION_HEAD, LeaseAnchor
from llama_operator.evidence.chain import Signer
from llama_operator.evidence.log import HashChainLog, NoAnchor
from llama_operator.evidence.sink import EvidenceFile, EvidenceStream
from llama_operator.handlers.watched import WATCHED, kept
from llama_operator.kube import kinds
from llama_operator.kube.cache.cluster import CachedCluster
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.leadership.fenced import FencedCluster
from llama_operator.kube.leadership.handover import Handover
from llama_operator.kube.leadership.lease import Leadership, LeaseElection, LeaseTiming
from llama_operator.kube.port import Ref
from llama_operator.kube.server.client import KubernetesCluster
from llama_operator.observe.ages import Ages
from llama_operator.observe.answers import KeptAnswers
from llama_operator.observe.endings import Endings
from llama_operator.observe.rights import WithoutThe
from llama_operator.observe.serving import NoServingReader, ServingReader
from llama_operator.observe.serving_http import HttpServingReader
from llama_operator.observe.unreadable import Unreadable, log
from llama_operator.process.passes import note_write, run_pass
from llama_operator.reconcile.event_recorder import EventRecorder
from llama_operator.reconcile.failing import Failing
from llama_operator.reconcile.ports import Ports
from llama_operator.reconcile.repairs import Repairs
from llama_operator.settings.operator import OperatorSettings, ServingStatusSource, Switch
from llama_operator.telemetry.export import Export
from llama_operator.telemetry.measured import MeasuredCluster
from llama_operator.telemetry.metrics import Metrics
from llama_operator.telemetry.pass_meter import PassMeter
from llama_operator.work.controller import Controller
from llama_operator.work.queue import Slots


@dataclass(slots=True)
class CurrentPlatform:
    """What the cluster can do; the process looks again when it becomes leader and when kinds appear."""

    value: Platform = field(default_factory=Platform)

    def __call__(self) -> Platform:
        """Return what is known now."""
        return self.value


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process consists of, besides its watches."""

    catalog: Catalog
    metrics: Metrics
    cache: ObjectCache
    leadership: Leadership
    handover: Handover
    """What the leader before left in the Lease."""
    election: LeaseElection | None
    """None if there is only one process, ever."""
    identity: str
    """Name of this replica."""
    sink: EvidenceFile | EvidenceStream
    """Where records of license decisions go."""
    evidence: HashChainLog
    platform: CurrentPlatform
    unreadable: Unreadable
    """What could not be read."""
    endings: Endings
    """How pods ended that are gone."""
    controller: Controller
    """Runs a pass for each key that it gets."""
    answers: KeptAnswers
    """What serving pods answered last."""


def wire(
    settings: OperatorSettings,
    export: Export,
    cluster: KubernetesCluster,
    http: aiohttp.ClientSession,
    signer: Signer | None,
) -> Parts:
    """Make the parts and join them; nothing runs yet.

    Args:
        settings: All settings.
        export: Where numbers and spans go.
        cluster: The API server.
        http: For the serving pods' status endpoint.
        signer: Signs evidence; None: it is not signed.
    """
    metrics, tracer = Metrics(export.meter), export.tracer if export.traces else None
    known, sink = catalog.load(), start.sink(settings.evidence_file)
    endings = Endings(boot_clock)
    unreadable = Unreadable(lambda kind: metrics.unreadable.add(1, {"kind": kind}), log)
    cache = ObjectCache(index=LABEL_DEPLOYMENT, keep=kept, unreadable=unreadable.leave_out)
    leadership, handover = Leadership(boot_clock), Handover(ANNOTATION_HEAD)
    identity = settings.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    election = _election(settings, cluster, identity, leadership, handover)
    anchor = NoAnchor() if election is None else LeaseAnchor(election, leadership)
    evidence = HashChainLog(sink.write, anchor, signer, default_image=settings.serving_image)
    writer = FencedCluster(MeasuredCluster(cluster, metrics, tracer), leadership, wrote=note_write)
    platform = CurrentPlatform()
    answers = KeptAnswers(_serving(settings, http, unreadable), boot_clock)
    ports = Ports(
        cluster=CachedCluster(
            cache,
            writer,
            kinds=tuple(each.kind for each in WATCHED),
            indexed=tuple(each.kind for each in WATCHED if each.only_of_deployments),
        ),
        serving=answers,
        catalog=known,
        settings=settings.decisions(),
        now=utc_now,
        platform=platform,
        events=EventRecorder(writer, now=utc_now),
        evidence=evidence,
        pass_seconds=settings.pass_seconds,
        repairs=Repairs(boot_clock),
        failing=Failing(boot_clock),
        ages=Ages(boot_clock),
        endings=endings,
        rights=WithoutThe([each.kind for each in WATCHED if not each.needed]),
        unreadable=unreadable,
        failed=lambda stage, error: metrics.failures.add(1, {"stage": stage, "error": type(error).__name__}),
        stage=contextlib.nullcontext if tracer is None else tracer.start_as_current_span,
    )
    controller = Controller(
        partial(run_pass, ports),
        slots=Slots(settings.workers, kept=settings.workers // 2),
        meter=PassMeter(metrics, tracer),
        clock=time.monotonic,
    )
    return Parts(
        known,
        metrics,
        cache,
        leadership,
        handover,
        election,
        identity,
        sink,
        evidence,
        platform,
        unreadable,
        endings,
        controller,
        answers,
    )


def boot_clock() -> float:
    """Seconds that go on while the machine sleeps, unlike those of the event loop: a Lease can end in a sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_now() -> datetime:
    """Time of the wall clock."""
    return datetime.now(UTC)


def _serving(settings: OperatorSettings, http: aiohttp.ClientSession, unreadable: Unreadable) -> ServingReader:
    if settings.serving_status is ServingStatusSource.OFF:
        return NoServingReader()
    return HttpServingReader(http, cluster_domain=settings.cluster_domain, unreadable=unreadable)


def _election(
    settings: OperatorSettings, cluster: KubernetesCluster, identity: str, leadership: Leadership, handover: Handover
) -> LeaseElection | None:
    if settings.leader_election is Switch.DISABLED:
        return None
    return LeaseElection(
        cluster,
        Ref(kinds.LEASE, settings.lease_namespace or cluster.namespace, settings.lease_name),
        identity,
        timing=LeaseTiming(settings.lease_duration_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds),
        leadership=leadership,
        clock=boot_clock,
        now=utc_now,
        chance=random.random,
        handover=handover,
    )
