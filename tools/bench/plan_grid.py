"""The grid of `make bench-plan`: which models, cards, loads and objectives are asked for. Used by the two halves of it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

_SMALL_FROM = 100
"""Requests per second."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model in one precision, by both names."""

    name: str
    precision: str
    requests_per_second: tuple[float, ...]
    """Loads of the whole deployment."""
    bundled: str | None = None
    """Name under which AIConfigurator has its shape; None where we write its config from the catalog."""

    goals: tuple[str, ...] = ("chat", "interactive", "writing", "long prompts")

    @property
    def small(self) -> bool:
        """Whether a card holds hundreds of its sequences."""
        return max(self.requests_per_second) > _SMALL_FROM

    @property
    def cache_element_bytes(self) -> int:
        """FP8 weights come with an FP8 cache, as NVIDIA's checkpoints ask for and the reference assumes."""
        return 1 if self.precision == "FP8" else 2

    @property
    def label(self) -> str:
        """For tables."""
        return f"{self.name} {self.precision}"


@dataclass(frozen=True, slots=True)
class Goal:
    """Lengths of a request and the latencies to keep."""

    name: str
    prompt_tokens: int
    output_tokens: int
    time_to_first_token_ms: int
    time_per_output_token_ms: int


@dataclass(frozen=True, slots=True)
class Point:
    """One question."""

    model: Model
    accelerator: str
    goal: Goal
    requests_per_second: float


MODELS = (
    Model("llama-3.1-8b", "BF16", (1, 8, 32, 128), "meta-llama/Meta-Llama-3.1-8B"),
    Model("llama-3.1-8b", "FP8", (1, 8, 32, 128)),
    Model("llama-3.1-70b", "BF16", (0.5, 2, 8.45, 40), "meta-llama/Meta-Llama-3.1-70B"),
    Model("llama-3.1-70b", "FP8", (0.5, 2, 8.45, 40), "nvidia/Llama-3.1-70B-Instruct-FP8"),
    Model("llama-3.1-405b", "BF16", (0.1, 0.5, 2, 8), "meta-llama/Meta-Llama-3.1-405B"),
    Model("llama-3.1-405b", "FP8", (0.1, 0.5, 2, 8)),
    Model(
        "llama-4-scout", "BF16", (1, 8, 32, 128), "meta-llama/Llama-4-Scout-17B-16E-Instruct", ("chat", "interactive")
    ),
)
SYSTEMS = {"H100-80GB": "h100_sxm", "H200-141GB": "h200_sxm"}
"""Our name of a card -> AIConfigurator's."""

GOALS = (
    Goal("chat", 1155, 211, 2000, 50),
    Goal("interactive", 300, 294, 450, 40),
    Goal("writing", 1024, 1024, 1000, 100),
    Goal("long prompts", 9000, 600, 6000, 175),
)
"""Chat: averages of Azure's 2023 conversation trace. Interactive and long prompts: about MLPerf's interactive limits for
70B and its server limits for 405B."""


def sweeps() -> Iterator[tuple[Model, str, Goal]]:
    """Model, card and goal of all questions; the load does not matter to the reference's sweep."""
    for model, accelerator, goal in itertools.product(MODELS, SYSTEMS, GOALS):
        # The sweep of a model with experts takes minutes.
        if goal.name in model.goals:
            yield model, accelerator, goal


def points() -> Iterator[Point]:
    """All questions, in the order of the report."""
    for model, accelerator, goal in sweeps():
        for rate in model.requests_per_second:
            yield Point(model, accelerator, goal, rate)
