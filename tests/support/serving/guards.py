"""Parts of a guard for tests: a model of the guard that says what it is told, and an engine whose outputs are given."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from llama_serving.contract.guard import GuardSettings
from llama_serving.guard.judge import Judge


@dataclass
class Choice:
    """vLLM's `CompletionOutput`, as far as it is looked at."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: Any = None


@dataclass
class Output:
    """vLLM's `RequestOutput`, as far as it is looked at."""

    outputs: list[Choice]
    finished: bool = False
    prompt_token_ids: list[int] = field(default_factory=lambda: [256])


def parts(text: str, size: int = 4, index: int = 0) -> list[Output]:
    """An answer in parts, one character a token."""
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    outputs = [Output([Choice(index, part, [ord(one) for one in part])]) for part in cut]
    outputs[-1].outputs[0].finish_reason, outputs[-1].finished = "stop", True
    return outputs


class Says:
    """The guard's model: unsafe where a marker stands in the last turn; or it does something else."""

    def __init__(self, **markers: str) -> None:
        self.markers = markers
        self.words: str | None = None
        self.error: Exception | None = None
        self.hangs = False
        self.asked: list[list[Any]] = []

    async def __call__(self, turns, salt):
        self.asked.append(list(turns))
        if self.hangs:
            await asyncio.sleep(3600)
        if self.error is not None:
            raise self.error
        if self.words is not None:
            return self.words
        hits = [category for marker, category in self.markers.items() if marker in turns[-1].text]
        return f"\n\nunsafe\n{','.join(hits)}" if hits else "\n\nsafe"


class Counts:
    """Metrics that keep what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def checked(self, what, outcome, seconds):
        assert seconds >= 0
        self.told.append((what, outcome))

    def passed_unchecked(self, what):
        self.told.append(("unchecked", what))

    def stopped(self, what):
        self.told.append(("stopped", what))


def judge(says: Says, **settings: Any) -> Judge:
    return Judge(says, GuardSettings(**settings), Counts(), lambda: 0.0)
