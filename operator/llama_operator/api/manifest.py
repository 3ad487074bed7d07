"""From the JSON of a manifest to typed objects, with errors that a person can act on.

Called by the CLI for files and by the reconcile for live objects; it answers with an object or with *all* problems.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llama_operator.api import paths
from llama_operator.api.meta import API_VERSION, ApiModel
from llama_operator.api.rules import RULES
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.errors import FieldProblem, InvalidManifestError

AnyResource = LlamaDeployment | LicenseAcceptance | LlamaModel | LicensePolicy
"""An object of our group."""

KINDS: Mapping[str, type[AnyResource]] = {
    "LlamaDeployment": LlamaDeployment,
    "LicenseAcceptance": LicenseAcceptance,
    "LlamaModel": LlamaModel,
    "LicensePolicy": LicensePolicy,
}
"""Kinds of our group by name."""

T = TypeVar("T", bound=ApiModel)


def parse(obj: Mapping[str, Any]) -> AnyResource:
    """Parse an object of our group by its `kind`.

    Raises:
        InvalidManifestError: If the kind or version is not ours, or the object breaks its schema or a rule.
    """
    kind, version = obj.get("kind"), obj.get("apiVersion")
    problems = []
    if kind not in KINDS:
        problems.append(FieldProblem("kind", f"unknown kind {kind!r}", f"must be one of {', '.join(sorted(KINDS))}"))
    if version != API_VERSION:
        problems.append(FieldProblem("apiVersion", f"unknown version {version!r}", f"must be {API_VERSION}"))
    if problems:
        raise InvalidManifestError(_subject(obj), problems)
    return parse_as(KINDS[str(kind)], obj)


def parse_as(model: type[T], obj: Mapping[str, Any]) -> T:
    """Parse `obj` as `model`.

    Raises:
        InvalidManifestError: With every field that is wrong; rules are judged once the schema holds.
    """
    try:
        # JSON mode: strict about numbers, yet enums arrive as the strings that they are on the wire.
        parsed = model.model_validate_json(json.dumps(obj))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        raise InvalidManifestError(_subject(obj), [_explain(model, detail) for detail in details]) from error
    broken = list(_broken_rules(parsed, ""))
    if broken:
        raise InvalidManifestError(_subject(obj), broken)
    return parsed


def _subject(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{obj.get('kind') or 'object'} {name or '(no name)'}"


def _broken_rules(value: BaseModel, path: str) -> Iterator[FieldProblem]:
    for rule in RULES:
        if isinstance(value, rule.model) and not rule.holds(value):
            written = paths.at(value.model_dump(mode="json", by_alias=True), rule.field)
            problem = "is not set" if written is None else f"is {written!r}"
            yield FieldProblem(f"{path}{rule.field}", problem, rule.message)
    for name, info in type(value).model_fields.items():
        child = getattr(value, name)
        if isinstance(child, BaseModel) and name != "status":
            yield from _broken_rules(child, f"{path}{info.alias or name}.")


_TYPE_ERRORS: Mapping[str, str] = {
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number, without quotes",
    "int_parsing": "must be a whole number, without quotes",
    "string_type": "must be a string",
    "model_type": "must be an object with named fields",
    "model_attributes_type": "must be an object with named fields",
    "dict_type": "must be an object with named fields",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


def _explain(model: type[BaseModel], detail: ErrorDetails) -> FieldProblem:
    location = [part for part in detail["loc"] if isinstance(part, int) or not part.startswith("function-")]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    context, given = detail.get("ctx", {}), detail.get("input")
    kind = detail["type"]
    if kind in _TYPE_ERRORS:
        return FieldProblem(path, f"{_show(given)} is a {_type_name(given)}", _TYPE_ERRORS[kind])
    match kind:
        case "missing":
            return FieldProblem(path, "is required", "set it")
        case "extra_forbidden":
            return _unknown_field(path, _fields_at(model, location[:-1]), str(location[-1]))
        case "enum" | "literal_error":
            allowed = str(context.get("expected")).replace("'", "")
            return FieldProblem(path, f"{_show(given)} is not allowed", f"must be {allowed}")
        case "greater_than_equal":
            return FieldProblem(path, f"{_show(given)} is too small", f"must be at least {context.get('ge')}")
        case "less_than_equal":
            return FieldProblem(path, f"{_show(given)} is too large", f"must be at most {context.get('le')}")
        case "string_pattern_mismatch":
            problem = f"{_show(given)} has a character or form that is not allowed"
            return FieldProblem(path, problem, f"must match {context.get('pattern')}")
        case _:
            return FieldProblem(path, f"{_show(given)}: {detail['msg']}")


def _unknown_field(path: str, allowed: list[str], name: str) -> FieldProblem:
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    return FieldProblem(path, "unknown field", f"{hint}allowed here: {', '.join(allowed)}")


def _fields_at(model: type[BaseModel], location: list[int | str]) -> list[str]:
    current: type[BaseModel] = model
    for part in location:
        for name, info in current.model_fields.items():
            nested = [
                arg for arg in (info.annotation, *getattr(info.annotation, "__args__", ())) if isinstance(arg, type)
            ]
            models = [arg for arg in nested if issubclass(arg, BaseModel)]
            if part in {name, info.alias} and models:
                current = models[0]
    return sorted(info.alias or name for name, info in current.model_fields.items())


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one line of a terminal


def _type_name(value: Any) -> str:
    names: Mapping[type, str] = {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        dict: "mapping",
        list: "list",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)
