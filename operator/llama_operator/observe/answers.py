"""The last answers of serving pods, for /metrics. `process` puts it around the reader that passes use.

A status is no metric: it is not written for every request. So what changes with each of them is kept here, in memory, and only the process
that reconciles has it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from llama_operator.observe.serving import ServingReader
from llama_serving.contract.status import ServingStatus

FRESH_SECONDS: Final = 60.0
"""An older answer says nothing about now; four times the usual time between two."""


@dataclass(frozen=True, slots=True)
class _Kept:
    when: float
    """When it was given."""
    decided: float
    """When the decision in it was seen first."""
    answer: ServingStatus


class KeptAnswers:
    """Asks `inner`, and keeps what it answers.

    Args:
        inner: The reader itself.
        elapsed: Seconds on a clock that only goes forward.
    """

    def __init__(self, inner: ServingReader, elapsed: Callable[[], float]) -> None:
        self._inner = inner
        self._elapsed = elapsed
        self._answers: dict[tuple[str, str], _Kept] = {}

    async def read(self, *, namespace: str, service: str, address: str) -> ServingStatus | None:
        """Return the status, or None when it cannot be had; see `ServingReader.read`."""
        answer = await self._inner.read(namespace=namespace, service=service, address=address)
        # Of another deployment's pods it is no answer: nobody may scale by it.
        if answer is not None and (answer.identity.namespace, answer.identity.name) == (namespace, service):
            now, before = self._elapsed(), self._answers.get((namespace, service))
            same = before is not None and _decided(before.answer) == _decided(answer)
            self._answers[namespace, service] = _Kept(now, before.decided if before and same else now, answer)
        return answer

    def fresh(self) -> Iterator[ServingStatus]:
        """Yield the answers that still say something, and forget the others. Exporters call it from threads of their own.

        Pods also tell what their autoscaler decided last, however long ago: one that decides no more says nothing about now.
        """
        oldest = self._elapsed() - FRESH_SECONDS
        for key, kept in tuple(self._answers.items()):
            if kept.when >= oldest:
                yield kept.answer if kept.decided >= oldest else kept.answer.model_copy(update={"scaling": None})
            elif self._answers.get(key) is kept:
                self._answers.pop(key, None)


def _decided(answer: ServingStatus) -> float | None:
    """When the autoscaler of the pods decided last, on their clock; it is only compared with itself."""
    return None if answer.scaling is None else answer.scaling.at
