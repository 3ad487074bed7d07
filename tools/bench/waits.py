"""Measures what users wait for, each beside a yardstick of the same run, and prints medians and ratios (`make bench`).

A time alone says as much about the machine as about us; a ratio to a bare interpreter, or to the same work without us,
holds on another machine too. Nothing here passes or fails.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from bench import judged
from llama_operator import catalog
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.shared import files
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.plan.request import find_plan
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "manifests" / "samples" / "llama-3.1-405b-bf16-h100.yaml"
PROCESS_RUNS = 15
BARE = "an interpreter that does nothing"
IMPORTS = "importing pydantic, PyYAML and rich"
PLAN_JSON = "kubectl llama plan -o json"
PLAN = "kubectl llama plan"
PROCESSES = {
    BARE: ("-c", "pass"),
    # `import pydantic` loads next to nothing: what it offers is imported when it is named.
    IMPORTS: ("-c", "from pydantic import BaseModel; import yaml, rich"),
    PLAN_JSON: ("-m", "llama_operator.cli.main", "plan", "-f", str(SAMPLE), "-o", "json"),
    PLAN: ("-m", "llama_operator.cli.main", "plan", "-f", str(SAMPLE)),
}
DEPLOYMENTS = 500
MANIFEST = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment"}
OBJECTIVES = {"requestsPerMinute": 600, "timeToFirstTokenMilliseconds": 2000, "timePerOutputTokenMilliseconds": 50}


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall-clock seconds of `work`, after one run that does not count."""
    work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def process_medians(processes: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Median wall-clock seconds of whole processes of this interpreter, start included.

    They take turns, so that a machine that is busy for a while slows all of them. All find their bytecode compiled, as
    an installed package has it: the first turn writes it into a folder of its own, and does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in processes}
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        for turn in range(1 + PROCESS_RUNS):
            for name, arguments in processes.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT, env=environment)
                if turn:
                    times[name].append(time.perf_counter() - began)
    return {name: statistics.median(measured) for name, measured in times.items()}


async def reconciles() -> tuple[float, float]:
    """Seconds of the first and of an idle pass, per deployment, over the in-memory cluster."""
    memory = MemoryCluster(now=lambda: datetime.now(UTC))
    sample = yaml.safe_load((ROOT / "manifests" / "samples" / "tiny-cpu.yaml").read_text(encoding="utf-8"))
    refs = []
    for number in range(DEPLOYMENTS):
        metadata = {"name": f"tiny-{number}", "namespace": "default"}
        await memory.client("kubectl").apply(sample | {"metadata": metadata})
        refs.append(Ref(kinds.LLAMA_DEPLOYMENT, "default", metadata["name"]))
    ports = Ports(
        cluster=memory.client("llama-operator"),
        serving=NoServingReader(),
        catalog=catalog.load(),
        settings=Settings(),
        now=lambda: datetime.now(UTC),
    )
    times = []
    for _ in range(3):
        began = time.perf_counter()
        for ref in refs:
            await reconcile(ports, ref)
        times.append((time.perf_counter() - began) / DEPLOYMENTS)
    return times[0], times[2]


def plans(known: catalog.Catalog, objectives: dict[str, int] | None) -> Callable[[], object]:
    """Plan every model on every accelerator, as a manifest without further wishes or with objectives asks for it."""
    asked = []
    for model in known.models:
        for accelerator in known.accelerator_names:
            spec: dict[str, object] = {"model": {"name": model.id}, "hardware": {"accelerator": accelerator}}
            if objectives is not None:
                spec["objectives"] = objectives
            manifest = {"metadata": {"name": "bench", "namespace": "default"}, "spec": spec}
            deployment = LlamaDeployment.model_validate_json(json.dumps(MANIFEST | manifest))
            asked.append((Observed(deployment, acceptances=None), model))
    return lambda: [find_plan(observed, model, known) for observed, model in asked]


def planner(known: catalog.Catalog, table: Table) -> None:
    """Rows about the planner alone; one plan may take 5 ms, the whole catalog 2 s on one core."""
    for label, objectives in (("", None), (", with objectives", OBJECTIVES)):
        work = plans(known, objectives)
        number = len(known.models) * len(known.accelerator_names)
        whole = median_seconds(work, 3)
        text = f"plans of {len(known.models)} models on {len(known.accelerator_names)} accelerators{label}"
        table.add_row(text, f"{whole * 1e3:.0f} ms", f"{whole / number * 1e3:.2f} ms", "each")


def main() -> int:
    """Measure and print."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, justify in (("WHAT", "left"), ("MEDIAN", "right"), ("RATIO", "right"), ("TO", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich's own literal type

    medians = process_medians(PROCESSES)
    imports = medians[IMPORTS]
    table.add_row(BARE, f"{medians[BARE] * 1e3:.0f} ms", "1.0", "")
    table.add_row(IMPORTS, f"{imports * 1e3:.0f} ms", f"{imports / medians[BARE]:.1f}", "interpreter")
    for name in (PLAN_JSON, PLAN):
        table.add_row(name, f"{medians[name] * 1e3:.0f} ms", f"{medians[name] / imports:.1f}", "importing")
    plan = medians[PLAN_JSON]

    known = catalog.load()
    observed = Observed(files.read([str(SAMPLE)]).deployment, acceptances=None)
    decision = median_seconds(lambda: decide(observed, known), 50)
    table.add_row(
        "one decision (license, plan, revision)", f"{decision * 1e3:.2f} ms", f"{decision / plan:.3f}", "plan -o json"
    )
    planner(known, table)
    first, idle = asyncio.run(reconciles())
    table.add_row(
        "first pass of a reconcile, in memory", f"{first * 1e3:.2f} ms", f"{first / decision:.1f}", "decision"
    )
    table.add_row("idle pass of a reconcile, in memory", f"{idle * 1e3:.2f} ms", f"{idle / first:.2f}", "first pass")
    one, five = asyncio.run(judged.one_and_five(judged.in_memory))
    table.add_row("idle pass that judges five revisions", f"{five * 1e3:.2f} ms", f"{five / one:.2f}", "one revision")
    Console().print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
