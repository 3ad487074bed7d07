"""The cells of `make bench-autoscaling`: which workloads, which cold starts, which seeds, and which of them were used for tuning.

Called by `bench.autoscaling.play`. A cell is one workload with one cold start and one seed; every autoscaler plays each of them.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[3]
TRACES = Path(os.environ.get("LLAMA_OPERATOR_TRACES", ROOT / "traces"))
"""Folder with the traces of others (docs/simulate.md); cells whose file is not there are left out, and said."""

COLD_STARTS = (30.0, 120.0, 300.0, 600.0)
SEEDS = (1, 2, 3)
TUNING_SEED = 1
_TUNING_SEEDS = {"wave": SEEDS, "spikes": (1, 2), "ServeGen peak hours": (2,), "ServeGen client 143": (3,)}
"""Seeds that were looked at while the policy was chosen, where it was not the first one alone."""

Kind = Literal["smooth", "burst", "long"]


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload.

    Attributes:
        name: Name in tables.
        trace: What `kubectl llama simulate --trace` takes; a file is below the folder of traces.
        kind: Which bar holds for it.
        tuning: Whether its runs were looked at while constants were chosen: with the first seed, where nothing else is said.
        file: Which file of the folder of traces it needs; empty for a shape.
        manifest: What is simulated.
        minimum: Fewest replicas.
        first_token: Objective, in seconds.
        goal: Share of first tokens that the clairvoyant keeps within the objective.
        ingress: Whether requests go through Serve's router.
        day: Whether it takes a day or longer: then it is played last, and fixed fleets of every size play it.
        weeks: Whether it takes weeks: then only the product and its yardsticks play it, and with one seed.
    """

    name: str
    trace: str
    kind: Kind
    tuning: bool = False
    file: str = ""
    manifest: str = "autoscaling.yaml"
    minimum: int = 1
    first_token: float = 2.0
    goal: float = 0.99
    ingress: bool = False
    day: bool = False
    weeks: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with which it is played."""
        return SEEDS[:1] if self.weeks else SEEDS

    @property
    def there(self) -> bool:
        """Whether its trace is there."""
        return not self.file or (TRACES / self.file).exists()


_AZURE = "AzureLLMInferenceTrace_{}_2023.csv"
_MOONCAKE = "mooncake_conversation_trace.jsonl"
_SERVEGEN = "servegen_m-large_client_traces.tar.gz"
_ALL_CLIENTS = "servegen:share={},start={},length={}"
"""All clients together are 196 requests a second on average."""

_HEAVY = (61, 142, 148, 112, 143)
"""The five clients of ServeGen with the highest mean rate, 31 to 12 requests a second, in bursts of up to 308."""

_LOOKED_AT = {142, 148, 143}
"""Whose runs were looked at, to see why first tokens are late, and of 143 why the fleet is large."""

_DAY, _HOUR = 86_400, 3600

WORKLOADS = (
    Workload("steady", "steady", "smooth", tuning=True),
    Workload("slow ramp", "slow-ramp", "smooth", tuning=True),
    Workload("wave", "wave", "smooth", tuning=True),
    Workload("wave, Ingress", "wave", "smooth", ingress=True),
    Workload(
        "Azure conversation",
        f"{_AZURE.format('conv')}:times=5",
        "smooth",
        tuning=True,
        file=_AZURE.format("conv"),
    ),
    Workload("ServeGen calm hour", _ALL_CLIENTS.format(0.15, 7 * _HOUR, _HOUR), "smooth", file=_SERVEGEN),
    Workload("ServeGen day", _ALL_CLIENTS.format(0.05, 2 * _DAY, _DAY), "smooth", file=_SERVEGEN, day=True),
    Workload(
        "ServeGen 14 days", _ALL_CLIENTS.format(0.05, 0, 14 * _DAY), "smooth", file=_SERVEGEN, day=True, weeks=True
    ),
    Workload("step", "step", "burst", tuning=True),
    Workload("step, Ingress", "step", "burst", tuning=True, ingress=True),
    Workload("on-off", "on-off", "burst", tuning=True),
    Workload("spikes", "spikes", "burst", tuning=True),
    Workload("from zero", "from-zero", "burst", tuning=True, minimum=0),
    Workload("Azure code", f"{_AZURE.format('code')}:times=5", "burst", file=_AZURE.format("code")),
    Workload(
        "ServeGen peak hours",
        _ALL_CLIENTS.format(0.15, 21 * _HOUR, 2 * _HOUR),
        "burst",
        tuning=True,
        file=_SERVEGEN,
    ),
    *(
        Workload(
            f"ServeGen client {client}",
            f"servegen/chunk-{client}-trace.csv:share=0.5,start={2 * _DAY + 8 * _HOUR},length={4 * _HOUR}",
            "burst",
            tuning=client in _LOOKED_AT,
            file=_SERVEGEN,
        )
        for client in _HEAVY
    ),
    Workload(
        "Mooncake",
        f"{_MOONCAKE}:times=2",
        "long",
        tuning=True,
        file=_MOONCAKE,
        manifest="autoscaling_long.yaml",
        first_token=5.0,
        goal=0.95,
    ),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload with one cold start and one seed."""

    workload: Workload
    cold_start: float
    seed: int

    @property
    def tuning(self) -> bool:
        """Whether constants may have been chosen by it."""
        return self.workload.tuning and self.seed in _TUNING_SEEDS.get(self.workload.name, (TUNING_SEED,))

    @property
    def name(self) -> str:
        """Name of its file."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.workload.name.lower())
        return f"{words}_{self.cold_start:g}_{self.seed}"


def cells(only: str = "", *, length: float | None = None) -> tuple[Cell, ...]:
    """Return the cells, workload by workload.

    Args:
        only: Words that the name of a workload begins with; empty for all.
        length: Seconds of each trace, for a sample; None for all of it.
    """
    chosen = [one for one in WORKLOADS if one.name.lower().startswith(only.lower())]
    if length is not None:
        chosen = [replace(one, trace=_shortened(one.trace, length)) for one in chosen]
    return tuple(Cell(one, start, seed) for one in chosen for seed in one.seeds for start in COLD_STARTS)


def _shortened(trace: str, length: float) -> str:
    name, _, settings = trace.partition(":")
    kept = [part for part in settings.split(",") if part and not part.startswith("length=")]
    return f"{name}:{','.join([*kept, f'length={length:g}'])}"
