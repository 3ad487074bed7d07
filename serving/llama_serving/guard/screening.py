"""One request under the guard: the check of what it asks, and its answers, held until they are checked.

`middleware` makes one for each request; `engine` lets the outputs of each of its calls of the engine go through `screened`.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any, Final

from llama_serving.contract.guard import GuardFailure, GuardMode
from llama_serving.desk.meter import CURRENT as TALLY
from llama_serving.door.refusals import Refusal
from llama_serving.guard.answer import FILTERED, Answer, without
from llama_serving.guard.asked import Asked, Turn
from llama_serving.guard.judge import Judge
from llama_serving.guard.verdict import SAFE, Judgement, Why, worst

_LOGGER = logging.getLogger("ray.serve")
_AGAIN_SECONDS: Final = 2

INPUT: Final = "input"
OUTPUT: Final = "output"


class StoppedError(Exception):
    """The request ends with a refusal; its words are in `Screening.refusal`."""


class Screening:
    """The guard's view of one request.

    Args:
        judge: The guard.
        asked: What the request asks.
        salt: Salt of its tenant.
        request_id: For the log.
    """

    def __init__(self, judge: Judge, asked: Asked, *, salt: str, request_id: str) -> None:
        self._judge = judge
        self._asked = asked
        self._salt = salt
        self._request_id = request_id
        self._turns = judge.to_check(asked.turns, salt)
        self._beside: list[asyncio.Task[None]] = []
        self._tally = TALLY.get()
        self.blocks = judge.settings.mode is GuardMode.BLOCK
        self.annotates = judge.settings.mode is GuardMode.ANNOTATE
        self.refusal: Refusal | None = None
        """What the client gets in place of an answer, or of the rest of it."""
        self.stopped = False
        """Whether an answer was stopped, so that it says so itself."""
        self.judgements: list[Judgement] = []
        self.input = asyncio.ensure_future(self._check_input())

    @property
    def judgement(self) -> Judgement:
        """What is known by now."""
        return worst(self.judgements)

    async def final(self) -> Judgement:
        """What came of all checks, also of those that run beside."""
        await asyncio.gather(self.input, *self._beside, return_exceptions=True)
        return self.judgement

    async def input_passed(self) -> None:
        """Wait for the check of what is asked.

        Raises:
            StoppedError: If the request is refused.
        """
        await asyncio.shield(self.input)
        if self.refusal is not None:
            raise StoppedError

    async def screened(self, outputs: AsyncGenerator[Any, None], *, in_parts: bool) -> AsyncGenerator[Any, None]:
        """Hand on the outputs of a call of the engine.

        Args:
            outputs: From the engine.
            in_parts: Whether each output holds only what is new.
        """
        answer = Answer(in_parts=in_parts)
        checked = self._held(outputs, answer, in_parts) if self.blocks else self._beside_it(outputs, answer)
        try:
            async for output in checked:
                yield output
        finally:
            await checked.aclose()

    async def close(self) -> None:
        """The request has ended; checks whose outcome only metrics tell may go on."""
        if self.blocks and not self.input.done():
            self.input.cancel()

    async def _check_input(self) -> None:
        if not any(turn.text.strip() for turn in self._turns):
            return
        judgement = await self._judge.check(INPUT, self._turns, self._salt)
        self._note(judgement, INPUT)
        if not self.blocks:
            return
        if judgement.safe is False:
            self._judge.metrics.stopped(INPUT)
            self.refusal = REFUSED
        elif judgement.safe is None:
            self._not_classified(judgement, INPUT)

    async def _held(
        self, outputs: AsyncGenerator[Any, None], answer: Answer, in_parts: bool
    ) -> AsyncGenerator[Any, None]:
        held: list[Any] = []
        try:
            async for output in outputs:
                await self.input_passed()
                answer.saw(output)
                held.append(output)
                if not (output.finished or answer.is_due):
                    continue
                hit = await self._hit(answer)
                if hit and in_parts:
                    # The engine stops now; what it made is booked.
                    await outputs.aclose()
                    self._stop()
                    yield answer.stopped(output)
                    return
                if hit:
                    self._stop()
                    held = [without(output, hit)]
                for one in held:
                    answer.released(one)
                    yield one
                held.clear()
            self._remember(answer)
        finally:
            await outputs.aclose()
            if self.stopped and self._tally is not None:
                self._tally.finish_reason = FILTERED

    async def _hit(self, answer: Answer) -> set[int]:
        """Check what has grown; return the choices that are unsafe.

        Raises:
            StoppedError: If a check has no verdict, and the deployment fails closed.
        """
        texts = answer.unchecked()
        judgements = await asyncio.gather(*(self._check_output(text) for text in texts.values()))
        for judgement in judgements:
            self._note(judgement, OUTPUT)
        for judgement in judgements:
            if judgement.safe is None:
                self._not_classified(judgement, OUTPUT)
                if self.refusal is not None:
                    raise StoppedError
        return {index for index, judgement in zip(texts, judgements, strict=True) if judgement.safe is False}

    async def _beside_it(self, outputs: AsyncGenerator[Any, None], answer: Answer) -> AsyncGenerator[Any, None]:
        running: asyncio.Task[None] | None = None
        try:
            async for output in outputs:
                answer.saw(output)
                if output.finished or (answer.is_due and (running is None or running.done())):
                    running = asyncio.ensure_future(self._look(list(answer.unchecked().values())))
                    self._beside.append(running)
                yield output
        finally:
            await outputs.aclose()

    async def _look(self, texts: list[str]) -> None:
        for judgement in await asyncio.gather(*(self._check_output(text) for text in texts)):
            self._note(judgement, OUTPUT)

    async def _check_output(self, text: str) -> Judgement:
        return await self._judge.check(OUTPUT, (*self._turns, Turn("assistant", text)), self._salt)

    def _note(self, judgement: Judgement, what: str) -> None:
        self.judgements.append(judgement)
        if judgement.safe is False:
            # Never the text.
            _LOGGER.warning("guard: the %s of request %s is %s", what, self._request_id, judgement.text)

    def _not_classified(self, judgement: Judgement, what: str) -> None:
        if self._judge.settings.failure is GuardFailure.OPEN:
            self._judge.metrics.passed_unchecked(what)
            return
        self.refusal = TOO_LONG if judgement.why is Why.TOO_LONG else UNAVAILABLE

    def _stop(self) -> None:
        self.stopped = True
        self._judge.metrics.stopped(OUTPUT)

    def _remember(self, answer: Answer) -> None:
        if self.stopped or self.judgement != SAFE:
            return
        for text in answer.texts():
            if text.strip():
                self._judge.remember((*self._asked.turns, Turn("assistant", text)), self._salt)


CURRENT: ContextVar[Screening | None] = ContextVar("llama_screening", default=None)
"""The screening of the request that runs."""

REFUSED: Final = Refusal(
    400,
    "The guard of this endpoint has refused this request. Change what it asks for.",
    code=FILTERED,
)
UNAVAILABLE: Final = Refusal(
    503,
    f"The guard of this endpoint could not check the text, and nothing leaves unchecked. Try again in {_AGAIN_SECONDS} s.",
    code="guard_unavailable",
    headers=((b"retry-after", str(_AGAIN_SECONDS).encode()),),
)
TOO_LONG: Final = Refusal(
    400,
    "The text is longer than the guard of this endpoint can read, and nothing leaves unchecked. Send less of the conversation, or "
    "ask for a shorter answer.",
    code="context_length_exceeded",
)


def unreadable(place: str) -> Refusal:
    """The refusal of a request with something that a guard cannot read."""
    return Refusal(
        400,
        f"The guard of this endpoint reads only text, and {place} is none. Leave it out.",
        code=FILTERED,
        param=place,
    )
