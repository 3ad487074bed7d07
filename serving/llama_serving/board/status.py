"""Puts the answer of the status endpoint together from reports. No Ray in it; `reporting` carries the reports.

Engine replicas and ingresses push their reports about once a second. So a busy engine is never asked, all ingresses see the
same state, and there is an answer while no engine runs.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llama_serving.autoscaling import ScalingRecord
from llama_serving.config import ServingConfig
from llama_serving.contract.adapters import summed
from llama_serving.contract.status import (
    MOST_CHANGES,
    ReplicaReport,
    ScalingChange,
    ScalingState,
    ServingStatus,
    version_key,
)
from llama_serving.licenses.files import LicenseFile

_EXPIRY_SECONDS = 10.0
"""A sender that is silent for longer is gone; an engine that loads the machine may be late by seconds."""
_REASON_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """How many replicas of a deployment there are, as Serve's controller says."""

    serving: int
    """Replicas that it knows to serve."""
    target: int
    """Replicas that it wants."""
    recovering: frozenset[str] = frozenset()
    """Replicas that it found after its own restart and has not asked yet, by name: some serve, others have never begun to."""

    def running(self, reports: Iterable[ReplicaReport]) -> int:
        """Return how many serve: of those that are not asked yet, the ones that report."""
        return self.serving + sum(report.replica in self.recovering for report in reports)


class StatusBoard:
    """The latest report of every sender. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._replicas: dict[str, tuple[float, ReplicaReport]] = {}
        self._ingresses: dict[str, tuple[float, int]] = {}
        self._licenses: tuple[LicenseFile, ...] | None = None
        self._guard_licenses: tuple[LicenseFile, ...] | None = None

    def report_replica(self, report: ReplicaReport) -> None:
        """Remember what an engine replica says."""
        self._replicas[report.replica] = (self._clock(), report)

    def forget_replica(self, replica: str) -> None:
        """Drop a replica that stops."""
        self._replicas.pop(replica, None)

    def report_ingress(self, ingress: str, open_requests: int) -> None:
        """Remember how many requests an ingress has accepted and not answered yet."""
        self._ingresses[ingress] = (self._clock(), open_requests)

    def report_licenses(self, files: tuple[LicenseFile, ...]) -> None:
        """Remember the license texts in the folder of the model; all replicas have the same, and they do not expire."""
        self._licenses = files

    def licenses(self) -> tuple[LicenseFile, ...] | None:
        """Return the license texts; None while no engine has read them."""
        return self._licenses

    def report_guard_licenses(self, files: tuple[LicenseFile, ...]) -> None:
        """Remember the license texts in the folder of the guard."""
        self._guard_licenses = files

    def guard_licenses(self) -> tuple[LicenseFile, ...] | None:
        """Return the license texts of the guard; None while its engine has not read them, and without one."""
        return self._guard_licenses

    def snapshot(self) -> tuple[tuple[ReplicaReport, ...], int]:
        """Return the fresh reports, ordered by replica, and the open requests of all ingresses."""
        oldest = self._clock() - _EXPIRY_SECONDS
        self._replicas = {key: value for key, value in self._replicas.items() if value[0] >= oldest}
        self._ingresses = {key: value for key, value in self._ingresses.items() if value[0] >= oldest}
        reports = tuple(report for _, (_, report) in sorted(self._replicas.items()))
        return reports, sum(count for _, count in self._ingresses.values())


def summarize(
    config: ServingConfig, *, reports: tuple[ReplicaReport, ...], open_requests: int, running: int, target: int
) -> ServingStatus:
    """Add up the reports.

    What is open at the ingresses and does not run in an engine waits somewhere: in an engine or in Serve's router.

    Args:
        config: What the pods serve.
        reports: Fresh reports of engine replicas.
        open_requests: Requests that the ingresses have accepted and not answered.
        running: Replicas that Serve calls running.
        target: Replicas that Serve wants.
    """
    executing = sum(report.running for report in reports)
    waiting = sum(report.waiting for report in reports)
    tokens = [report.kv_cache_tokens for report in reports if report.kv_cache_tokens is not None]
    concurrency = [report.max_concurrency for report in reports if report.max_concurrency is not None]
    versions = [report.engine_version for report in reports if report.engine_version is not None]
    return ServingStatus(
        identity=config.identity,
        model_id=config.model_id,
        replicas=running,
        target_replicas=target,
        queue_depth=max(waiting, open_requests - executing),
        running_requests=executing,
        kv_cache_tokens=min(tokens, default=None),
        max_concurrency=min(concurrency, default=None),
        engine_version=min(versions, key=version_key, default=None),
        haproxy_fault=next((report.haproxy_fault for report in reports if report.haproxy_fault), ""),
        # Summed up only: in each report they would make the answer as long as replicas times adapters.
        reports=tuple(report.model_copy(update={"adapters": ()}) for report in reports),
        adapters=summed(tuple(report.adapters for report in reports)),
    )


def state_of(record: ScalingRecord) -> ScalingState | None:
    """Return what the policy wrote, as the status has it; None if it has not decided yet."""
    if record.wish is None:
        return None
    return ScalingState(
        at=record.at,
        wanted_replicas=record.wish,
        needed_replicas=record.need,
        unbounded_replicas=record.unbounded,
        requests_per_second=record.arrivals,
        seconds_per_request=record.request_seconds,
        cold_start_seconds=record.cold_start,
        reason=record.reason[:_REASON_CHARACTERS],
        changes=tuple(
            ScalingChange(
                at=one["at"], before=one["from"], after=one["to"], reason=str(one["reason"])[:_REASON_CHARACTERS]
            )
            for one in record.events[:MOST_CHANGES]
        ),
    )
