"""Leader election by a `coordination.k8s.io` Lease: at most one process holds it, and knows until when for certain.

Called by `process`; `kube.leadership.fenced` asks `Leadership` before every write. docs/designs/0006-operator-process.md says
why the election of the official client library is not used.

The rules are those of Kubernetes' own components, so that both can share a Lease. A process that sees the same record for its
whole duration, by its own monotonic clock, may replace it. Writes are compare-and-swap on the resourceVersion. Clocks of
different machines are never compared; the times in the record are for people.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from llama_operator.api.meta import rfc3339
from llama_operator.api.readings import moment
from llama_operator.kube import kinds
from llama_operator.kube.leadership.handover import Handover
from llama_operator.kube.port import Cluster, ConflictError, JsonPatch, KubeError, NotFoundError, Object, Ref

_LOG = logging.getLogger(__name__)
_JITTER: Final = 0.2
"""Share by which waits of a standby grow at random, so that several do not ask at the same moment."""

_LONGEST_SECONDS: Final = 3600.0
"""Longest duration that the settings allow. A longer one was written by somebody else, and must not keep all others out."""
_TRANSITIONS: Final = 2**31
"""The API counts in 32 bits: whoever wrote the last number that fits must not keep all others out."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Times of an election, in seconds; `retry` < `renew` < `duration`.

    Attributes:
        duration: After the last renewal that they saw, others may take over.
        renew: After the start of the last renewal that succeeded, the holder stops writing.
        retry: Between two tries.
    """

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


class Leadership:
    """Until when this process holds the Lease for certain.

    Args:
        clock: Seconds that go on while the process is stopped and while the machine sleeps.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = float("-inf")

    def seconds_left(self) -> float:
        """Seconds for which no other process can have taken over; 0 or less when that is not certain."""
        return self._until - self._clock()

    def hold_until(self, until: float) -> None:
        """Set the moment, in seconds of the clock."""
        self._until = until

    def give_up(self) -> None:
        """Hold it no more."""
        self._until = float("-inf")


class LostLeaseError(Exception):
    """The Lease could not be renewed in time, another process holds it, or the store of the API server was put back."""


class LeaseElection:
    """Gets the Lease, keeps it, and gives it back.

    Args:
        cluster: Where it is; must not be fenced by this very Lease.
        ref: Address of the Lease.
        identity: Name of this process, different from all others.
        timing: Times.
        leadership: Is kept up to date.
        clock: Monotonic seconds, the same as that of `leadership`.
        now: Time for the record, in UTC.
        sleep: Waits.
        chance: Random numbers in [0, 1).
        handover: What this holder leaves to the next; None for nothing.
    """

    def __init__(
        self,
        cluster: Cluster,
        ref: Ref,
        identity: str,
        *,
        timing: LeaseTiming,
        leadership: Leadership,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        handover: Handover | None = None,
    ) -> None:
        self._cluster = cluster
        self._ref = ref
        self._identity = identity
        self._timing = timing
        self._leadership = leadership
        self._clock = clock
        self._now = now
        self._chance = chance
        self._sleep = sleep
        self._handover = handover or Handover("")
        self._writing = asyncio.Lock()
        self._seen: tuple[str, float] = ("", float("-inf"))
        """ResourceVersion last seen, and when it was seen first."""
        self._last: Object | None = None
        """The Lease as our last write left it; None once another write may have followed."""
        self._holder = ""
        self._told = ""
        """Holder that the log has named as the one that is waited for."""
        self._taken = False
        self._transitions = 0

    @property
    def term(self) -> str:
        """Id of this holder's time: its identity, and how often the Lease changed hands."""
        return f"{self._identity}/{self._transitions}"

    async def acquire(self) -> None:
        """Wait until this process holds the Lease. Outages are waited for; the log says whom it waits for, once for each holder.

        Raises:
            LostLeaseError: If the store of the API server was put back to an older state meanwhile.
        """
        while True:
            try:
                if await self._try():
                    _LOG.info("holds Lease %s/%s as %s", self._ref.namespace, self._ref.name, self._identity)
                    return
            except KubeError as error:
                _LOG.warning("cannot ask for the Lease, tries again: %s", error)
            await self._sleep(self._timing.retry * (1 + _JITTER * self._chance()))

    async def keep(self) -> None:
        """Renew for as long as that works.

        Raises:
            LostLeaseError: When it did not in time. `Leadership` ends at the same moment at the latest.
        """
        while True:
            await self._sleep(min(self._timing.retry, max(0.0, self._leadership.seconds_left())))
            left = self._leadership.seconds_left()
            if left <= 0:
                self._leadership.give_up()
                raise LostLeaseError(f"the Lease was not renewed for {self._timing.renew} s")
            try:
                async with asyncio.timeout(left):
                    renewed = await self._try()
            except (KubeError, TimeoutError) as error:
                _LOG.warning("the Lease was not renewed, tries again: %s", str(error) or type(error).__name__)
                continue
            if not renewed:
                self._leadership.give_up()
                raise LostLeaseError(f"{self._holder} holds the Lease now")

    async def hand_over(self, text: str) -> None:
        """Leave `text` to the next holder; returns once the Lease has it, or a text that was left after it.

        Several calls at once share one write:

        ==============================================  =======================================
        when it is this call's turn to write            then
        ==============================================  =======================================
        another call wrote this text, or a later one    done
        another process holds the Lease                 `LostLeaseError`
        our write was done                              done
        a write of another came between                 `ConflictError`; the Lease is still ours
        ==============================================  =======================================

        Raises:
            LostLeaseError: If another process holds the Lease.
            KubeError: If the Lease cannot be written.
        """
        number = self._handover.leave(text)
        async with self._writing:
            if self._handover.kept(number):
                return
            if not await self._take():
                raise LostLeaseError(f"{self._holder or 'another process'} holds the Lease now")
            if not self._handover.kept(number):
                raise ConflictError("another process wrote the Lease at the same time")

    async def release(self) -> None:
        """Give the Lease back, so that a standby need not wait for its end. A failure is logged only."""
        self._leadership.give_up()
        self._last = None
        try:
            async with asyncio.timeout(self._timing.retry):
                live = await self._cluster.get(self._ref)
                spec = live.get("spec") or {}
                if spec.get("holderIdentity") == self._identity:
                    # As client-go does: no holder, and so short a time that no standby waits for its end.
                    await self._swap(live, spec | {"holderIdentity": "", "leaseDurationSeconds": 1})
                    _LOG.info("gave Lease %s/%s back", self._ref.namespace, self._ref.name)
        except (KubeError, TimeoutError) as error:
            _LOG.warning("could not give the Lease back; another replica takes over when it ends: %s", error)

    async def _try(self) -> bool:
        async with self._writing:
            return await self._take()

    async def _take(self) -> bool:
        """Take or renew the Lease if that is allowed now; returns whether this process holds it.

        =====================================================  ===========================================
        the Lease                                              then
        =====================================================  ===========================================
        is as our last write left it, as far as we know        swap without a read; if that fails, as below
        does not exist                                         create it without a holder, and swap
        has no holder, or has us                               swap
        has another, whose time is over by our clock           swap
        has another, whose time is not over                    not ours
        changes between our read and our swap                  ours only if it had us and our time lasts
        =====================================================  ===========================================
        """
        if await self._renew_unread():
            return True
        started = self._clock()
        live = await self._read_or_create()
        spec = live.get("spec") or {}
        self._holder = spec.get("holderIdentity") or ""
        if self._holder not in {"", self._identity} and not self._is_over(live, spec):
            self._tell(spec)
            return False
        if not self._taken:
            # Also where it has our name already: a process before us may have had the same.
            self._handover.read(live)
        try:
            swapped = await self._swap(live, self._renewed(spec))
        except ConflictError:
            # Another process was faster; the next try sees which.
            return self._leadership.seconds_left() > 0 and self._holder == self._identity
        self._hold(swapped, started)
        return True

    def _tell(self, spec: dict[str, Any]) -> None:
        """Say whom this process waits for. The end moves with each renewal; clocks of two machines may differ."""
        if self._told == self._holder or self._taken:
            return
        self._told = self._holder
        held = f"Lease {self._ref.namespace}/{self._ref.name}"
        _LOG.info("standby; %s holds %s until %s, or longer if it renews it", self._holder, held, self._until(spec))

    def _until(self, spec: dict[str, Any]) -> str:
        seconds = spec.get("leaseDurationSeconds") or round(self._timing.duration)
        renewed = moment(spec.get("renewTime"))
        return f"{seconds} s from now" if renewed is None else rfc3339(renewed + timedelta(seconds=float(seconds)))

    async def _renew_unread(self) -> bool:
        """Renew without a read, as client-go does: if no other process wrote since, the swap needs none."""
        if (last := self._last) is None:
            return False
        self._last = None
        started = self._clock()
        with contextlib.suppress(ConflictError, NotFoundError):
            self._hold(await self._swap(last, self._renewed(last["spec"])), started)
            return True
        return False

    async def _read_or_create(self) -> Object:
        try:
            return await self._cluster.get(self._ref)
        except NotFoundError:
            # Without a holder: two that create it at once make the same object, and the swap decides.
            metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
            lease = {"apiVersion": kinds.LEASE.api_version, "kind": kinds.LEASE.kind, "metadata": metadata}
            return await self._cluster.apply(lease)

    def _hold(self, swapped: Object, started: float) -> None:
        self._see(swapped)
        self._last = swapped
        self._holder = self._identity
        self._taken = True
        self._transitions = int(swapped["spec"]["leaseTransitions"])
        # Counted from before the request: others count from when they see it, which is later.
        self._leadership.hold_until(started + self._timing.renew)

    def _is_over(self, live: Object, spec: dict[str, Any]) -> bool:
        self._see(live)
        duration = min(float(spec.get("leaseDurationSeconds") or self._timing.duration), _LONGEST_SECONDS)
        return self._clock() >= self._seen[1] + duration

    def _see(self, live: Object) -> None:
        version, before = live["metadata"]["resourceVersion"], self._seen[0]
        if version.isdecimal() and before.isdecimal() and int(version) < int(before):
            # Watches wait for versions that come again only later, and say nothing until then: only new ones hear all.
            self._leadership.give_up()
            raise LostLeaseError(
                "the API server has an older Lease than it had before: its store was put back. "
                "The operator ends now, and reads everything again when it starts"
            )
        if version != before:
            self._seen = (version, self._clock())

    def _renewed(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The record in the Lease as client-go writes it, with us as its holder from now on."""
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = self._holder == self._identity
        transitions = int(spec.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._timing.duration)),
            "acquireTime": spec.get("acquireTime", moment) if mine else moment,
            "renewTime": moment,
            "leaseTransitions": transitions if mine else (transitions + 1) % _TRANSITIONS,
        }

    async def _swap(self, live: Object, spec: dict[str, Any]) -> Object:
        text, number = self._handover.to_write()
        swapped = await self._cluster.patch(
            self._ref,
            (
                JsonPatch("test", "/metadata/resourceVersion", live["metadata"]["resourceVersion"]),
                JsonPatch("add", "/spec", spec),
                *self._handover.patch(live, text),
            ),
        )
        self._handover.wrote(number)
        return swapped
