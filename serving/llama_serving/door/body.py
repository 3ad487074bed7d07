"""Reads the body of a request before anything behind the door hears of it. `door.application` calls it.

So a body that is too long, or comes too slowly, holds no place in a replica and starts no engine.
"""

import asyncio
from enum import Enum, auto

from llama_serving.door.asgi import Message, Receive


class NoBody(Enum):
    """Why there is no body."""

    TOO_LONG = auto()
    TOO_SLOW = auto()
    NO_ROOM = auto()
    CLIENT_GONE = auto()


class Room:
    """Memory for the bodies that are being read at the same time, so that many long ones that come slowly do not fill the pod.

    Args:
        most: Bytes of all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def take(self, length: int) -> bool:
        """Take room for `length` bytes more; return whether there is as much."""
        self._taken += length
        return self._taken <= self._most

    def give_back(self, length: int) -> None:
        """Give back what was taken."""
        self._taken -= length


async def read(receive: Receive, *, most: int, seconds: float, room: Room) -> bytes | NoBody:
    """Return the body.

    Args:
        receive: Where the parts come from.
        most: Longest body, in bytes. No more than one part beyond it is read.
        seconds: Time for the whole body.
        room: What all bodies share.
    """
    parts: list[bytes] = []
    length, more = 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    return NoBody.CLIENT_GONE
                part = message.get("body", b"")
                length += len(part)
                has_room = room.take(len(part))
                if length > most:
                    return NoBody.TOO_LONG
                if not has_room:
                    return NoBody.NO_ROOM
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        return NoBody.TOO_SLOW
    finally:
        room.give_back(length)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def drop(receive: Receive, *, most: int, seconds: float) -> bool:
    """Read what still comes of a body that nobody wants; return whether it came to its end.

    A server that closes a connection with unread bytes resets it, and the client may lose the answer.

    Args:
        receive: Where the parts come from.
        most: Bytes after which it stops.
        seconds: Time after which it stops.
    """
    length = 0
    try:
        async with asyncio.timeout(seconds):
            while length <= most:
                message = await receive()
                length += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    except TimeoutError:
        pass
    return False


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives `body` to the next layer, and after it the news that the client is gone, when it is.

    It gives `body` away, so that a long one is not kept for as long as the answer takes.
    """
    pending = [body]

    async def again() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message

    return again
