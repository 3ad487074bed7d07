"""Plays autoscalers on the same trace, from the same beginning, and measures them by the clairvoyant. Called by the command and the bench."""

from collections.abc import Iterable
from dataclasses import dataclass

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.decide.bounds import knobs, live_settings
from llama_operator.simulate.need import find_need
from llama_operator.simulate.outcome import REFERENCE, Outcome, Player
from llama_operator.simulate.run import Disturbance, Record, Setup
from llama_operator.simulate.scalers.table import SCALERS, Case
from llama_operator.simulate.traces.trace import Trace

CLAIRVOYANT = "clairvoyant"


@dataclass(frozen=True, slots=True)
class Played:
    """One autoscaler on one trace."""

    scaler: str
    seed: int
    outcome: Outcome
    record: Record
    relative_hours: float = 1.0
    """GPU-hours over those of the clairvoyant."""


def case_of(setup: Setup, trace: Trace, spec: LlamaDeploymentSpec, *, seed: int, goal: float = 0.99) -> Case:
    """Work out what autoscalers are made for: the need, and the settings of the spec.

    Args:
        setup: The deployment.
        trace: Who arrives when.
        spec: What the user asks for; the product's policy takes its settings.
        seed: Of the run.
        goal: Share of first tokens within the objective that the clairvoyant keeps.
    """
    scaling, told = spec.scaling, knobs(spec.scaling)
    live = live_settings(spec, setup.engine.max_num_seqs, spec.endpoint.path, counts_work=True)
    return Case(
        setup=setup,
        trace=trace,
        need=find_need(setup, trace, seed=seed, goal=goal),
        target_queue_depth=float(scaling.target_queue_depth),
        upscale_delay=float(live.upscale_delay_seconds),
        downscale_delay=float(live.downscale_delay_seconds),
        price=told.price,
        reserve=told.reserve,
    )


def play(
    case: Case, name: str, seed: int, disturbance: Disturbance | None = None, player: Player = REFERENCE
) -> Played:
    """Play one autoscaler; it is made anew."""
    record = player.run(
        case.setup,
        case.trace.arrivals,
        SCALERS[name](case),
        length=case.trace.length,
        seed=seed,
        initial=case.initial,
        disturbance=disturbance,
    )
    return Played(name, seed, player.outcome(record, case.setup), record)


def compare(case: Case, names: Iterable[str], seed: int) -> tuple[Played, ...]:
    """Play several autoscalers, and the clairvoyant by which they are measured.

    Returns:
        One result for each of `names`, in their order.
    """
    yardstick = play(case, CLAIRVOYANT, seed)
    played = (yardstick if name == CLAIRVOYANT else play(case, name, seed) for name in names)
    hours = yardstick.outcome.gpu_hours
    return tuple(
        Played(one.scaler, seed, one.outcome, one.record, one.outcome.gpu_hours / hours if hours else 0.0)
        for one in played
    )
