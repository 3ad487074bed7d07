"""Asks the guard, with a deadline: what a text is, or why that is not known. `screening` uses it.

Whatever goes wrong is a check without a verdict, never one that passed.
"""

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from llama_serving.contract.guard import GuardSettings
from llama_serving.guard.asked import Turn
from llama_serving.guard.verdict import Judgement, Why, failed, judgement_of

_LOGGER = logging.getLogger("ray.serve")
_ESCAPED: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
"""Arguments of tools may spell any character by its number."""
_CONTROL: Final = re.compile(r"<(?=\||/?s>)")
"""Where a token begins that ends a turn or begins another one: in a text it would be obeyed."""
_REMEMBERED: Final = 20_000
"""Conversations of which a replica remembers that they were checked, 32 bytes each."""


class GuardAwayError(Exception):
    """The guard does not run, or failed."""


class GuardTooLongError(Exception):
    """The text is longer than the guard can read."""


class Ask(Protocol):
    """Asks the guard's model."""

    async def __call__(self, turns: Sequence[Turn], salt: str) -> str:
        """Return its whole answer.

        Args:
            turns: The conversation; the last turn is judged.
            salt: Keeps what tenants say apart in the guard's prefix cache.

        Raises:
            GuardAwayError: If the guard cannot be asked.
            GuardTooLongError: If the guard cannot read as much.
        """
        ...


class Metrics(Protocol):
    """Takes what happens, to publish it."""

    def checked(self, what: str, outcome: str, seconds: float) -> None:
        """A check has ended.

        Args:
            what: `input` or `output`.
            outcome: `safe`, `unsafe`, or why it is not classified.
            seconds: How long it took.
        """
        ...

    def passed_unchecked(self, what: str) -> None:
        """Something passed that was not classified, because the deployment fails open."""
        ...

    def stopped(self, what: str) -> None:
        """A request was refused (`input`), or its answer was stopped (`output`)."""
        ...


class Judge:
    """The guard as a replica asks it.

    Args:
        ask: Asks the guard's model.
        settings: How it is used; None for the default.
        metrics: Takes what happens.
        clock: Returns the time, in seconds.
    """

    def __init__(self, ask: Ask, settings: GuardSettings | None, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.metrics = metrics
        self._ask = ask
        self._clock = clock
        self._checked: OrderedDict[bytes, None] = OrderedDict()
        self.reconfigure(settings)

    def reconfigure(self, settings: GuardSettings | None) -> None:
        """Take new settings; requests that run keep the mode that they began with."""
        self.settings = settings or GuardSettings()
        # Another choice of categories may find unsafe what was safe.
        self._checked.clear()

    async def check(self, what: str, turns: Sequence[Turn], salt: str) -> Judgement:
        """Return what the last turn is."""
        began = self._clock()
        judgement = await self._judgement(turns, salt)
        outcome = judgement.word if judgement.why is None else str(judgement.why)
        self.metrics.checked(what, outcome, self._clock() - began)
        return judgement

    async def _judgement(self, turns: Sequence[Turn], salt: str) -> Judgement:
        try:
            async with asyncio.timeout(self.settings.deadline_ms / 1000):
                return judgement_of(
                    await self._ask([_plain(turn) for turn in turns], salt), frozenset(self.settings.categories)
                )
        except TimeoutError:
            return failed(Why.TIMEOUT)
        except GuardTooLongError:
            return failed(Why.TOO_LONG)
        except GuardAwayError:
            return failed(Why.UNAVAILABLE)
        except Exception:
            _LOGGER.exception("The guard could not be asked")
            return failed(Why.UNAVAILABLE)

    def to_check(self, turns: Sequence[Turn], salt: str) -> tuple[Turn, ...]:
        """Return the conversation as the guard shall read it: what was not checked before is one turn, the last.

        A guard judges the last turn only. Who sends a conversation may have written all of it, the turns of the model too.
        """
        known = 0
        digests = _digests(turns, salt)
        for length in range(len(turns) - 1, 0, -1):
            if (
                turns[length - 1].role == "assistant"
                and turns[0].role == "user"
                and digests[length - 1] in self._checked
            ):
                self._checked.move_to_end(digests[length - 1])
                known = length
                break
        new = turns[known:]
        if len(new) == 1:
            return (*turns[:known], Turn("user", new[0].text))
        labels = {"user": "User", "assistant": "Agent"}
        return (*turns[:known], Turn("user", "\n\n".join(f"{labels[turn.role]}: {turn.text}" for turn in new)))

    def remember(self, turns: Sequence[Turn], salt: str) -> None:
        """Note that all of a conversation was checked and is safe."""
        self._checked[_digests(turns, salt)[-1]] = None
        while len(self._checked) > _REMEMBERED:
            self._checked.popitem(last=False)


def _plain(turn: Turn) -> Turn:
    """A turn as a guard may read it: characters in place of their numbers, and no token of a chat template."""
    text = _ESCAPED.sub(lambda found: _character(found[0]), turn.text)
    return Turn(turn.role, _CONTROL.sub("< ", text))


def _character(escaped: str) -> str:
    units = b"".join(int(code, 16).to_bytes(2, "big") for code in escaped.split("\\u")[1:])
    return units.decode("utf-16-be", errors="replace")


def _digests(turns: Sequence[Turn], salt: str) -> list[bytes]:
    """A digest of each beginning of a conversation, of one tenant."""
    digests: list[bytes] = []
    state = hashlib.sha256(salt.encode()).digest()
    for turn in turns:
        state = hashlib.sha256(state + turn.role.encode() + b"\0" + turn.text.strip().encode()).digest()
        digests.append(state)
    return digests
