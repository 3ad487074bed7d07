"""Lengths of prompts and answers for traces that are drawn. Called by `simulate.traces.shapes` and `simulate.traces.files`.

Twenty-first quantiles (0, 5, ... 100 %) of public traces; between two of them lengths are spread evenly. The highest one is set so that the
mean is that of the trace. Prompt and answer are drawn apart: in the conversation trace their correlation is -0.11.
"""

import random
from dataclasses import dataclass

_SEGMENTS = 20


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles of both lengths, in tokens."""

    source: str
    prompt: tuple[int, ...]
    output: tuple[int, ...]

    def draw(self, chance: random.Random) -> tuple[int, int]:
        """Draw the lengths of one request."""
        return _drawn(self.prompt, chance.random()), _drawn(self.output, chance.random())


def _drawn(quantiles: tuple[int, ...], share: float) -> int:
    place = share * _SEGMENTS
    below = min(int(place), _SEGMENTS - 1)
    low, high = quantiles[below], quantiles[below + 1]
    return max(1, round(low + (high - low) * (place - below)))


def fixed(prompt: int, output: int) -> Lengths:
    """Return lengths that are the same for every request."""
    return Lengths("fixed", (prompt,) * (_SEGMENTS + 1), (output,) * (_SEGMENTS + 1))


CONVERSATION = Lengths(
    source="Azure 2023 conversation (github.com/Azure/AzurePublicDataset, CC-BY 4.0): means 1,155 and 211",
    prompt=(
        2,
        181,
        207,
        372,
        387,
        396,
        403,
        414,
        703,
        984,
        1020,
        1045,
        1071,
        1097,
        1130,
        1189,
        1315,
        1876,
        2734,
        4083,
        4970,
    ),
    output=(7, 41, 54, 67, 77, 85, 91, 96, 103, 113, 129, 151, 177, 217, 384, 395, 400, 411, 424, 451, 705),
)
