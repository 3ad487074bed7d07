"""Keeps every version of the deployments and events of a cluster, with the time at which it came. Called by `runner`.

A watch, not a look from time to time: what lasts a fifth of a second counts too.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from control_plane.api_client import ApiClient

DEPLOYMENTS: Final = "llamadeployments.llama-operator.io"
EVENTS: Final = "events.v1.events.k8s.io"
_PAUSE_SECONDS: Final = 0.3
_ENDS: Final = (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError)
"""What a watch ends with when its connection does, or when the client is closed."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object."""

    moment: float
    """When it came, by the clock that does not go backwards."""
    kind: str
    content: Mapping[str, Any]


class Trail:
    """Versions by namespace, in the order in which they came."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._versions: dict[str, list[Version]] = defaultdict(list)
        self._seen: set[tuple[str, str]] = set()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch."""
        for kind in (DEPLOYMENTS, EVENTS):
            self._threads.append(threading.Thread(target=self._follow, args=(kind,), daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Keep no more; a watch that runs ends with its connection."""
        self._stopped.set()

    def of(self, namespace: str) -> tuple[Version, ...]:
        """What came of a namespace until now."""
        with self._lock:
            return tuple(self._versions[namespace])

    def _follow(self, kind: str) -> None:
        while not self._stopped.is_set():
            try:
                for content in self._api.watch(kind):
                    if self._stopped.is_set():
                        return
                    self._keep(kind, content)
            except _ENDS:
                # The API server is stopped in some incidents; it comes back.
                pass
            self._stopped.wait(_PAUSE_SECONDS)

    def _keep(self, kind: str, content: Mapping[str, Any]) -> None:
        metadata = content["metadata"]
        with self._lock:
            known = (metadata["uid"], metadata["resourceVersion"])
            if known not in self._seen:
                self._seen.add(known)
                self._versions[metadata["namespace"]].append(Version(time.monotonic(), kind, content))
