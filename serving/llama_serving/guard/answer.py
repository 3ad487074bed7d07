"""The growing answer of one call of the engine, and what is sent in place of one that is stopped. `screening` uses it.

Outputs are vLLM's `RequestOutput`: only `outputs`, `finished` and `prompt_token_ids` are looked at, and of a choice `index`, `text`,
`token_ids`, `logprobs`, `finish_reason` and `stop_reason`.
"""

import copy
import dataclasses
from typing import Any, Final

from llama_serving.guard.windows import next_check

FILTERED: Final = "content_filter"
"""Finish reason of an answer that was stopped."""


@dataclasses.dataclass(frozen=True, slots=True)
class _NoToken:
    """Stands where an answer tells the probability of a token."""

    logprob: float = 0.0
    rank: int = 1
    decoded_token: str = ""


@dataclasses.dataclass(slots=True)
class _Choice:
    text: str = ""
    tokens: int = 0
    checked: int = 0
    """Tokens that were checked."""
    released: int = 0
    """Tokens that have left."""
    finished: bool = False
    """The end has left too."""
    next_check: int = next_check(0)


class Answer:
    """All choices of one call.

    Args:
        in_parts: Whether each output holds only what is new.
    """

    def __init__(self, *, in_parts: bool) -> None:
        self._in_parts = in_parts
        self._choices: dict[int, _Choice] = {}

    def saw(self, output: Any) -> None:
        """Add an output."""
        for one in output.outputs:
            choice = self._choices.setdefault(one.index, _Choice())
            choice.text = choice.text + one.text if self._in_parts else one.text
            choice.tokens = choice.tokens + len(one.token_ids) if self._in_parts else len(one.token_ids)

    @property
    def is_due(self) -> bool:
        """Whether a choice is so long that it has to be checked."""
        return any(choice.tokens >= choice.next_check for choice in self._choices.values())

    def unchecked(self) -> dict[int, str]:
        """Return the whole texts of the choices that have grown since their last check, by index; they count as checked now."""
        texts = {}
        for index, choice in self._choices.items():
            if choice.tokens > choice.checked:
                choice.checked, choice.next_check = choice.tokens, next_check(choice.tokens)
                texts[index] = choice.text
        return {index: text for index, text in texts.items() if text.strip()}

    def released(self, output: Any) -> None:
        """An output has left."""
        for one in output.outputs:
            choice = self._choices[one.index]
            choice.released = choice.released + len(one.token_ids) if self._in_parts else len(one.token_ids)
            choice.finished = choice.finished or one.finish_reason is not None

    def texts(self) -> list[str]:
        """The whole texts."""
        return [choice.text for choice in self._choices.values()]

    def stopped(self, last: Any) -> Any:
        """Return the output that ends a streamed answer: every choice that has not ended, without its text.

        Args:
            last: The last output of the engine.
        """
        pattern = last.outputs[0]
        return _with(
            last,
            [
                _emptied(pattern, index, max(1, choice.tokens - choice.released), last)
                for index, choice in sorted(self._choices.items())
                if not choice.finished
            ],
        )


def without(output: Any, hit: set[int]) -> Any:
    """Return a whole answer without the text of the choices that were hit."""
    return _with(
        output,
        [_emptied(one, one.index, len(one.token_ids), output) if one.index in hit else one for one in output.outputs],
    )


def _emptied(one: Any, index: int, tokens: int, output: Any) -> Any:
    """A choice as it is stopped: with as many tokens as the engine made, and none of them to be read.

    Usage is counted by tokens. The first token of the client's own prompt stands for each.
    """
    token = (output.prompt_token_ids or [0])[0]
    logprobs = None if one.logprobs is None else [{token: _NoToken()}] * tokens
    return dataclasses.replace(
        one,
        index=index,
        text="",
        token_ids=[token] * tokens,
        logprobs=logprobs,
        finish_reason=FILTERED,
        stop_reason=None,
    )


def _with(output: Any, choices: list[Any]) -> Any:
    changed = copy.copy(output)
    changed.outputs = choices
    changed.finished = True
    return changed
