"""`kubectl llama simulate`: plays autoscalers on a trace, against the plan of a manifest.

Works on the same decision as `kubectl llama plan`; reads no cluster. docs/simulate.md documents the JSON.
"""

import argparse
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

from llama_operator import catalog
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.cli.shared import files, outcome, output, terminal
from llama_operator.cli.shared.exit_codes import EXIT_DOES_NOT_FIT, EXIT_OK
from llama_operator.cli.shared.options import filled
from llama_operator.cli.simulate.answer import Simulated
from llama_operator.cli.simulate.cases import at_hours, within_context
from llama_operator.cli.simulate.contestants import PRODUCT, Contestant, beside, compete, parse
from llama_operator.cli.simulate.steps import Steps
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.compare import case_of
from llama_operator.simulate.deployment import Choices, is_scheduled, setup_of
from llama_operator.simulate.picture.curves import curves
from llama_operator.simulate.picture.svg import Point, pareto, timeline
from llama_operator.simulate.scalers.table import SCALERS
from llama_operator.simulate.traces.named import find

_PNG = ".png"
_PICTURES = ("", ".svg", _PNG)
_DEFAULT = ("product", "fixed", "in-the-second", "clairvoyant")
_COMMAND_LINE = "the command line"
_MOMENTS = 600
_PERCENT = 100.0
_DAY_SECONDS = 86_400.0
_YEARS = range(1971, 9000)


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What the command line says."""

    file: list[str]
    trace: str
    name: str | None = None
    scaler: list[str] | None = None
    all: bool = False
    settings: bool = False
    seed: int = 1
    seeds: int = 1
    cold_start: float | None = None
    failing_starts: int = 0
    first_token: float | None = None
    max_replicas: int | None = None
    begins: str | None = None
    picture: str | None = None
    pareto: str | None = None
    output: str = "table"


def command(options: SimulateOptions) -> int:
    """Print how the manifest would scale; returns the exit code.

    Raises:
        InvalidManifestError: If the manifest, the trace or an option cannot be used.
    """
    _check(options)
    _check_pictures(options)
    named = tuple(parse(name) for name in options.scaler or ())
    manifests = files.read(options.file, name=options.name)
    observed = Observed(manifests.deployment, acceptances=manifests.acceptances or None)
    decision = decide(observed, catalog.load())
    outcome.raise_if_invalid(observed, decision)
    chosen = decision.plan.chosen if decision.plan is not None else None
    if chosen is None:
        problem = decision.problem
        output.console().print(f"✗ {problem.text if problem else 'no plan, so nothing to simulate'}", markup=False)
        return EXIT_DOES_NOT_FIT
    spec, metadata = manifests.deployment.spec, manifests.deployment.metadata
    choices = Choices(
        cold_start=options.cold_start,
        first_token=options.first_token,
        maximum=options.max_replicas,
        failing=options.failing_starts / _PERCENT,
        begins=_begins(options.begins, spec),
    )
    setup = setup_of(spec, decision, chosen, choices)
    contestants = _contestants(options, named, spec, setup.bounds)
    for one in contestants:
        # Before the need is searched, which may take minutes.
        one.setup(setup)
    cases, played, too_long = [], [], []
    with Steps() as steps:
        for seed in range(options.seed, options.seed + options.seeds):
            steps.show(f"seed {seed}: reading {options.trace}")
            trace, beyond = within_context(find(options.trace, seed), setup)
            too_long.append(beyond)
            steps.show(f"seed {seed}: searching what {len(trace.arrivals):,} requests need")
            cases.append(at_hours(case_of(setup, trace, spec, seed=seed)))
            played.append(compete(cases[-1], contestants, seed, steps.show))
    found = Simulated(
        f"{metadata.namespace}/{metadata.name}",
        chosen.label,
        tuple(cases),
        tuple(played),
        too_long=tuple(too_long),
        begins=options.begins,
        leaves_out_hours=options.begins is None and is_scheduled(spec),
    )
    if options.output == "json":
        from llama_operator.cli.simulate.document import document

        output.print_json(document(found))
    else:
        from llama_operator.cli.simulate import table

        table.show(found)
    # Last: what was played for minutes is told also where a picture cannot be written.
    _draw(found, options)
    return EXIT_OK


def _contestants(
    options: SimulateOptions, named: tuple[Contestant, ...], spec: LlamaDeploymentSpec, bounds: tuple[int, int]
) -> tuple[Contestant, ...]:
    """Who plays, in the order of the table, each once."""
    usual = named or tuple(parse(name) for name in _DEFAULT)
    every = tuple(parse(name) for name in SCALERS) if options.all else ()
    others = tuple(parse(name) for name in beside(spec.scaling, bounds)) if options.settings else ()
    # Other settings say nothing without those of the manifest beside them.
    own = (parse(PRODUCT),) if options.settings else ()
    first = tuple(one for one in usual if one.scaler == PRODUCT)
    by_name = {one.name: one for one in (*own, *first, *others, *usual, *every)}
    return tuple(by_name.values())


def _begins(text: str | None, spec: LlamaDeploymentSpec) -> datetime | None:
    if text is None:
        return None
    schedule = spec.scaling.schedule
    if schedule is None or not is_scheduled(spec):
        problem = "the bounds of this deployment are the same at all hours"
        raise InvalidManifestError.of(
            _COMMAND_LINE, "--begins", problem, "leave it out, or write spec.scaling.schedule"
        )
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "a date and a time, as 2026-11-30T07:30"
        raise InvalidManifestError.of(_COMMAND_LINE, "--begins", f"{text!r} is no time", expected) from error
    if moment.year not in _YEARS:
        raise InvalidManifestError.of(
            _COMMAND_LINE, "--begins", f"{text!r} is in no year that is played", "a year of now"
        )
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(schedule.time_zone))


def _check(options: SimulateOptions) -> None:
    least = {"--seeds": options.seeds, "--max-replicas": options.max_replicas}
    for name, value in least.items():
        if value is not None and value < 1:
            raise InvalidManifestError.of(_COMMAND_LINE, name, f"{value} is too small", "a number from 1 on")
    for name, seconds in (("--cold-start", options.cold_start), ("--first-token", options.first_token)):
        if seconds is not None and not 0 < seconds <= _DAY_SECONDS:
            problem = f"{seconds:g} is no such time"
            raise InvalidManifestError.of(_COMMAND_LINE, name, problem, "seconds, more than 0, and a day at most")
    if not 0 <= options.failing_starts < _PERCENT:
        problem = f"{options.failing_starts} is no share"
        raise InvalidManifestError.of(_COMMAND_LINE, "--failing-starts", problem, "percent, from 0 to 99")


def _draw(found: Simulated, options: SimulateOptions) -> None:
    case, played = found.cases[0], found.played[0]
    if options.picture is not None:
        drawn = curves(played[0].record, case.need, case.trace.length, _MOMENTS)
        title = terminal.plain(f"{found.deployment}: {options.trace}")
        _write(options.picture, "--picture", timeline(title, ((played[0].scaler, drawn),)))
    if options.pareto is not None:
        points = tuple(Point(one.scaler, one.relative_hours, one.outcome.attainment) for one in played)
        _write(options.pareto, "--pareto", pareto(terminal.plain(f"{found.deployment}: {options.trace}"), points))


def _write(path: str, option: str, picture: str) -> None:
    try:
        if Path(path).suffix.lower() == _PNG:
            from llama_operator.simulate.picture.png import png

            Path(path).write_bytes(png(picture))
        else:
            Path(path).write_text(picture, encoding="utf-8")
    except OSError as error:
        raise InvalidManifestError.of(_COMMAND_LINE, option, f"{path} cannot be written: {error}") from error


def _check_pictures(options: SimulateOptions) -> None:
    """Refuse before anything is played, which may take minutes."""
    for option, path in (("--picture", options.picture), ("--pareto", options.pareto)):
        suffix = "" if path is None else Path(path).suffix.lower()
        if suffix not in _PICTURES:
            problem = f"{path} ends with {suffix}, and pictures are SVG or PNG"
            raise InvalidManifestError.of(_COMMAND_LINE, option, problem, "a name that ends with .svg or .png")
        if suffix == _PNG and find_spec("PIL") is None:
            problem = f"{path} needs Pillow, which is not installed"
            allowed = "install llama-operator[pictures], or give a name that ends with .svg"
            raise InvalidManifestError.of(_COMMAND_LINE, option, problem, allowed)
        if path is not None and (not path or Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
            problem = f"{path!r} cannot be written: it is no name of a file in a folder that exists"
            raise InvalidManifestError.of(_COMMAND_LINE, option, problem, "a name of a file")
    if options.picture is not None and options.picture == options.pareto:
        raise InvalidManifestError.of(_COMMAND_LINE, "--pareto", "the same file as --picture", "another name")


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    return command(filled(SimulateOptions, arguments))
