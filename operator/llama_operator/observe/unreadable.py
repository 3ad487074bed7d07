"""What cannot be read is left out, counted and told, and never ends a pass or a watch. The one place that decides so.

Used by `observe`, the handlers and the command line for every object that another program wrote: one node, one pod or one
record that nobody foresaw must not stop what does not depend on it.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from llama_operator.kube.port import KubeError, Object

_LOG = logging.getLogger(__name__)
_REMEMBERED: Final = 1024
_WORDS: Final = 200
"""Characters of a reason."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that could not be read.

    Attributes:
        kind: Kind of the object; of an answer, what answered.
        name: Its name, with its namespace if it has one.
        why: What was wrong.
    """

    kind: str
    name: str
    why: str


class Unreadable:
    """Reads what others wrote, and leaves out what cannot be read.

    Args:
        count: Called with the kind each time that something is left out.
        news: Called with what is left out for the first time.
    """

    def __init__(
        self, count: Callable[[str], None] = lambda _: None, news: Callable[[LeftOut], None] = lambda _: None
    ) -> None:
        self._count = count
        self._news = news
        self._found: OrderedDict[LeftOut, None] = OrderedDict()

    @property
    def found(self) -> tuple[LeftOut, ...]:
        """What was left out until now, each once; of very many the last ones."""
        return tuple(self._found)

    def all(self, objects: Iterable[Object], reading: Callable[[Object], _T | None]) -> tuple[_T, ...]:
        """Read each object; leave out those that say nothing, and those that cannot be read."""
        return tuple(read for obj in objects if (read := self.one(obj, reading)) is not None)

    def one(self, obj: Object, reading: Callable[[Object], _T]) -> _T | None:
        """Return what `reading` makes of an object; None if it cannot be read."""
        try:
            return reading(obj)
        except KubeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an object holds, it must not end a pass
            self.leave_out(kind_of(obj), name_of(obj), error)
            return None

    def leave_out(self, kind: str, name: str, why: object) -> None:
        """Count something that could not be read, and tell it the first time.

        Args:
            kind: Its kind.
            name: Its name.
            why: What was wrong: an error, or words.
        """
        words = f"{type(why).__name__}: {why}" if isinstance(why, Exception) and not _is_told(why) else str(why)
        left_out = LeftOut(kind, name, " ".join(words.split())[:_WORDS])
        self._count(kind)
        if left_out not in self._found:
            self._news(left_out)
        self._found[left_out] = None
        self._found.move_to_end(left_out)
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)


def log(left_out: LeftOut) -> None:
    """Write news into the log."""
    _LOG.warning("left out, it cannot be read: %s %s: %s", left_out.kind, left_out.name, left_out.why)


class UnreadableError(ValueError):
    """An object cannot be read; the message says what is wrong with it."""


def _is_told(error: Exception) -> bool:
    return isinstance(error, UnreadableError)


def kind_of(obj: object) -> str:
    """Kind of an object, whatever it is."""
    return str(obj.get("kind") or "object") if isinstance(obj, dict) else "object"


def name_of(obj: object) -> str:
    """Name of an object with its namespace, whatever it is."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict):
        return "(no name)"
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return f"{namespace}/{name}" if namespace else str(name or "(no name)")
