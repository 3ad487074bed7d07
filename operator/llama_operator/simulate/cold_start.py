"""How long starts of replicas take, stage by stage, and which of them fail. Called by `simulate.run` for each start."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a start takes.

    Attributes:
        stages: Seconds of each stage, in their order, as the plan estimates them.
        spread: Each stage takes up to this share more or less.
        failing: Share of the starts that fail, at the end of a stage, and begin anew.
        never: The first so many starts never end, as those of replicas that find no GPU.
    """

    stages: tuple[float, ...]
    spread: float = 0.1
    failing: float = 0.0
    never: int = 0

    @property
    def seconds(self) -> float:
        """What a start takes on average, if it does not fail."""
        return sum(self.stages)


class Starts:
    """Draws the starts of one run."""

    def __init__(self, cold_start: ColdStart, seed: int) -> None:
        self._cold_start = cold_start
        self._chance = random.Random(f"{seed}/starts")
        self._begun = 0

    def seconds(self) -> float:
        """Return the seconds of the next start; infinite if it never ends."""
        known = self._cold_start
        self._begun += 1
        if self._begun <= known.never:
            return math.inf
        total = 0.0
        while known.failing and self._chance.random() < known.failing:
            total += sum(self._stages()[: 1 + self._chance.randrange(len(known.stages))])
        return total + sum(self._stages())

    def _stages(self) -> list[float]:
        spread = self._cold_start.spread
        return [length * self._chance.uniform(1 - spread, 1 + spread) for length in self._cold_start.stages]
