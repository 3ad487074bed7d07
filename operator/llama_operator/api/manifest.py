"""From the JSON of a manifest to typed objects, with errors that a person can act on.

Called by the CLI for files and by the reconcile for live objects; it answers with an object or with *all* problems.
"""

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from llama_operator.api import paths
from llama_operator.api.meta import API_VERSION, ApiModel
from llama_operator.api.rules import RULES, Rule
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.errors import FieldProblem, InvalidManifestError

AnyResource = LlamaDeployment | LicenseAcceptance | LlamaModel | LicensePolicy
"""An object of our group."""

KINDS: Mapping[str, type[AnyResource]] = {model.__name__: model for model in get_args(AnyResource)}
"""Kinds of our group by name."""

T = TypeVar("T", bound=ApiModel)


Path: TypeAlias = tuple[int | str, ...]
"""Where in an object, by API names and positions in lists."""


def parse(obj: Mapping[str, Any]) -> AnyResource:
    """Parse an object of our group by its `kind`.

    Raises:
        InvalidManifestError: If the kind or version is not ours, or the object breaks its schema or a rule.
    """
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if kind in KINDS and version == API_VERSION:
        return parse_as(KINDS[str(kind)], obj)
    problems = []
    if kind not in KINDS:
        problems.append(FieldProblem("kind", f"unknown kind {kind!r}", f"must be one of {', '.join(sorted(KINDS))}"))
    if version != API_VERSION:
        problems.append(FieldProblem("apiVersion", f"unknown version {version!r}", f"must be {API_VERSION}"))
    if kind in KINDS:
        try:
            parse_as(KINDS[str(kind)], {**obj, "apiVersion": API_VERSION})
        except InvalidManifestError as error:
            problems += error.problems
    raise InvalidManifestError(_subject(obj), problems)


def parse_as(model: type[T], obj: Mapping[str, Any]) -> T:
    """Parse `obj` as `model`.

    Raises:
        InvalidManifestError: With every field that is wrong, and every rule that is broken; a rule that reads a field
            that is wrong itself is not judged.
    """
    try:
        # JSON mode: strict about numbers, yet enums arrive as the strings that they are on the wire.
        parsed = model.model_validate_json(json.dumps(obj))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        problems = [_explain(model, detail) for detail in details]
        wrong = [path for detail in details for path in _in_doubt_by(model, obj, detail)]
        problems += _broken_rules(_valid_part(model, obj, wrong, ()), "", wrong, ())
        raise InvalidManifestError(_subject(obj), problems) from error
    if broken := list(_broken_rules(parsed, "", (), ())):
        raise InvalidManifestError(_subject(obj), broken)
    return parsed


def _valid_part(model: type[BaseModel], obj: Mapping[str, Any], wrong: Collection[Path], at: Path) -> BaseModel:
    """Build an instance of the fields of `obj` that are valid; the others are missing, or have their defaults."""
    values = {}
    for name, info in model.model_fields.items():
        key = info.alias or name
        place = (*at, key)
        below = [path for path in wrong if path[: len(place)] == place]
        nested = next((part for part in _models_of(info.annotation) if issubclass(part, ApiModel)), None)
        if key in obj and not below:
            # The whole is invalid already, so that its other fields may be whatever they like.
            definition: Any = {name: (info.annotation, info)}
            checked = create_model("_Field", __base__=ApiModel, **definition)
            values[name] = getattr(checked.model_validate_json(json.dumps({key: obj[key]})), name)
        elif below and nested is not None and isinstance(obj.get(key), Mapping):
            values[name] = _valid_part(nested, obj[key], below, place)
        elif not info.is_required():
            values[name] = info.get_default(call_default_factory=True)
    return model.model_construct(**values)


def _subject(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{obj.get('kind') or 'object'} {name or '(no name)'}"


def _broken_rules(value: BaseModel, path: str, wrong: Collection[Path], at: Path) -> Iterator[FieldProblem]:
    for rule in RULES:
        if isinstance(value, rule.model) and not _in_doubt(rule, wrong, at) and not rule.holds(value):
            written = paths.at(value.model_dump(mode="json", by_alias=True, warnings=False), rule.field)
            problem = "is not set" if written is None else f"is {written!r}"
            yield FieldProblem(f"{path}{rule.field}", problem, rule.message)
    for name, info in type(value).model_fields.items():
        child = getattr(value, name, None)
        if isinstance(child, BaseModel) and name != "status":
            key = info.alias or name
            yield from _broken_rules(child, f"{path}{key}.", wrong, (*at, key))


def _in_doubt_by(model: type[BaseModel], obj: Any, detail: ErrorDetails) -> list[Path]:
    """Fields whose values are unknown because of an error; an unknown field may be any of the absent ones beside it."""
    location = _location(detail)
    if detail["type"] != "extra_forbidden":
        return [location]
    around = location[:-1]
    for part in around:
        obj = obj[part]
    return [(*around, field) for field in _fields_at(model, around) if field not in obj]


def _in_doubt(rule: Rule, wrong: Collection[Path], at: Path) -> bool:
    """Whether a field that the rule reads, or one around or below it, is wrong itself."""
    inputs = [(*at, *path) for path in rule.inputs]
    return any(field[: len(path)] == path[: len(field)] for field in inputs for path in wrong)


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


def _location(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if isinstance(part, int) or not part.startswith("function-"))


def _explain(model: type[BaseModel], detail: ErrorDetails) -> FieldProblem:
    location = _location(detail)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    context, value = detail.get("ctx", {}), detail.get("input")
    kind = detail["type"]
    if kind in _TYPE_ERRORS:
        return FieldProblem(path, f"{_show(value)} is a {_type_name(value)}", _TYPE_ERRORS[kind])
    match kind:
        case "missing":
            return FieldProblem(path, "is required", "set it")
        case "extra_forbidden":
            return _unknown_field(path, _fields_at(model, location[:-1]), str(location[-1]))
        case "enum" | "literal_error":
            allowed = str(context.get("expected")).replace("'", "")
            return FieldProblem(path, f"{_show(value)} is not allowed", f"must be {allowed}")
        case "greater_than_equal":
            return FieldProblem(path, f"{_show(value)} is too small", f"must be at least {context.get('ge')}")
        case "less_than_equal":
            return FieldProblem(path, f"{_show(value)} is too large", f"must be at most {context.get('le')}")
        case "string_pattern_mismatch":
            problem = f"{_show(value)} has a character or form that is not allowed"
            return FieldProblem(path, problem, f"must match {context.get('pattern')}")
        case _:
            return FieldProblem(path, f"{_show(value)}: {detail['msg']}")


def _unknown_field(path: str, allowed: list[str], name: str) -> FieldProblem:
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    return FieldProblem(path, "unknown field", f"{hint}allowed here: {', '.join(allowed)}")


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    """Models that an annotation names itself, or in one layer of `| None` or `tuple[...]`."""
    parts = [part for part in (annotation, *getattr(annotation, "__args__", ())) if isinstance(part, type)]
    return [part for part in parts if issubclass(part, BaseModel)]


def _fields_at(model: type[BaseModel], location: Path) -> list[str]:
    current: type[BaseModel] = model
    for part in location:
        for name, info in current.model_fields.items():
            if part in {name, info.alias} and (models := _models_of(info.annotation)):
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
