"""What happens when a part of the world may not be read. Called by `observe.gather`; the CLI makes the lenient one.

The operator has every right that it needs: without one it must not act; what only tells more it can do without. A person who asks what would happen may lack some,
and gets an answer from the rest, with what was not read beside it.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from typing_extensions import override

from llama_operator.decide.observed import Unread
from llama_operator.kube.port import ForbiddenError, Kind, NotFoundError

T = TypeVar("T")
U = TypeVar("U")


class Rights:
    """What cannot be read fails."""

    @property
    def unknown(self) -> tuple[Unread, ...]:
        """What was not read until now, and why."""
        return ()

    async def read(self, kind: Kind, reading: Awaitable[T], otherwise: U) -> T | U:
        """Return what `reading` of `kind` returns, or `otherwise` where that may be; here it raises what `reading` raises."""
        del kind, otherwise
        return await reading


class WithoutThe(Rights):
    """What is not needed may be missing; anything else that cannot be read fails.

    Args:
        dispensable: Kinds that only tell more.
    """

    def __init__(self, dispensable: Collection[Kind]) -> None:
        self._dispensable = frozenset(dispensable)

    @override
    async def read(self, kind: Kind, reading: Awaitable[T], otherwise: U) -> T | U:
        """Return what `reading` returns, or `otherwise` where the kind is not needed and may not be read."""
        try:
            return await reading
        except ForbiddenError:
            if kind not in self._dispensable:
                raise
            return otherwise


class Lenient(Rights):
    """A missing right is told and stops nothing; a kind that is not installed has no objects.

    Args:
        why: Says which right is missing; raises the error again if none is, as for credentials that are refused.
    """

    def __init__(self, why: Callable[[ForbiddenError], str]) -> None:
        self._why = why
        self._unread: dict[Unread, None] = {}

    @property
    @override
    def unknown(self) -> tuple[Unread, ...]:
        """What was not read until now, and why."""
        return tuple(self._unread)

    @override
    async def read(self, kind: Kind, reading: Awaitable[T], otherwise: U) -> T | U:
        """Return what `reading` returns, or `otherwise`, and remember why."""
        try:
            return await reading
        except NotFoundError:
            return otherwise
        except ForbiddenError as error:
            self._unread[Unread(kind.plural, self._why(error))] = None
            return otherwise
