"""The guard's Serve deployment, and how a replica of the model reaches it. Serve imports `GuardServer` through `replicas`.

It is an engine like that of the model, with its own placement group. Its prompt is the chat template of its own checkpoint.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.util.metrics import Counter, Histogram
from typing_extensions import override
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from llama_serving.config import ServingConfig
from llama_serving.engine.server import LlamaServer
from llama_serving.guard.asked import Turn
from llama_serving.guard.judge import GuardAwayError, GuardTooLongError

_MOST_TOKENS: Final = 64
"""Of an answer: all categories that there are take less."""
_BAD_REQUEST: Final = 400
_TOO_LONG: Final = "maximum context length"
"""vLLM's words about a prompt that it cannot take; its field differs with what is too long."""


class GuardServer(LlamaServer):
    """The guard's engine.

    Args:
        config: A `ServingConfig` as JSON, which has a guard.
    """

    async def __init__(self, config: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it, as in the base
        guard = ServingConfig.model_validate(config).guard
        if guard is None:
            raise ValueError("the config has no guard")
        await super().__init__(guard.model_dump(mode="json"))

    async def answer(self, turns: list[dict[str, str]], salt: str) -> str | None:
        """Return what the model says about a conversation; None if it is too long for it.

        Args:
            turns: Turns with `role` and `content`; the last one is judged.
            salt: Of the tenant.

        Raises:
            RuntimeError: If the engine does not answer.
        """
        request = ChatCompletionRequest(
            model=self._serving.model_id,
            messages=turns,
            max_tokens=_MOST_TOKENS,
            temperature=0,
            cache_salt=salt,
        )
        async for said in self.engine.chat(request):
            error = getattr(said, "error", None)
            if error is None:
                return said.choices[0].message.content or ""
            if error.code == _BAD_REQUEST and _TOO_LONG in error.message:
                return None
            raise RuntimeError(f"the guard's engine refused: {error.message}")
        raise RuntimeError("the guard's engine said nothing")

    @override
    def _tell_licenses(self) -> None:
        self._board.send("report_guard_licenses", self._licenses)

    @override
    def _tell_load(self, replica: str) -> None:
        """The board counts the replicas of the model."""


class RayGuard:
    """Asks the guard's deployment.

    Args:
        handle: Its handle, as Serve binds it.
    """

    def __init__(self, handle: Any) -> None:
        self._answer = handle.answer

    async def __call__(self, turns: Sequence[Turn], salt: str) -> str:
        """Return its whole answer."""
        response = self._answer.remote([{"role": turn.role, "content": turn.text} for turn in turns], salt)
        try:
            answer: str | None = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        except (RayError, RayServeException) as error:
            raise GuardAwayError(str(error)) from error
        if answer is None:
            raise GuardTooLongError
        return answer


class RayMetrics:
    """What the guard does, as Ray publishes it."""

    def __init__(self) -> None:
        self._checks = Counter(
            "llama_guard_checks", description="Checks by the guard, by outcome.", tag_keys=("what", "outcome")
        )
        self._seconds = Histogram(
            "llama_guard_check_seconds",
            description="How long a check by the guard took.",
            boundaries=[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5],
            tag_keys=("what",),
        )
        self._unchecked = Counter(
            "llama_guard_passed_unchecked",
            description="Texts that passed without a verdict, because the deployment fails open.",
            tag_keys=("what",),
        )
        self._stopped = Counter(
            "llama_guard_stopped",
            description="Requests refused (input) and answers stopped (output).",
            tag_keys=("what",),
        )

    def checked(self, what: str, outcome: str, seconds: float) -> None:
        """A check has ended."""
        self._checks.inc(tags={"what": what, "outcome": outcome})
        self._seconds.observe(seconds, tags={"what": what})

    def passed_unchecked(self, what: str) -> None:
        """Something passed that was not classified."""
        self._unchecked.inc(tags={"what": what})

    def stopped(self, what: str) -> None:
        """A request was refused, or its answer was stopped."""
        self._stopped.inc(tags={"what": what})
