"""Times as people write them on the command line: `24h`, a date, a time with its zone. Pure; called by `key` and `usage`."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from llama_operator.api import readings

LONGEST: Final = timedelta(days=36_500)
"""A hundred years: what is longer is a typo."""

_SPAN = re.compile(r"(?P<number>\d{1,6})(?P<unit>[mhdw])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FIRST_SECOND, _LAST_SECOND = time(0, 0, 0), time(23, 59, 59)


def span(text: str) -> timedelta | None:
    """Read a number with `m`, `h`, `d` or `w`; None for anything else, and for more than `LONGEST`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    length = int(match["number"]) * _UNITS[match["unit"]]
    return length if length <= LONGEST else None


def moment(text: str, *, last: bool = False) -> datetime | None:
    """Read a date, or an RFC 3339 time with its zone.

    Args:
        text: What the user says.
        last: Whether a date means its last second and not its first one, both of UTC.

    Returns:
        The time in UTC, in whole seconds; None if there is none to be read.
    """
    try:
        if _DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), _LAST_SECOND if last else _FIRST_SECOND, UTC)
        has_zone = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return None
    read = readings.moment(text) if has_zone else None
    return None if read is None else read.replace(microsecond=0)
