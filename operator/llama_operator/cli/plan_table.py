"""The table form of `kubectl llama plan`, for people. Called by `cli.plan`."""

from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.decision import Decision
from llama_operator.decide.memory import GIB, Memory
from llama_operator.decide.planner import Candidate, Plan

_BAR_WIDTH = 48
_REJECTED_SHOWN = 6
_DETAILS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "ControllerRevision": lambda _: "pins the plan: nothing but a change of the spec makes another",
    "Service": lambda obj: f"selects revision {obj['spec']['selector'].get('llama-operator.io/revision')}",
    "NetworkPolicy": lambda _: "Ray's ports: the cluster itself and KubeRay alone",
    "RayService": lambda obj: _group(obj["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]),
}


def show(deployment: LlamaDeployment, decision: Decision, objects: tuple[dict[str, Any], ...]) -> None:
    """Print license verdict, chosen candidate with its memory, rejected ones, and the objects."""
    console = Console(highlight=False)
    metadata = deployment.metadata
    console.print(f"[bold]{metadata.namespace}/{metadata.name}[/]  {deployment.spec.model.name}")
    _license(console, decision)
    if decision.plan is not None:
        _plan(console, decision, decision.plan)
    if decision.problem is not None:
        console.print(Text.assemble(("✗ ", "bold red"), f"{decision.problem.reason}: {decision.problem.text}"))
    if objects:
        _objects(console, objects)


def _license(console: Console, decision: Decision) -> None:
    verdict = decision.license
    if verdict is None:
        return
    mark = ("✓ ", "bold green") if verdict.allowed else ("✗ ", "bold red")
    console.print(Text.assemble(mark, f"license   {verdict.tier}: {verdict.message}"))


def _plan(console: Console, decision: Decision, plan: Plan) -> None:
    if plan.chosen is not None:
        chosen = plan.chosen
        unit = "GPU" if chosen.accelerator.device == "GPU" else "rank"
        console.print(
            Text.assemble(
                ("✓ ", "bold green"),
                f"plan      {chosen.variant.precision} on {chosen.accelerator.name}, tensor {chosen.sharding.tensor} × pipeline "
                f"{chosen.sharding.pipeline}: {chosen.sharding.ranks} {unit}(s) and {chosen.nodes} node(s) per replica",
            )
        )
        console.print(
            f"  context   {decision.max_model_length:,} tokens; KV cache holds {chosen.memory.kv_tokens:,}; "
            f"up to {plan.max_num_seqs} sequences at once"
        )
        if chosen.variant.repository:
            gated = "; gated: needs spec.weights.tokenSecret" if chosen.variant.gated else ""
            console.print(
                f"  weights   {chosen.variant.repository}, {chosen.variant.weight_bytes / 1e9:,.1f} GB{gated}"
            )
        console.print(_bar(chosen.memory, unit))
    _candidates(console, plan)


def _bar(memory: Memory, unit: str) -> Text:
    total = max(1, memory.budget)
    parts = (
        (memory.weights, "█", "weights", "blue"),
        (memory.reserve, "▒", "reserve", "yellow"),
        (memory.left_for_kv, "░", "KV", "green"),
    )
    bar = Text("  memory    ")
    for size, glyph, _, color in parts:
        bar.append(glyph * max(1, round(_BAR_WIDTH * size / total)), style=color)
    legend = " + ".join(f"{name} {size / GIB:.1f}" for size, _, name, _ in parts)
    return bar.append(f"\n            {legend} = {memory.budget / GIB:.1f} GiB per {unit}")


def _candidates(console: Console, plan: Plan) -> None:
    if not plan.rejected and not plan.alternatives:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("CANDIDATE", no_wrap=True)
    table.add_column("FITS", no_wrap=True)
    table.add_column("WHY")
    for candidate in plan.alternatives[:2]:
        table.add_row(candidate.label, "yes", _why_not_chosen(candidate, plan))
    for rejection in plan.rejected[:_REJECTED_SHOWN]:
        table.add_row(rejection.candidate.label, "no", f"{rejection.reason}: {rejection.message}")
    hidden = len(plan.rejected) - _REJECTED_SHOWN
    if hidden > 0:
        table.add_row("…", "no", f"{hidden} more with -o json")
    console.print(table)


def _why_not_chosen(candidate: Candidate, plan: Plan) -> str:
    chosen = plan.chosen
    if chosen is not None and candidate.sharding.ranks > chosen.sharding.ranks:
        return f"takes {candidate.sharding.ranks} instead of {chosen.sharding.ranks}"
    return "same size; lower quality"


def _objects(console: Console, objects: tuple[dict[str, Any], ...]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("OBJECT", "NAME", "WHAT"):
        table.add_column(heading)
    for obj in objects:
        table.add_row(obj["kind"], obj["metadata"]["name"], _DETAILS[obj["kind"]](obj))
    console.print(table)


def _group(group: dict[str, Any]) -> str:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    held = ", ".join(f"{amount} {name}" for name, amount in limits.items())
    return f"{group['minReplicas']} to {group['maxReplicas']} worker pods of {held}"
