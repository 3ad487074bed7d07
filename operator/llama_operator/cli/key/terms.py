"""When keys end: how people say it, and what a key is at a moment. Pure; called by the actions of `kubectl llama key`."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from llama_operator.cli.shared import times
from llama_operator.errors import InvalidManifestError
from llama_serving.contract.keys import KeyEntry

COMMAND_LINE: Final = "the command line"
NEVER: Final = "never"
SOON: Final = timedelta(days=14)
"""A key that ends within this time needs a look: its owner has to get another one."""

_ENDS = "say 90d, 12h or 4w, a date as 2027-01-31, a time with its zone as 2027-01-31T12:00:00Z, or never"
_SPANS = "say a number with m, h, d or w for minutes, hours, days or weeks, as 24h or 14d; 0 for none"


class KeyState(StrEnum):
    """What a key is at a moment."""

    VALID = "Valid"
    ENDS_SOON = "EndsSoon"
    EXPIRED = "Expired"
    UNREADABLE = "Unreadable"


def state_of(entry: KeyEntry | None, now: datetime) -> KeyState:
    """What the key is; None stands for an entry that cannot be read, which the endpoint does not serve."""
    if entry is None:
        return KeyState.UNREADABLE
    if entry.expires is None:
        return KeyState.VALID
    if entry.expires <= now:
        return KeyState.EXPIRED
    return KeyState.ENDS_SOON if entry.expires - now <= SOON else KeyState.VALID


def until(end: datetime, now: datetime) -> str:
    """The time that is left, in whole units: `3 d`, `5 h`, `12 min`."""
    left = end - now
    if left >= timedelta(days=1):
        return f"{left // timedelta(days=1)} d"
    if left >= timedelta(hours=1):
        return f"{left // timedelta(hours=1)} h"
    return f"{max(1, left // timedelta(minutes=1))} min"


def end(text: str, option: str, now: datetime) -> datetime | None:
    """Read when a key shall end.

    Args:
        text: What the user says.
        option: Where, for the message.
        now: The time now, in UTC.

    Returns:
        A time in UTC, in whole seconds; None for never.

    Raises:
        InvalidManifestError: If it is no time, or has passed.
    """
    if text == NEVER:
        return None
    read = _end(text, now)
    if read is None or read - now > times.LONGEST:
        raise InvalidManifestError.of(COMMAND_LINE, option, f"is {text!r}", _ENDS)
    if read <= now:
        raise InvalidManifestError.of(COMMAND_LINE, option, f"is {text!r}, which has passed", "say a later time")
    return read


def span(text: str, option: str) -> timedelta:
    """Read a time such as `24h`.

    Raises:
        InvalidManifestError: If it is none, or longer than a hundred years.
    """
    read = timedelta() if text == "0" else times.span(text)
    if read is None:
        raise InvalidManifestError.of(COMMAND_LINE, option, f"is {text!r}", _SPANS)
    return read


def renewed(old: KeyEntry, now: datetime) -> datetime | None:
    """When a key that takes the place of `old` ends: it lasts as long as `old` was made for; None for never."""
    if old.expires is None:
        return None
    if old.created is None or old.created >= old.expires:
        return old.expires
    try:
        return now + (old.expires - old.created)
    except OverflowError:
        return old.expires


def _end(text: str, now: datetime) -> datetime | None:
    length = times.span(text)
    return times.moment(text, last=True) if length is None else now + length
