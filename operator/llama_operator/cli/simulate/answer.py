"""What `kubectl llama simulate` found out. Made by `cli.simulate.command`, printed by `cli.simulate.table` and `cli.simulate.document`."""

from dataclasses import dataclass

from llama_operator.simulate.compare import Played
from llama_operator.simulate.scalers.table import Case


@dataclass(frozen=True, slots=True)
class Simulated:
    """Everything that is printed."""

    deployment: str
    plan: str
    cases: tuple[Case, ...]
    """One for each seed."""
    played: tuple[tuple[Played, ...], ...]
    """By seed, then by autoscaler."""
    too_long: tuple[int, ...] = ()
    """By seed: requests with more tokens than an engine takes."""
    begins: str | None = None
    """When the trace begins, as the user said it; None where no hours are played."""
    leaves_out_hours: bool = False
    """Whether the deployment has a schedule that is not played."""
