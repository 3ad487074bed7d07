"""The table form of `kubectl llama plan`, for people. Called by `cli.plan.command`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.cli.plan import document
from llama_operator.cli.shared import outcome, output
from llama_operator.decide.decision import Decision
from llama_operator.decide.guard.planned import GuardPlan
from llama_operator.decide.observed import NodeFacts, Observed
from llama_operator.decide.placement.count import asks
from llama_operator.decide.placement.replica_choice import routing_advice
from llama_operator.decide.plan.candidate import Candidate, Plan
from llama_operator.decide.plan.cold_start import total_seconds
from llama_operator.decide.plan.memory import GIB

_BAR_WIDTH = 48
_WARNINGS_SHOWN = 4
_FITTING_SHOWN = 4
_REJECTED_SHOWN = 8
_DETAILS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "ControllerRevision": lambda _: "pins the plan: only a change of the spec makes another",
    "Service": lambda obj: f"selects revision {obj['spec']['selector'].get('llama-operator.io/revision')}",
    "NetworkPolicy": lambda _: "Ray's ports: only the cluster itself and KubeRay",
    "PodDisruptionBudget": lambda obj: f"a drain leaves {obj['spec']['minAvailable']} pods that answer",
    "HTTPRoute": lambda obj: f"from outside: {', '.join(obj['spec']['hostnames'])}",
    "Ingress": lambda obj: f"from outside: {', '.join(rule['host'] for rule in obj['spec']['rules'])}",
    "RayService": lambda obj: _group(obj["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]),
}
"""What there is to say about an object, by its kind; about the other kinds the name says it all."""


def show(observed: Observed, decision: Decision, objects: tuple[dict[str, Any], ...]) -> None:
    """Print license verdict, hardware, chosen candidate with its memory, all others, and the objects."""
    console = output.console()
    deployment = observed.deployment
    metadata = deployment.metadata
    console.print(f"[bold]{metadata.namespace}/{metadata.name}[/]  {deployment.spec.model.name}")
    _license(console, decision)
    _hardware(console, observed, decision)
    if decision.door is not None:
        console.print(f"  door      {decision.door.words}", markup=False)
        _routing(console, deployment.spec)
    for warning in document.warnings(observed, decision)[:_WARNINGS_SHOWN]:
        console.print(Text.assemble(("! ", "bold yellow"), warning))
    if decision.plan is not None:
        _plan(console, observed, decision, decision.plan)
    shown = decision.license is not None and decision.license.denials
    if decision.problem is not None and not (shown and decision.problem.condition is ConditionType.LICENSE_ACCEPTED):
        console.print(Text.assemble(("✗ ", "bold red"), f"{decision.problem.reason}: {decision.problem.text}"))
        if decision.problem.reason is Reason.ACCELERATOR_UNDECIDED and observed.nodes is None:
            console.print(
                Text.assemble(("→ ", "bold cyan"), "or say which nodes there are: --nodes FILE, or --cluster")
            )
    if objects:
        _objects(console, objects)


def _routing(console: Console, spec: LlamaDeploymentSpec) -> None:
    advised = routing_advice(spec)
    console.print(f"  routing   {advised.words}", markup=False)
    for other in advised.others:
        console.print(f"            or {other}", markup=False)


def _license(console: Console, decision: Decision) -> None:
    verdict = decision.license
    if verdict is None:
        return
    allows = outcome.license_allows(verdict)
    if allows is None:
        console.print(Text.assemble(("! ", "bold yellow"), f"license   {verdict.tier}: not checked: {verdict.message}"))
        cure = "to check it: `plan` with `-f ACCEPTANCE.yaml` too, or with `--cluster`; in CI add --require-license"
        console.print(Text.assemble(("→ ", "bold cyan"), cure))
    elif allows:
        console.print(Text.assemble(("✓ ", "bold green"), f"license   {verdict.tier}: {verdict.message}"))
    else:
        refusals = f"{len(verdict.denials)} refusal{'s' if len(verdict.denials) > 1 else ''}"
        console.print(Text.assemble(("✗ ", "bold red"), f"license   {verdict.tier}: {refusals}"))
    for denial in verdict.denials:
        house = "house policy: " if denial.origin == "HousePolicy" else ""
        why = f"{denial.rule:<3} {denial.reason}: {house}{denial.message} [{denial.clause}]"
        console.print(Text.assemble(("  ✗ ", "bold red"), why))
        console.print(Text.assemble(("    → ", "bold cyan"), denial.unblock))


def _hardware(console: Console, observed: Observed, decision: Decision) -> None:
    if observed.nodes is None:
        return
    console.print(f"  nodes     {_nodes(observed.nodes)}", markup=False)
    told = document.capacity(observed, decision)
    if told is not None and told.status != "Unknown":
        mark = ("✓ ", "bold green") if told.status == "True" else ("! ", "yellow")
        console.print(Text.assemble(mark, f"capacity  {told.message}"))


def _nodes(nodes: tuple[NodeFacts, ...]) -> str:
    groups = Counter((node.accelerator, node.gpus) for node in nodes)
    shown = [f"{count} with {gpus} {accelerator}" for (accelerator, gpus), count in sorted(groups.items())]
    return ", ".join(shown) or "none that takes pods"


def _plan(console: Console, observed: Observed, decision: Decision, plan: Plan) -> None:
    if plan.chosen is not None and decision.chosen is not None:
        chosen = plan.chosen
        unit = _unit(chosen)
        console.print(
            Text.assemble(
                ("✓ ", "bold green"),
                f"plan      {chosen.variant.precision} on {chosen.accelerator.name}, tensor {chosen.sharding.tensor} × pipeline "
                f"{chosen.sharding.pipeline}: {chosen.sharding.ranks} {unit}(s) and {chosen.nodes} node(s) per replica",
            )
        )
        console.print(
            f"  context   {decision.chosen.max_model_length:,} tokens; KV cache holds {decision.chosen.kv_cache_tokens:,}; "
            f"up to {plan.max_num_seqs} sequences at once"
        )
        if chosen.variant.repository:
            gated = "; gated: needs spec.weights.tokenSecret" if chosen.variant.gated else ""
            console.print(
                f"  weights   {chosen.variant.repository}, {chosen.variant.weight_bytes / 1e9:,.1f} GB{gated}"
            )
        if (reads := document.loads(observed, decision)) is not None:
            console.print(f"  loading   {reads.load_format}: {reads.why}", markup=False)
        if decision.chosen.warning:
            console.print(Text.assemble(("! ", "bold yellow"), f"sizes     {decision.chosen.warning}"))
        if decision.shapes is not None:
            shapes = decision.shapes
            console.print(f"  pods      head: {asks(shapes.head)}", markup=False)
            console.print(f"            each worker: {asks(shapes.worker)}", markup=False)
        if decision.guard is not None:
            _guard(console, decision.guard)
        for line in _estimates(decision, decision.chosen):
            console.print(f"  {line}", markup=False)
        console.print(_bar(chosen, decision.chosen.kv_cache_bytes_per_gpu))
    elif plan.rejected:
        nearest = plan.rejected[0].candidate
        console.print(f"  nearest   {nearest.label}", markup=False)
        console.print(_bar(nearest, max(0, nearest.memory.left_for_kv)))
    _candidates(console, plan)


def _guard(console: Console, guard: GuardPlan) -> None:
    best, replicas = guard.best, guard.deployment.spec.scaling.min_replicas
    if guard.shapes is None:
        console.print(
            f"  guard     {guard.model.id}: {best.variant.precision}, {best.memory.budget / GIB:.1f} GiB of a {_unit(best)} of the model's, no further "
            f"one; {replicas} replica(s); reads {guard.chosen.max_model_length:,} tokens",
            markup=False,
        )
        return
    console.print(
        f"  guard     {guard.model.id}: {best.variant.precision} on {best.accelerator.name}, {best.sharding.ranks} {_unit(best)}(s) and "
        f"{best.nodes} node(s) per replica, {replicas} replica(s); reads {guard.chosen.max_model_length:,} tokens",
        markup=False,
    )
    console.print(f"            each worker: {asks(guard.shapes.worker)}", markup=False)


def _estimates(decision: Decision, chosen: ChosenPlan) -> Iterator[str]:
    """Lines about speed, cold start and price, as far as they were estimated."""
    first, token, rate = chosen.time_to_first_token_ms, chosen.time_per_output_token_us, chosen.requests_per_minute
    if first is not None and token is not None and rate is not None:
        yield (
            f"speed     about {rate:,} requests a minute per replica, each with its first token after {first:,} ms and then "
            f"one every {token / 1000:,.1f} ms{_network(chosen)}"
        )
    if chosen.replicas_for_objectives is not None:
        yield f"rate      spec.objectives needs {chosen.replicas_for_objectives} replica(s)"
    if stages := document.cold_start(decision):
        start = [stage for stage in stages if stage.name != "Copy" and stage.seconds]
        parts = ", ".join(f"{stage.name.lower()} {_duration(stage.seconds)}" for stage in start)
        yield f"start     about {_duration(total_seconds(stages))} on a new node: {parts}"
        for copy in (stage for stage in stages if stage.name == "Copy"):
            yield f"copy      about {_duration(copy.seconds)}, once, before the first start"
    if cents := chosen.usd_per_hour_cents:
        yield f"cost      {cents / 100:,.2f} USD an hour per replica at list price; `kubectl llama cost` takes your own prices"


def _network(chosen: ChosenPlan) -> str:
    gigabits = chosen.network_gigabits_per_second
    return f", with {gigabits:,} Gb/s between nodes for each GPU" if gigabits else ""


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.1f} min"  # noqa: PLR2004 - two minutes


def _bar(candidate: Candidate, kv_bytes: int) -> Text:
    """Memory of the fullest GPU; dots are what the engine does not take."""
    memory, card = candidate.memory, max(1, candidate.accelerator.usable_memory_bytes)
    parts = (
        (memory.weights, "█", "weights", "blue"),
        (memory.reserve, "▒", "reserve", "yellow"),
        *(((memory.adapters, "▓", "adapters", "magenta"),) if memory.adapters else ()),
        *(((memory.guard, "▚", "guard", "cyan"),) if memory.guard else ()),
        (kv_bytes, "░", "KV", "green"),
    )
    scale = max(card, memory.weights + memory.reserve + memory.adapters + memory.guard)
    bar = Text("  memory    ")
    drawn = 0
    for size, glyph, _, color in parts:
        width = max(1, round(_BAR_WIDTH * size / scale)) if size else 0
        bar.append(glyph * width, style=color)
        drawn += width
    bar.append("·" * max(0, _BAR_WIDTH - drawn), style="dim")
    legend = " + ".join(f"{name} {size / GIB:.1f}" for size, _, name, _ in parts)
    missing = f"; {-memory.left_for_kv / GIB:.1f} GiB too much" if memory.left_for_kv < 0 else ""
    return bar.append(
        f"\n            {legend} of {memory.budget / GIB:.1f} GiB that {'both engines' if memory.guard else 'the engine'} may use of each {_unit(candidate)} "
        f"({card / GIB:.1f} GiB){missing}"
    )


def _unit(candidate: Candidate) -> str:
    return "GPU" if candidate.accelerator.device == "GPU" else "rank"


def _candidates(console: Console, plan: Plan) -> None:
    fitting = (*((plan.chosen,) if plan.chosen is not None else ()), *plan.alternatives[:_FITTING_SHOWN])
    rejected = plan.rejected[:_REJECTED_SHOWN]
    if not fitting and not rejected:
        return
    whole = ("CANDIDATE", "GPUS", "USD/H", "FITS")
    table = output.table(*whole, "WHY", right=("GPUS", "USD/H"), whole=whole)

    def row(candidate: Candidate, fits: str, why: str) -> None:
        ranks, replicas = candidate.sharding.ranks, candidate.replicas
        dollars = candidate.usd_micros_per_hour * replicas
        gpus = f"{replicas} × {ranks}" if replicas > 1 else str(ranks)
        table.add_row(candidate.label, gpus, f"{dollars / 1e6:,.2f}" if dollars else "", fits, why)

    for candidate in fitting:
        chosen = plan.chosen
        why = "chosen" if chosen is None or candidate is chosen else document.why_not_chosen(candidate, chosen)
        row(candidate, "yes", why)
    for rejection in rejected:
        row(rejection.candidate, "no", f"{rejection.reason}: {rejection.message}")
    for count, fits in ((len(plan.alternatives) - _FITTING_SHOWN, "yes"), (len(plan.rejected) - _REJECTED_SHOWN, "no")):
        if count > 0:
            table.add_row("…", "", "", fits, f"{count} more with -o json")
    output.show_table(console, table)


def _objects(console: Console, objects: tuple[dict[str, Any], ...]) -> None:
    table = output.table("OBJECT", "NAME", "WHAT", whole=("OBJECT", "NAME"))
    for obj in objects:
        detail = _DETAILS.get(obj["kind"])
        table.add_row(obj["kind"], obj["metadata"]["name"], detail(obj) if detail is not None else "")
    output.show_table(console, table)


def _group(group: dict[str, Any]) -> str:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    held = ", ".join(f"{amount} {name}" for name, amount in limits.items())
    hosts = group.get("numOfHosts", 1)
    return f"{group['minReplicas'] * hosts} to {group['maxReplicas'] * hosts} worker pods of {held}"
