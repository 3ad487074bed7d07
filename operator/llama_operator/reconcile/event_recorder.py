"""Writes events, to the log and to Kubernetes: there repeated ones become a series, and one object cannot flood the cluster.

The reconcile calls it with the events of a pass. Events are news, not state: if one cannot be written, the log says so and the
pass goes on. They are written by server-side apply, as everything is, so the operator needs one right less.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, ForbiddenError, KubeError, Object
from llama_operator.status.events import EventFacts
from llama_operator.telemetry import logs

_LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS: Final = 5.0
_SERIES: Final = timedelta(minutes=30)
"""An event that comes again later than this is a new one; the cluster forgets an event an hour after its last write."""
_BURST: Final = 25
_REFILL: Final = timedelta(minutes=5)
"""Writes about one object: 25 at once, then one every five minutes; the limits of Kubernetes' own components. Warnings have as many of
their own: a load that comes and goes changes the number more often, and must not keep a Warning from being told."""
_REMEMBERED: Final = 4096
_NAME: Final = 200
_NO_NAMESPACE: Final = "default"
_Key: TypeAlias = tuple[str, EventFacts]


@dataclass(frozen=True, slots=True)
class _Series:
    began: datetime
    seen: datetime
    count: int


@dataclass(frozen=True, slots=True)
class _Allowance:
    left: float
    at: datetime


class EventRecorder:
    """Writes events.

    Args:
        cluster: Where to.
        now: The clock, in UTC.
    """

    def __init__(self, cluster: Cluster, *, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._now = now
        self._series: OrderedDict[_Key, _Series] = OrderedDict()
        self._allowances: OrderedDict[tuple[str, str], _Allowance] = OrderedDict()

    async def record(self, regarding: Object, facts: EventFacts) -> None:
        """Tell `facts` about the object `regarding`, of which apiVersion, kind, name, namespace and uid are needed.

        The log has each of them, also one that is held back. Never raises because of the cluster.
        """
        uid, now = regarding["metadata"]["uid"], self._now()
        series = self._count((uid, facts), now)
        if not self._allowed((uid, facts.type), now):
            logs.deed(facts)
            _LOG.debug("too many events about %s: %s is not told", regarding["metadata"]["name"], facts.reason)
            return
        event = self._event(regarding, facts, series)
        # A namespace that is being deleted takes no event: nobody has to do anything about what happens in it.
        ending = False
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._cluster.apply(event)
        except (KubeError, TimeoutError) as error:
            ending = isinstance(error, ForbiddenError) and error.ending
            level = logging.DEBUG if ending else logging.WARNING
            _LOG.log(level, "event %s cannot be written: %s", facts.reason, str(error) or "no answer in time")
        finally:
            logs.deed(facts, of_interest=not ending)

    def _count(self, key: _Key, now: datetime) -> _Series:
        known = self._series.pop(key, None)
        if known is None or now - known.seen > _SERIES:
            series = _Series(now, now, 1)
        else:
            series = replace(known, seen=now, count=known.count + 1)
        self._series[key] = series
        if len(self._series) > _REMEMBERED:
            self._series.popitem(last=False)
        return series

    def _allowed(self, key: tuple[str, str], now: datetime) -> bool:
        known = self._allowances.pop(key, _Allowance(_BURST, now))
        left = min(float(_BURST), known.left + (now - known.at) / _REFILL)
        self._allowances[key] = _Allowance(left - 1 if left >= 1 else left, now)
        if len(self._allowances) > _REMEMBERED:
            self._allowances.popitem(last=False)
        return left >= 1

    def _event(self, regarding: Object, facts: EventFacts, series: _Series) -> Object:
        metadata = regarding["metadata"]
        namespace = metadata.get("namespace") or _NO_NAMESPACE
        about = {name: regarding[name] for name in ("apiVersion", "kind")}
        about |= {name: metadata[name] for name in ("name", "uid", "namespace") if metadata.get(name)}
        identity = repr((metadata["uid"], facts, series.began))
        tail = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        event: Object = {
            "apiVersion": kinds.EVENT.api_version,
            "kind": kinds.EVENT.kind,
            "metadata": {"name": f"{metadata['name'][:_NAME]}.{tail}", "namespace": namespace},
            "eventTime": _micro_time(series.began),
            "type": facts.type,
            "reason": facts.reason,
            "action": facts.action,
            "note": facts.note,
            "regarding": about,
            "reportingController": "llama-operator.io/operator",
            "reportingInstance": "llama-operator",
        }
        if series.count > 1:
            event["series"] = {"count": series.count, "lastObservedTime": _micro_time(series.seen)}
        return event


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
