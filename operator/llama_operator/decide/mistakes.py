"""All that only a different manifest can cure, told in one go. Pure; called by the command line for manifests in files.

`decide` stops at its first problem, for nothing can be done about a deployment before that one is cured. A person who corrects
a manifest wants all of them: here a field that is wrong is set aside, and the rest is judged on.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from llama_operator.api.v1alpha1.llamadeployment import (
    Activation,
    ContextSpec,
    HardwareSpec,
    LlamaDeploymentSpec,
    ModelSpec,
    ParallelismSpec,
)
from llama_operator.catalog import Catalog
from llama_operator.catalog.models import Model
from llama_operator.decide.bounds import wanted_replicas
from llama_operator.decide.find_model import FIELD, find_model
from llama_operator.decide.license import judge
from llama_operator.decide.license.gather import license_input
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.accelerators import unknown_accelerator
from llama_operator.decide.plan.adapters import names_problem, slots_problem
from llama_operator.decide.plan.request import find_plan, nothing_fits
from llama_operator.decide.problem import Problem
from llama_operator.errors import FieldProblem

_MODEL = "spec.model"
_LENGTH = "spec.context"
ACCELERATOR = "spec.hardware.accelerator"
_SIZES = "spec.parallelism"
_PLANNED_FROM = (
    _MODEL,
    _LENGTH,
    _SIZES,
    "spec.hardware",
    "spec.engine",
    "spec.scaling",
    "spec.replicas",
    "spec.objectives",
)
"""What a plan is made from."""
_RESTS_ON = {_MODEL: (_MODEL,), _LENGTH: (_MODEL, _LENGTH), _SIZES: _PLANNED_FROM}
"""What a problem rests on, by the part of the spec that is to blame for it."""


def mistakes(observed: Observed, catalog: Catalog, doubted: Collection[str] = ()) -> tuple[FieldProblem, ...]:
    """Judge everything that can be judged.

    Args:
        observed: The deployment with what is beside it. Fields in doubt may have any value, or none.
        catalog: The built-in catalog.
        doubted: Paths of fields that are wrong by themselves: what rests on one of them is not judged.

    Returns:
        What is wrong, in the order in which `decide` would come to it.
    """
    return tuple(_mistakes(observed, catalog, tuple(doubted)))


def _mistakes(observed: Observed, catalog: Catalog, doubted: tuple[str, ...]) -> Iterator[FieldProblem]:
    model: Model | Problem | None = None
    if not _in_doubt(doubted, FIELD):
        model = find_model(observed.deployment.spec.model.name, observed.models, catalog)
        if isinstance(model, Problem):
            yield from _told(model)
    if not _in_doubt(doubted, ACCELERATOR):
        unknown = unknown_accelerator(observed, catalog)
        if unknown is not None:
            yield from _told(unknown)
            doubted = (*doubted, ACCELERATOR)
    if not isinstance(model, Model):
        return
    yield from _of_plan(observed, model, catalog, doubted)
    for wrong in (slots_problem(observed.deployment.spec, model), names_problem(observed.deployment.spec, model)):
        if wrong is not None and not _in_doubt(doubted, _MODEL, wrong.field):
            yield from _told(wrong)
    if not _in_doubt(doubted, "spec.license") and not _suspended(observed, doubted):
        for denial in judge(license_input(observed, catalog, model.id, None, None)).denials:
            yield FieldProblem("spec.license", denial.message, denial.unblock)


def _suspended(observed: Observed, doubted: tuple[str, ...]) -> bool:
    """Whether it shall hold no hardware, so that no license is asked for; or whether that is not known."""
    if _in_doubt(doubted, "spec.activation", "spec.scaling", "spec.replicas"):
        return True
    spec = observed.deployment.spec
    return spec.activation is not Activation.ACTIVE or wanted_replicas(spec) == 0


def _of_plan(observed: Observed, model: Model, catalog: Catalog, doubted: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with precision, context and sizes; each is judged without those before it."""
    spec = observed.deployment.spec
    if _in_doubt(doubted, ACCELERATOR):
        # Precision and context are judged the same on any; the sizes are not.
        hardware = HardwareSpec(accelerator=catalog.accelerator_names[0])
        spec = spec.model_copy(update={"hardware": hardware, "parallelism": ParallelismSpec()})
    if slots_problem(spec, model) is not None:
        spec = spec.model_copy(update={"adapter_slots": None})
    for _ in _RESTS_ON:
        problem = _plan_problem(observed, spec, model, catalog)
        if problem is None or not problem.invalid:
            return
        part = next((part for part in _RESTS_ON if problem.field.startswith(part)), None)
        if part is None:
            return
        if not _in_doubt(doubted, *_RESTS_ON[part]):
            yield from _told(problem)
        spec = _without(spec, part)


def _plan_problem(observed: Observed, spec: LlamaDeploymentSpec, model: Model, catalog: Catalog) -> Problem | None:
    deployment = observed.deployment.model_copy(update={"spec": spec})
    search = find_plan(replace(observed, deployment=deployment), model, catalog)
    if isinstance(search, Problem):
        return search
    request, result = search
    return nothing_fits(request, result) if result.chosen is None else None


def _without(spec: LlamaDeploymentSpec, part: str) -> LlamaDeploymentSpec:
    """The spec with the default of a part that is wrong."""
    defaults = {
        _MODEL: ("model", ModelSpec(name=spec.model.name)),
        _LENGTH: ("context", ContextSpec()),
        _SIZES: ("parallelism", ParallelismSpec()),
    }
    name, default = defaults[part]
    return spec.model_copy(update={name: default})


def _told(problem: Problem) -> Iterator[FieldProblem]:
    if problem.invalid:
        yield FieldProblem(problem.field, problem.message)


def _in_doubt(doubted: Collection[str], *fields: str) -> bool:
    """Whether one of `fields`, or what is around or below it, is in doubt."""
    return any(_within(field, path) or _within(path, field) for field in fields for path in doubted)


def _within(field: str, around: str) -> bool:
    return field == around or field.startswith((f"{around}.", f"{around}["))
