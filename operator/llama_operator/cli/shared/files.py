"""Reads manifests from files as the API server would read them. Called by the commands."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from llama_operator.api.manifest import KINDS, parse
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.decide.observed import LONG_AGO, Observed
from llama_operator.errors import FieldProblem, InvalidManifestError

_SIZE_LIMIT = 3 * 1024 * 1024
"""The API server's own limit of a request."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the C loader where PyYAML has it: ten times faster
    """Safe loader that keeps dates as strings, as Kubernetes does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a set of files holds of ours."""

    deployment: LlamaDeployment
    acceptances: tuple[LicenseAcceptance, ...]
    objects: tuple[dict[str, Any], ...]
    """The same objects as JSON, as a person wrote them."""
    models: tuple[LlamaModel, ...] = ()
    policies: tuple[LicensePolicy, ...] = ()

    def observed(self, now: datetime = LONG_AGO) -> Observed:
        """What is known without a cluster.

        Where no record is at hand nobody has looked: the verdict then says so instead of claiming that there is none.
        """
        return Observed(
            self.deployment,
            acceptances=self.acceptances or None,
            models=self.models or None,
            policies=self.policies or None,
            now=now,
        )


def read(paths: list[str], *, name: str | None = None) -> Manifests:
    """Read the one LlamaDeployment of `paths`, with what stands beside it.

    Args:
        paths: Files; `-` is standard input.
        name: Which deployment to take, where the files hold several.

    Raises:
        InvalidManifestError: If a file cannot be read or an object of ours is invalid; names all problems of an object.
    """
    found = read_all(paths)
    named = [each for each in found if name in {None, each.deployment.metadata.name}]
    if len(named) != 1:
        names = ", ".join(each.deployment.metadata.name for each in found) or "none"
        problem = f"one LlamaDeployment is needed, found: {names}"
        raise InvalidManifestError(", ".join(paths), [FieldProblem("kind", problem, "choose one with --name NAME")])
    return named[0]


def read_all(paths: list[str]) -> tuple[Manifests, ...]:
    """Read every LlamaDeployment of `paths`, each with all the other objects of ours; raises as `read` does."""
    objects = [obj for path in paths for obj in documents(path)]
    ours = [
        obj
        for obj in objects
        if str(obj.get("apiVersion", "")).startswith("llama-operator.io/") or obj.get("kind") in KINDS
    ]
    parsed = [parse(obj) for obj in ours]
    both = list(zip(ours, parsed, strict=True))
    return tuple(
        Manifests(
            deployment,
            tuple(item for item in parsed if isinstance(item, LicenseAcceptance)),
            tuple(obj for obj, item in both if item is deployment or not isinstance(item, LlamaDeployment)),
            tuple(item for item in parsed if isinstance(item, LlamaModel)),
            tuple(item for item in parsed if isinstance(item, LicensePolicy)),
        )
        for deployment in parsed
        if isinstance(deployment, LlamaDeployment)
    )


def documents(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of one file, as JSON; those of a `List` one by one, as `kubectl get -o yaml` writes it.

    Raises:
        InvalidManifestError: If it cannot be read or holds something else.
    """
    path = str(path)
    content = text(path)
    if len(content) > _SIZE_LIMIT:
        raise InvalidManifestError(path, [FieldProblem("(file)", f"is larger than {_SIZE_LIMIT:,} bytes", "split it")])
    try:
        found = loaded(content)
    except yaml.YAMLError as error:
        raise InvalidManifestError(path, [FieldProblem("(file)", f"is not YAML: {_one_line(error)}")]) from error
    for number, document in enumerate(found, start=1):
        if document is None:
            continue
        for place, obj in _unpacked(f"(document {number})", document):
            if not isinstance(obj, dict):
                problem = FieldProblem(place, f"is a {type(obj).__name__}", "must be a Kubernetes object")
                raise InvalidManifestError(path, [problem])
            yield obj


def _unpacked(place: str, document: Any) -> Iterator[tuple[str, Any]]:
    items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
    if isinstance(items, list):
        yield from ((f"{place}.items[{index}]", item) for index, item in enumerate(items))
    else:
        yield place, document


def loaded(content: str) -> list[Any]:
    """Read every document of YAML text, with dates as the strings that were written.

    Raises:
        yaml.YAMLError: If it is none, or has aliases.
    """
    _refuse_aliases(content)
    return list(yaml.load_all(content, Loader=_Loader))


def _refuse_aliases(text: str) -> None:
    # A few hundred bytes of nested aliases become gigabytes once they are expanded.
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"alias *{event.anchor} is not allowed")


def text(path: str) -> str:
    """Read a file; `-` is standard input.

    Raises:
        InvalidManifestError: If it cannot be read.
    """
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidManifestError(path, [FieldProblem("(file)", f"cannot be read: {error}")]) from error


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
