"""The last answers of serving pods, for /metrics. `process` puts it around the reader that passes use.

A status is no metric: it is not written for every request. So what changes with each of them is kept here, in memory, and only the process
that reconciles has it.
"""

from collections.abc import Callable, Iterator
from typing import Final

from llama_operator.observe.serving import ServingReader
from llama_serving.contract.status import ServingStatus

FRESH_SECONDS: Final = 60.0
"""An older answer says nothing about now; four times the usual time between two."""


class KeptAnswers:
    """Asks `inner`, and keeps what it answers.

    Args:
        inner: The reader itself.
        elapsed: Seconds on a clock that only goes forward.
    """

    def __init__(self, inner: ServingReader, elapsed: Callable[[], float]) -> None:
        self._inner = inner
        self._elapsed = elapsed
        self._answers: dict[tuple[str, str], tuple[float, ServingStatus]] = {}

    async def read(self, *, namespace: str, service: str, address: str) -> ServingStatus | None:
        """Return the status, or None when it cannot be had; see `ServingReader.read`."""
        answer = await self._inner.read(namespace=namespace, service=service, address=address)
        # Of another deployment's pods it is no answer: nobody may scale by it.
        if answer is not None and (answer.identity.namespace, answer.identity.name) == (namespace, service):
            self._answers[namespace, service] = (self._elapsed(), answer)
        return answer

    def fresh(self) -> Iterator[ServingStatus]:
        """Yield the answers that still say something, and forget the others. Exporters call it from threads of their own."""
        oldest = self._elapsed() - FRESH_SECONDS
        for key, kept in tuple(self._answers.items()):
            when, answer = kept
            if when >= oldest:
                yield answer
            elif self._answers.get(key) is kept:
                self._answers.pop(key, None)
