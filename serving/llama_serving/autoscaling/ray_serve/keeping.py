"""Keeps what the policy remembers and has decided outside of Serve's controller. Called by `adapter`; `board` reads it.

The key-value store of a Ray cluster lives as long as its head. It is written in a thread of its own, at most once in some seconds and at
every change: Serve's controller must not wait for it.
"""

import contextlib
import json
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

_LOGGER = logging.getLogger("ray.serve")
_NAMESPACE = b"llama-autoscaling"
_WRITE_SECONDS = 10.0
_READ_SECONDS = 10.0
"""The store is on the head, and begins again when the controller does."""
_FIRST_SECONDS = 2.0
"""A new policy writes what it has seen, and not what it has read; soon, since the next change of a setting ends it."""


def record_key(application: str | None, deployment: str) -> str:
    """Return the key of a deployment's record."""
    return f"{application or ''}:{deployment}"


@dataclass(frozen=True, slots=True)
class ScalingRecord:
    """What was decided last, as it is kept.

    Attributes:
        memory: `Memory` as JSON.
        target: Replicas that Serve wanted.
        wish: Replicas that the policy wished.
        reason: Why.
        arrivals: Requests a second; None if unknown.
        request_seconds: Engine seconds of a request; None if unknown.
        need: Replicas that the load needs; None if unknown.
        unbounded: As `wish`, without the bounds; None if unknown.
        cold_start: Measured seconds of a start; None before one was measured.
        at: Seconds since 1970.
        events: Changes that Serve made, newest first: `at`, `from`, `to`, `reason`.
        facts: What the replicas said last of the plan, by field of `Facts`.
        knobs: What they said last of the live settings, by field of `Knobs`.
    """

    memory: Mapping[str, Any] = field(default_factory=dict)
    target: int | None = None
    wish: int | None = None
    reason: str = ""
    arrivals: float | None = None
    request_seconds: float | None = None
    need: int | None = None
    unbounded: int | None = None
    cold_start: float | None = None
    at: float = 0.0
    events: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    knobs: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes | str | None) -> "ScalingRecord":
        """Read what `to_json` wrote; an empty record if it is anything else.

        A number that is none, or none that can be, would be believed for as long as the head lives.
        """
        if not text:
            return cls()
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
            said = json.loads(text, parse_constant=_finite, parse_float=_finite)
            values = {one.name: said[one.name] for one in fields(cls) if one.name in said}
            values["events"] = tuple(map(_event, said["events"]))
            values["memory"] = dict(said.get("memory", {}))
            values["facts"], values["knobs"] = dict(said.get("facts", {})), dict(said.get("knobs", {}))
            for name, kinds in _KINDS.items():
                _check(values.get(name), kinds)
            return cls(**values)
        return cls()


_WHOLE: tuple[type, ...] = (int, type(None))
_NUMBER: tuple[type, ...] = (int, float, type(None))
_KINDS = {
    **dict.fromkeys(("target", "wish", "need", "unbounded"), _WHOLE),
    **dict.fromkeys(("arrivals", "request_seconds", "cold_start", "at"), _NUMBER),
    "reason": (str, type(None)),
}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _check(value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(value)


def _event(said: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, kinds in (("at", (int, float)), ("from", (int,)), ("to", (int,)), ("reason", (str,))):
        _check(said[name], kinds)
    return dict(said)


class Store(Protocol):
    """Where records are kept. Its methods block."""

    def read(self, key: str) -> bytes | None:
        """Return what was written last; None for nothing."""
        ...

    def write(self, key: str, value: str) -> None:
        """Write it."""
        ...


class RayStore:
    """The key-value store of the Ray cluster in which this process runs."""

    def read(self, key: str) -> bytes | None:
        """Return what was written last; None for nothing."""
        from ray.experimental import internal_kv  # noqa: PLC0415 - only where Ray runs

        if not internal_kv._internal_kv_initialized():  # noqa: SLF001 - Ray has no public name for its store
            return None
        value: bytes | None = internal_kv._internal_kv_get(key.encode(), namespace=_NAMESPACE)  # noqa: SLF001
        return value

    def write(self, key: str, value: str) -> None:
        """Write it."""
        from ray.experimental import internal_kv  # noqa: PLC0415 - only where Ray runs

        if internal_kv._internal_kv_initialized():  # noqa: SLF001 - as above
            internal_kv._internal_kv_put(key.encode(), value.encode(), namespace=_NAMESPACE)  # noqa: SLF001


def in_a_thread(job: Callable[[], None]) -> None:
    """Run `job` without waiting for it."""
    threading.Thread(target=job, name="llama-autoscaling", daemon=True).start()


class Keeper:
    """One record for each deployment, in this process and in the store.

    Args:
        store: Where it is kept.
        later: Runs what blocks.
    """

    def __init__(self, store: Store, later: Callable[[Callable[[], None]], None] = in_a_thread) -> None:
        self._store, self._later = store, later
        self._records: dict[str, ScalingRecord] = {}
        self._written: dict[str, float] = {}
        self._unread: dict[str, float] = {}
        self._busy = False
        self._failed = False

    def record(self, key: str, now: float) -> ScalingRecord:
        """Return the record of a deployment; the first call reads the store.

        Raises:
            Exception: Whatever the store raises, for some seconds: a policy that has forgotten all is worse than one that waits.
        """
        if key not in self._records:
            text = None
            try:
                text = self._store.read(key)
            except Exception:
                if 0 <= now - self._unread.setdefault(key, now) < _READ_SECONDS:
                    raise
                _LOGGER.warning("What autoscaling has remembered cannot be read, and is forgotten", exc_info=True)
            self._records[key] = ScalingRecord.from_json(text)
        return self._records[key]

    def forget(self, key: str) -> None:
        """Begin anew: with what is remembered no decision was possible for long."""
        self._records[key] = ScalingRecord()

    def keep(self, key: str, record: ScalingRecord, now: float) -> None:
        """Keep a record; write it if it says something new, or if the last one is some seconds old."""
        self._written.setdefault(key, now - _WRITE_SECONDS + _FIRST_SECONDS)
        changed = record.events != self._records.get(key, ScalingRecord()).events
        self._records[key] = record
        if self._busy or (not changed and 0 <= now - self._written[key] < _WRITE_SECONDS):
            return
        self._written[key], self._busy = now, True
        self._later(lambda: self._write(key, record))

    def _write(self, key: str, record: ScalingRecord) -> None:
        try:
            self._store.write(key, record.to_json())
            self._failed = False
        except Exception:
            if not self._failed:
                self._failed = True
                _LOGGER.warning("What autoscaling remembers cannot be written", exc_info=True)
        finally:
            self._busy = False
