"""What a cell is played with: the deployment, and the clairvoyant's need. Called by `bench.autoscaling.play` and its neighbours."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.autoscaling.basis import basis, rests_on
from bench.autoscaling.cells import Cell, Workload
from bench.compiled.run import COMPILED
from llama_operator import catalog
from llama_operator.cli.shared import files
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.simulate.compare import CLAIRVOYANT
from llama_operator.simulate.deployment import Choices, setup_of
from llama_operator.simulate.need import Need, find_need
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import Setup
from llama_operator.simulate.traces.trace import Trace

PLAYER = COMPILED
"""The event loop that all runs are played with."""
_MAXIMUM = 40


def setup_for(workload: Workload, cold_start: float) -> tuple[Setup, Any]:
    """Build the setup of a workload; returns the spec too."""
    manifests = files.read([str(Path(__file__).parent / workload.manifest)])
    decision = decide(Observed(manifests.deployment, acceptances=manifests.acceptances or None), catalog.load())
    spec = manifests.deployment.spec
    choices = Choices(
        cold_start=cold_start, first_token=workload.first_token, maximum=_MAXIMUM, minimum=workload.minimum
    )
    if decision.plan is None or decision.plan.chosen is None:
        raise SystemExit(f"{workload.manifest} does not fit")
    setup = setup_of(spec, decision, decision.plan.chosen, choices)
    if workload.ingress:
        ongoing = setup.engine.max_num_seqs + spec.scaling.target_queue_depth
        setup = replace(setup, limits=PathLimits("Ingress", ongoing, spec.scaling.max_queued_requests))
    return setup, spec


def need_of(cell: Cell, setup: Setup, trace: Trace, kept: Path) -> Need:
    """Find the need of the cell, or read it: it is the same for every cold start."""
    path = kept / f"need_{cell.name.rsplit('_', 2)[0]}_{cell.seed}.json"
    hashes = basis(CLAIRVOYANT, cell.workload, cell.seed, kept)
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if rests_on(content, hashes):
            return Need(tuple(content["replicas"]), content["attainment"])
    need = find_need(setup, trace, seed=cell.seed, goal=cell.workload.goal, player=PLAYER)
    path.write_text(json.dumps({**hashes, **asdict(need)}), encoding="utf-8")
    return need
