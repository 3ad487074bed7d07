"""Lets go of connections that were reset. `door.installed` puts it into each process that has an HTTP server.

After each answer uvicorn sets a timer for the time that a connection may stay open without a request, and the timer holds the
connection, with the request and its headers. If a client closes it, uvicorn takes the timer away; if a client resets it, it does not,
and all of that stays until the time is over. HAProxy resets the connections that it needs no more, and here the time is eleven minutes.
"""

import functools
import logging
from typing import Any

_LOGGER = logging.getLogger("ray.serve")
_NAME = "_unset_keepalive_if_required"


def let_go_of_reset_connections(protocol: Any = None) -> None:
    """Take the timer away however a connection ends.

    Args:
        protocol: uvicorn's class for a connection; None for the one that it uses here. It is changed once, and left as it is if it
            is made in another way than is known.
    """
    if protocol is None:
        try:
            from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as protocol  # noqa: N813, PLC0415
        except ImportError:
            # Without httptools, which the images have, uvicorn uses another one.
            return
    lost = getattr(protocol, "connection_lost", None)
    if not callable(lost) or not callable(getattr(protocol, _NAME, None)):
        _LOGGER.warning(
            "uvicorn ends connections in another way than is known here: reset ones stay in memory for a while"
        )
        return
    if hasattr(lost, "__wrapped__"):
        return

    @functools.wraps(lost)
    def connection_lost(self: Any, exc: Exception | None) -> None:
        lost(self, exc)
        getattr(self, _NAME)()

    protocol.connection_lost = connection_lost
