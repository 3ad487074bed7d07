"""What a deployment costs, worked out from its plan and a table of prices. Called by `cli.cost.command`, shown by `cli.cost.table`."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from llama_operator import catalog
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.catalog.figures import prices
from llama_operator.catalog.figures.prices import PriceTable
from llama_operator.cli.plan import document as plan_json
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.bounds import least_replicas, most_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.decide.plan.cold_start import total_seconds
from llama_operator.decide.plan.cost import NOTHING_BESIDE, Beside, Cost, cost
from llama_operator.decide.plan.performance import Performance, Workload, replicas_needed
from llama_operator.decide.plan.planner import TYPICAL_LOAD
from llama_operator.decide.scaling.schedule import ReplicaBounds, hours_of_a_week
from llama_operator.errors import FieldProblem, InvalidManifestError

_MICROS = 1_000_000


_COMMAND_LINE = "the command line"


@dataclass(frozen=True, slots=True)
class CostOptions:
    """What the command line says."""

    file: list[str]
    """Manifests."""
    name: str | None = None
    """Which deployment of the files; None for the only one."""
    prices: str | None = None
    """File with the user's prices; None for the list prices that come with the package."""
    api_price: str | None = None
    """Dollars that an API asks for a million tokens; None for no comparison."""
    requests_per_minute: int | None = None
    """Rate in place of the one in spec.objectives."""
    nodes: str | None = None
    """File with the hardware."""
    output: str = "table"


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of a week in which the same bounds hold."""

    bounds: ReplicaBounds
    hours: float
    usd_micros_per_hour: int
    """At the fewest replicas."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that is printed."""

    deployment: str
    decision: Decision
    chosen: Candidate
    performance: Performance
    workload: Workload
    table: PriceTable
    usd_micros_per_gpu_hour: int
    api_usd_micros_per_million_tokens: int | None
    guard: Beside
    """What the guard costs, at every number of replicas; nothing without one."""
    scenarios: tuple[tuple[str, Cost], ...]
    """Name and cost, by number of replicas."""
    week: tuple[Hours, ...] = ()
    """What the schedule keeps, window by window; nothing without a schedule."""

    @property
    def usd_micros_per_week(self) -> int:
        """What a week costs at the fewest replicas that the schedule keeps."""
        return round(sum(one.hours * one.usd_micros_per_hour for one in self.week))


def work_out(
    name: str, spec: LlamaDeploymentSpec, decision: Decision, chosen: Candidate, options: CostOptions
) -> Answer:
    """Work out the cost of the chosen candidate for the fewest, the planned and the most replicas."""
    table = prices.load() if options.prices is None else read_prices(options.prices)
    price = _price(chosen.accelerator.name, table, options)
    speed = chosen.performance
    if speed is None:
        problem = f"there is no speed model for {chosen.accelerator.name}, so no cost per token"
        raise InvalidManifestError.of(name, "spec.hardware.accelerator", problem, "name a GPU")
    workload = _workload(spec, options)
    api = None if options.api_price is None else dollars(options.api_price, "--api-price")
    planned = {"planned": replicas_needed(speed, workload)} if workload.requests_per_minute else {}
    weeks = hours_of_a_week(spec.scaling) if spec.scaling.schedule is not None else ()
    windows = {f"window {bounds.window}": bounds.least for bounds, _ in weeks if bounds.window}
    counts = {"minimum": least_replicas(spec)} | windows | planned | {"maximum": most_replicas(spec)}
    ranks, beside = chosen.sharding.ranks, _guard(decision, table, options)
    scenarios = tuple(
        (scenario, cost(price, ranks, replicas, speed, workload, api_usd_micros_per_million_tokens=api, beside=beside))
        for scenario, replicas in counts.items()
    )
    week = tuple(
        Hours(bounds, hours, price * ranks * bounds.least + beside.usd_micros_per_hour) for bounds, hours in weeks
    )
    return Answer(name, decision, chosen, speed, workload, table, price, api, beside, scenarios, week)


def _price(accelerator: str, table: PriceTable, options: CostOptions) -> int:
    price = table.of(accelerator)
    if price is None:
        raise _no_price(accelerator, table, options.prices)
    return price


def _guard(decision: Decision, table: PriceTable, options: CostOptions) -> Beside:
    guard = decision.guard
    if guard is None or not guard.gpus:
        return NOTHING_BESIDE
    return Beside(guard.gpus, guard.gpus * _price(guard.best.accelerator.name, table, options))


def document(answer: Answer) -> dict[str, Any]:
    """The answer as JSON; a stable interface, documented in docs/cost.md."""
    chosen, speed, workload = answer.chosen, answer.performance, answer.workload
    stages = plan_json.cold_start(answer.decision)
    return {
        "deployment": answer.deployment,
        "plan": {
            "precision": chosen.variant.precision,
            "accelerator": chosen.accelerator.name,
            "tensorParallelSize": chosen.sharding.tensor,
            "pipelineParallelSize": chosen.sharding.pipeline,
            "gpusPerReplica": chosen.sharding.ranks,
        },
        **_document_of_guard(answer),
        "prices": {"basis": answer.table.basis, "usdMicrosPerGPUHour": answer.usd_micros_per_gpu_hour},
        "workload": {
            "promptTokens": workload.prompt_tokens,
            "outputTokens": workload.output_tokens,
            "requestsPerMinute": workload.requests_per_minute or None,
        },
        "replica": {
            "requestsPerMinute": speed.requests_per_minute,
            "outputTokensPerSecond": speed.output_tokens_per_second,
            "timeToFirstTokenMs": speed.time_to_first_token_ms,
            "timePerOutputTokenUs": speed.time_per_output_token_us,
            "concurrency": speed.concurrency,
            "coldStartSeconds": total_seconds(stages) if stages else None,
        },
        "apiUsdMicrosPerMillionTokens": answer.api_usd_micros_per_million_tokens,
        "scenarios": [_scenario(name, figures) for name, figures in answer.scenarios],
        **_document_of_week(answer),
    }


def _document_of_week(answer: Answer) -> dict[str, Any]:
    if not answer.week:
        return {}
    windows = [
        {
            "window": one.bounds.window or None,
            "hours": round(one.hours, 2),
            "minReplicas": one.bounds.least,
            "maxReplicas": one.bounds.most,
            "usdMicrosPerHour": one.usd_micros_per_hour,
        }
        for one in answer.week
    ]
    return {"week": {"usdMicros": answer.usd_micros_per_week, "windows": windows}}


def _document_of_guard(answer: Answer) -> dict[str, Any]:
    guard = answer.decision.guard
    if guard is None:
        return {}
    best, beside = guard.best, answer.guard
    return {
        "guard": {
            "model": guard.model.id,
            "accelerator": best.accelerator.name,
            **({"placement": guard.chosen.placement} if guard.chosen.placement is not None else {}),
            "gpus": beside.gpus,
            "usdMicrosPerHour": beside.usd_micros_per_hour,
        }
    }


def read_prices(path: str) -> PriceTable:
    """Read the prices of a user: `basis` and `usdPerGPUHour`, a price in dollars for each accelerator.

    Raises:
        InvalidManifestError: If the file cannot be read or holds something else.
    """
    held = list(documents(path))
    content = held[0] if len(held) == 1 else {}
    by_name, basis = content.get("usdPerGPUHour"), content.get("basis", f"prices of {path}")
    known = catalog.load().accelerator_names
    problems = [] if len(held) == 1 else [FieldProblem("(file)", f"holds {len(held)} documents", "must hold one")]
    problems += [
        FieldProblem(key, "is unknown", "known are basis and usdPerGPUHour") for key in content if key not in _KEYS
    ]
    if not isinstance(basis, str) or not basis:
        problems.append(FieldProblem("basis", "is no text", "say whose prices these are, and of when"))
    if not isinstance(by_name, dict) or not by_name:
        problems.append(FieldProblem("usdPerGPUHour", "is missing", "a map such as {H100-80GB: 2.10}"))
        raise InvalidManifestError(path, problems)
    amounts = {}
    for name, dollars in by_name.items():
        field = f"usdPerGPUHour.{name}"
        if name not in known:
            problems.append(FieldProblem(field, "is an unknown accelerator", f"known are {', '.join(known)}"))
        elif (micros := _micros(dollars)) is None:
            problems.append(FieldProblem(field, f"is {dollars!r}", _AMOUNT))
        else:
            amounts[name] = micros
    if problems:
        raise InvalidManifestError(path, problems)
    return prices.table(str(basis), amounts)


_KEYS = frozenset({"basis", "usdPerGPUHour"})


_AMOUNT = "must be dollars from 0.000001 to 1,000,000"


def _workload(spec: LlamaDeploymentSpec, options: CostOptions) -> Workload:
    asked, rate = spec.objectives, options.requests_per_minute
    if rate is not None and rate < 1:
        raise InvalidManifestError.of(_COMMAND_LINE, "--requests-per-minute", f"is {rate}", "at least 1")
    if asked is None:
        return Workload(TYPICAL_LOAD.prompt_tokens, TYPICAL_LOAD.output_tokens, rate or 0)
    return Workload(asked.prompt_tokens, asked.output_tokens, rate or asked.requests_per_minute or 0)


def _scenario(name: str, figures: Cost) -> dict[str, Any]:
    even = figures.break_even
    return {
        "name": name,
        "replicas": figures.replicas,
        "gpus": figures.gpus,
        "usdMicrosPerHour": figures.usd_micros_per_hour,
        "requestsPerMinute": figures.requests_per_minute,
        "tokensPerDay": figures.tokens_per_day,
        "capacityTokensPerDay": figures.capacity_tokens_per_day,
        "usdMicrosPerMillionTokens": figures.usd_micros_per_million_tokens,
        "usdMicrosPerMillionOutputTokens": figures.usd_micros_per_million_output_tokens,
        "breakEven": None
        if even is None
        else {"tokensPerDay": even.tokens_per_day, "reachable": "Yes" if even.reachable else "No"},
    }


def _no_price(accelerator: str, table: PriceTable, path: str | None) -> InvalidManifestError:
    problem = f"is missing; priced are {', '.join(price.accelerator for price in table.prices)}"
    where, field = path or "the list prices", f"usdPerGPUHour.{accelerator}"
    return InvalidManifestError.of(where, field, problem, "give it with --prices FILE")


def dollars(text: str, option: str) -> int:
    """Read dollars of the command line; returns millionths of a dollar.

    Raises:
        InvalidManifestError: If they are none, or too many or too few.
    """
    micros = _micros(text)
    if micros is None:
        raise InvalidManifestError.of(_COMMAND_LINE, option, f"is {text!r}", _AMOUNT)
    return micros


def _micros(dollars: object) -> int | None:
    if isinstance(dollars, bool):
        return None
    try:
        micros = Decimal(str(dollars)) * _MICROS
        rounded = int(micros.to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return rounded if 1 <= rounded <= _MICROS * _MICROS else None
