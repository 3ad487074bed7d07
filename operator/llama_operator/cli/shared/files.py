"""Reads the manifests of a command line: which LlamaDeployment is meant, and what stands beside it. Called by the verbs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from llama_operator import catalog
from llama_operator.api.manifest import KINDS, AnyResource, parse, partly
from llama_operator.api.meta import API_VERSION
from llama_operator.api.paths import at
from llama_operator.api.readings import text
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import HardwareSpec, LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.cli.shared.documents import documents, files_of
from llama_operator.decide.observed import LONG_AGO, Observed
from llama_operator.errors import FieldProblem, InvalidManifestError, InvalidManifestsError

_NAMES_A_MODEL = re.compile(r"spec\.((guard\.)?model\.name|license\.guardModel|lineage\.derivedFrom\[[0-9]+\]\.model)")
"""Fields that name an entry of the catalog."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """One LlamaDeployment, and the other objects of ours in the same files."""

    deployment: LlamaDeployment
    acceptances: tuple[LicenseAcceptance, ...]
    objects: tuple[dict[str, Any], ...]
    """The same objects as JSON, as they are written."""
    models: tuple[LlamaModel, ...] = ()
    policies: tuple[LicensePolicy, ...] = ()
    path: str = ""
    """File of the deployment."""
    accelerators: tuple[Accelerator, ...] = ()

    def observed(self, now: datetime = LONG_AGO) -> Observed:
        """What is known without a cluster.

        Without a record in the files, the verdict says that it is unknown whether there is one.
        """
        return Observed(
            self.deployment,
            acceptances=self.acceptances or None,
            models=self.models or None,
            policies=self.policies or None,
            accelerators=self.accelerators or None,
            now=now,
        )


def read(paths: list[str], *, name: str | None = None, alone: bool = True) -> Manifests:
    """Read the one LlamaDeployment of `paths`, with what stands beside it.

    Args:
        paths: Files and folders; `-` is standard input.
        name: Which deployment to take, if the files hold several.
        alone: Whether there is nothing but these files; else a cluster may have the models and accelerators that they name.

    Raises:
        InvalidManifestError: If a file cannot be read or an object of ours is invalid; names all problems of all files.
    """
    every = read_all(paths, alone=alone)
    named = [manifests for manifests in every if name in {None, manifests.deployment.metadata.name}]
    if len(named) == 1:
        return named[0]
    raise InvalidManifestError(", ".join(paths), [_choice(every, named, name)])


def read_all(paths: list[str], *, alone: bool = True) -> tuple[Manifests, ...]:
    """Read every LlamaDeployment of `paths`, each with all the other objects of ours; raises as `read` does."""
    objects = _ours(paths, alone=alone)
    resources = [resource for _, _, resource in objects]
    return tuple(
        Manifests(
            deployment,
            tuple(item for item in resources if isinstance(item, LicenseAcceptance)),
            tuple(obj for _, obj, item in objects if item is deployment or not isinstance(item, LlamaDeployment)),
            tuple(item for item in resources if isinstance(item, LlamaModel)),
            tuple(item for item in resources if isinstance(item, LicensePolicy)),
            path,
            tuple(item for item in resources if isinstance(item, Accelerator)),
        )
        for path, _, deployment in objects
        if isinstance(deployment, LlamaDeployment)
    )


def models(paths: list[str]) -> tuple[LlamaModel, ...]:
    """Read the LlamaModels of `paths`; raises as `read` does."""
    return tuple(item for _, _, item in _ours(paths) if isinstance(item, LlamaModel))


@dataclass(frozen=True, slots=True)
class _Refused:
    """An object of ours that is not valid."""

    obj: dict[str, Any]
    error: InvalidManifestError


def _ours(paths: list[str], *, alone: bool = True) -> list[tuple[str, dict[str, Any], AnyResource]]:
    """Read the objects of ours, each with its file and as it is written."""
    errors: list[InvalidManifestError | _Refused] = []
    objects: list[tuple[str, dict[str, Any], AnyResource]] = []
    for path in files_of(paths):
        try:
            for obj in documents(path):
                objects += _parsed(path, obj, errors)
        except InvalidManifestError as error:
            errors.append(error)
    if errors:
        told = _told(errors, [resource for _, _, resource in objects], alone=alone)
        raise told[0] if len(told) == 1 else InvalidManifestsError(told)
    return objects


def _parsed(
    path: str, obj: dict[str, Any], errors: list[InvalidManifestError | _Refused]
) -> Iterable[tuple[str, dict[str, Any], AnyResource]]:
    """Parse an object of ours, or add what is wrong with it to `errors`; nothing for an object of another group."""
    if not (str(obj.get("apiVersion", "")).startswith("llama-operator.io/") or obj.get("kind") in KINDS):
        return ()
    try:
        return ((path, obj, parse(obj)),)
    except InvalidManifestError as error:
        problems = [_with_model_meant(problem, obj) for problem in error.problems]
        errors.append(_Refused(obj, InvalidManifestError(f"{error.subject} in {path}", problems)))
        return ()


def _told(
    errors: list[InvalidManifestError | _Refused], valid: list[AnyResource], *, alone: bool
) -> list[InvalidManifestError]:
    """The errors, each with what can be judged of a deployment although other fields of it are wrong."""
    wrong = [one.obj for one in errors if isinstance(one, _Refused)]
    return [_completed(one, valid, wrong, alone=alone) if isinstance(one, _Refused) else one for one in errors]


def _completed(
    refused: _Refused, valid: list[AnyResource], wrong: list[dict[str, Any]], *, alone: bool
) -> InvalidManifestError:
    error, obj = refused.error, refused.obj
    if obj.get("kind") != LlamaDeployment.__name__ or obj.get("apiVersion") != API_VERSION:
        return error
    # Only where something is wrong: the planner takes its time to load.
    from llama_operator.catalog import load
    from llama_operator.decide.find_model import FIELD as MODEL
    from llama_operator.decide.mistakes import ACCELERATOR, mistakes

    deployment, doubted = partly(LlamaDeployment, obj)
    beside = Manifests(
        deployment,
        tuple(one for one in valid if isinstance(one, LicenseAcceptance)),
        (),
        tuple(one for one in valid if isinstance(one, LlamaModel)),
        tuple(one for one in valid if isinstance(one, LicensePolicy)),
        accelerators=tuple(one for one in valid if isinstance(one, Accelerator)),
    )
    known = load()
    named = {
        MODEL: (LlamaModel.__name__, {model.id for model in known.models}),
        ACCELERATOR: (Accelerator.__name__, {HardwareSpec().accelerator, *known.accelerator_names}),
    }
    for field, (kind, there) in named.items():
        name = text(at(obj, field))
        declared = [text(at(one, "metadata.name")) for one in wrong if one.get("kind") == kind]
        if name in declared or (not alone and name not in there):
            doubted = (*doubted, field)
    told = {problem.path for problem in error.problems}
    more = [one for one in mistakes(beside.observed(), known, doubted) if one.path not in told]
    return InvalidManifestError(error.subject, [*error.problems, *more])


def _with_model_meant(problem: FieldProblem, obj: dict[str, Any]) -> FieldProblem:
    """Say which entry of the catalog was meant, if the name of a model is that of a repository: few know our names."""
    written = _value(obj, problem.path)
    if not _NAMES_A_MODEL.fullmatch(problem.path) or not isinstance(written, str):
        return problem
    known = catalog.load()
    near = " or ".join(known.nearest(written))
    meant = f"did you mean {near}?" if near else ""
    if problem.path == "spec.model.name":
        meant = known.meant(written) or meant
    elif (entry := known.entry_meant(written)) is not None:
        meant = f"did you mean {entry.id}?"
    if not meant:
        return replace(problem, allowed=f"{problem.allowed}; `kubectl llama models` lists the names")
    return replace(problem, problem=f"{written!r} is no name of a model here", allowed=meant)


def _value(obj: Any, path: str) -> Any:
    """What stands at a path of a problem, which may lead through lists; None if nothing does."""
    for part in re.findall(r"[A-Za-z]+|[0-9]+", path):
        try:
            obj = obj[int(part) if part.isdigit() else part]
        except (LookupError, TypeError):
            return None
    return obj


def _choice(every: tuple[Manifests, ...], named: list[Manifests], name: str | None) -> FieldProblem:
    """Say why the files do not tell which deployment is meant."""
    if not every:
        return FieldProblem("kind", "there is no LlamaDeployment", "give the file of one with -f")
    names = ", ".join(f"{manifests.deployment.metadata.name} ({manifests.path})" for manifests in every)
    if not named:
        return FieldProblem("metadata.name", f"there is no LlamaDeployment {name}", f"there are {names}")
    if len({manifests.deployment.metadata.name for manifests in named}) == 1:
        return FieldProblem("metadata.name", f"the same name stands twice: {names}", "leave out one of the files")
    return FieldProblem(
        "kind",
        f"one LlamaDeployment is needed, there are {names}",
        "say which one: --name NAME; for diff and license only NAME",
    )
