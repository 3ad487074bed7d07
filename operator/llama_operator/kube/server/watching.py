"""A watch on a real API server that goes on: through timeouts, lost connections and silence.

Called by `client`. A watch that breaks continues from the last resourceVersion that it knows, of an event or a bookmark, so
that no change is lost or comes twice. It ends only when the server has forgotten that version (`ExpiredError`) or refuses.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

import aiohttp

from llama_operator.kube.port import EventType, Kind, Object, UnavailableError, WatchEvent
from llama_operator.kube.server import addresses, answers
from llama_operator.kube.server.transport import Request, Transport, decode

_LOG = logging.getLogger(__name__)
_SERVER_TIMEOUT: Final = 290
"""Seconds after which the server ends the watch in good order, below the idle limits of usual proxies."""
_TYPES: Final = {event.value: event for event in EventType}
_BACKOFF: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each try, by the number of tries that failed before it; the last repeats."""


class Watch:
    """Watches one kind.

    Args:
        transport: The way to the API server.
        kind: Kind to watch.
        namespace: Namespace; None for all namespaces.
        silence: Seconds without a byte after which the connection counts as dead. Bookmarks come about once a minute.
    """

    def __init__(
        self,
        transport: Transport,
        kind: Kind,
        namespace: str | None,
        *,
        silence: float,
    ) -> None:
        self._transport = transport
        self._path = addresses.of_kind(kind, namespace)
        self._what = f"watch of {kind.kind}"
        self._silence = silence

    async def events(self, since: str) -> AsyncIterator[WatchEvent]:
        """Yield every change after `since`, without an end.

        Raises:
            ExpiredError: If the server does not know `since`, or a version that it gave later, any more.
            KubeError: If it refuses the watch; outages are waited for.
        """
        failures = 0
        while True:
            failures += 1
            reason: object = "ended by the server"
            try:
                async with aclosing(self._connection(since)) as connection:
                    async for kind, obj in connection:
                        failures = 0
                        since = obj["metadata"]["resourceVersion"]
                        if kind in _TYPES:
                            yield WatchEvent(_TYPES[kind], obj)
            except (UnavailableError, aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            # A connection without an event counts as failed, however it ended: a server that hangs up must not make a busy loop.
            wait = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
            _LOG.debug("%s goes on in %.1f s: %s", self._what, wait, reason)
            await self._transport.sleep(wait)

    async def _connection(self, since: str) -> AsyncGenerator[tuple[str, Object], None]:
        query = {
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_SERVER_TIMEOUT),
        }
        request = Request("GET", self._path, self._what, query)
        async with self._transport.stream(request, self._silence) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield self._read(line)

    def _read(self, line: bytes) -> tuple[str, Object]:
        kind, obj = decode(line)
        if kind == "ERROR":
            raise answers.error(int(obj.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR), obj, self._what)
        return kind, obj
