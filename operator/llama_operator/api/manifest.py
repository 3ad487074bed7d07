"""From the JSON of a manifest to typed objects, with errors that a person can act on.

Files of the command line are closed (`parse`, `parse_as`): a field that nobody knows is a mistake. Live objects are open
(`parse_live`): the API server has pruned what its definitions do not know, and these may be newer than this code. Both
answer with an object or with *all* problems.
"""

import difflib
import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from llama_operator.api import forms, paths
from llama_operator.api.meta import API_VERSION, ApiModel
from llama_operator.api.rule import Rule
from llama_operator.api.rules import RULES
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.errors import FieldProblem, InvalidManifestError, NotUnderstoodError

AnyResource = LlamaDeployment | LicenseAcceptance | LlamaModel | LicensePolicy | Accelerator
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
        wrong = _wrong(model, obj, details)
        problems += _broken_rules(_valid_part(model, obj, wrong, ()), "", wrong, ())
        raise InvalidManifestError(_subject(obj), problems) from error
    return _obeying(parsed, obj)


def partly(model: type[T], obj: Mapping[str, Any]) -> tuple[T, tuple[str, ...]]:
    """Return what `parse_as` refuses as far as it can be read, and the paths of the fields that are in doubt.

    A field in doubt has its default; one that is required is missing, whatever its type says.
    """
    try:
        return model.model_validate_json(json.dumps(obj)), ()
    except ValidationError as error:
        wrong = _wrong(model, obj, error.errors(include_url=False, include_context=True))
    part = _valid_part(model, obj, wrong, ())
    if not isinstance(part, model):
        raise TypeError(f"{part!r} is no {model.__name__}")
    return part, tuple(_written(path) for path in wrong)


def parse_live(model: type[T], obj: Mapping[str, Any]) -> T:
    """Parse what an API server serves as `model`. Its definitions may be of an older or a newer version than this code.

    Fields that this version does not know are left out, at every level. Of a status everything is left out that cannot be
    read: what the operator wrote itself must never stop it. What the spec of a LlamaDeployment says beyond this version
    stays with the object, as `LlamaDeployment.beyond`.

    Raises:
        NotUnderstoodError: If a value is none that this version knows, or a rule is broken by an object with fields that it
            does not know: the definitions are of a newer version, which has checked the object by its own rules.
        InvalidManifestError: If a rule is broken.
    """
    # Only the server reads who manages which field, and it is the largest part.
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    parsed: T = _parse_live(model, json.dumps({**obj, "metadata": metadata}))
    return parsed


@functools.lru_cache(maxsize=256)
def _parse_live(model: type[T], text: str) -> T:
    # Each pass reads records and models again that hardly ever change, and all that comes of them is frozen.
    obj = json.loads(text)
    try:
        parsed = model.model_validate_json(text, extra="ignore")
    except ValidationError:
        parsed = _without_unreadable_status(model, obj)
    beyond = unknown_fields(type(parsed), {"spec": obj.get("spec")}).get("spec", {})
    if isinstance(parsed, LlamaDeployment):
        parsed.keep_beyond(beyond)
    try:
        return _obeying(parsed, obj)
    except InvalidManifestError as error:
        if beyond:
            raise NotUnderstoodError(error.subject, error.problems) from error
        raise


def unknown_fields(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `values` has beyond the fields of `model`, nested as there. Lists are not looked into."""
    fields, unknown = _models_below(model), {}
    for key, value in values.items():
        if key not in fields:
            unknown[key] = value
            continue
        nested = fields[key]
        if nested is not None and isinstance(value, Mapping) and (below := unknown_fields(nested, value)):
            unknown[key] = below
    return unknown


@functools.cache
def _models_below(model: type[BaseModel]) -> Mapping[str, type[BaseModel] | None]:
    """API names of the fields of `model`, each with the model that it holds; None for a plain value."""
    return {
        info.alias or name: next(iter(_models_of(info.annotation)), None) for name, info in model.model_fields.items()
    }


def broken_rules(value: BaseModel) -> list[FieldProblem]:
    """Return the rules across fields that a section breaks; the settings of the operator have such sections too."""
    return list(_broken_rules(value, "", (), ()))


def _obeying(parsed: T, obj: Mapping[str, Any]) -> T:
    if broken := list(_broken_rules(parsed, "", (), ())):
        raise InvalidManifestError(_subject(obj), broken)
    return parsed


def _without_unreadable_status(model: type[T], obj: Mapping[str, Any]) -> T:
    content = {key: value for key, value in obj.items() if key != "status"}
    info = model.model_fields.get("status")
    if info is not None and (status := readable(_models_of(info.annotation)[0], obj.get("status"))) is not None:
        content["status"] = status
    try:
        return model.model_validate_json(json.dumps(content), extra="ignore")
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        raise NotUnderstoodError(_subject(obj), [_explain(model, detail) for detail in details]) from error


def readable(model: type[BaseModel], values: Any) -> dict[str, Any] | None:
    """Return the part of `values` that `model` can read, as JSON; None if that is nothing."""
    if not isinstance(values, Mapping):
        return None
    part: Any = values
    while True:
        try:
            model.model_validate_json(json.dumps(part), extra="ignore")
        except ValidationError as error:
            # The last one first: what stands before it in a list keeps its place.
            detail = error.errors(include_url=False)[-1]
            place = _location(detail)
            part = _pruned(part, place[:-1] if detail["type"] == "missing" else place, detail.get("ctx", {}))
            if part is None:
                return None
        else:
            return dict(part)


def _pruned(values: Any, place: Path, context: Mapping[str, Any]) -> Any:
    """`values` without what stands at `place`; of a list that is too long, as much as there may be."""
    if not place:
        longest = context.get("max_length")
        return values[:longest] if isinstance(values, list) and longest is not None else None
    inner = _pruned(values[place[0]], place[1:], context)
    if isinstance(values, list):
        return [*values[: int(place[0])], *([] if inner is None else [inner]), *values[int(place[0]) + 1 :]]
    kept_fields = {key: value for key, value in values.items() if key != place[0]}
    return kept_fields if inner is None else kept_fields | {place[0]: inner}


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
            # An unknown field may stand beside all that are known: then none of these is in doubt.
            values[name] = getattr(checked.model_validate_json(json.dumps({key: obj[key]}), extra="ignore"), name)
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
    for rule in _rules_of(type(value)):
        if not _in_doubt(rule, wrong, at) and not rule.holds(value):
            written = paths.at(value.model_dump(mode="json", by_alias=True, warnings=False), rule.field)
            problem = "is not set" if written is None else f"is {written!r}"
            yield FieldProblem(f"{path}{rule.field}", problem, rule.message)
    for name, info in type(value).model_fields.items():
        child = getattr(value, name, None)
        key = info.alias or name
        if isinstance(child, BaseModel) and name != "status":
            yield from _broken_rules(child, f"{path}{key}.", wrong, (*at, key))
        elif isinstance(child, tuple):
            for number, item in enumerate(child):
                if isinstance(item, BaseModel):
                    yield from _broken_rules(item, f"{path}{key}[{number}].", wrong, (*at, key, number))


@functools.cache
def _rules_of(model: type[BaseModel]) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if issubclass(model, rule.model))


def _wrong(model: type[BaseModel], obj: Any, details: Iterable[ErrorDetails]) -> list[Path]:
    return [path for detail in details for path in _in_doubt_by(model, obj, detail)]


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


_BLANK: tuple[Any, ...] = ("", None, [], {})
"""What a template leaves for people to fill in."""
_MEASURES: Mapping[str, tuple[str, str, str]] = {
    "string_too_short": ("is too short", "at least", "character"),
    "string_too_long": ("is too long", "at most", "character"),
    "too_short": ("is too short", "at least", "item"),
    "too_long": ("is too long", "at most", "item"),
}
"""Problem, bound and unit of what has the wrong length."""
WHAT_BELONGS: Mapping[str, str] = {
    "spec.families": "the license families that were accepted, for example [llama-3.3]",
    "spec.versionDate": "the date in the text of the license, for example 2024-12-06",
    "spec.textHashes": "SHA-256 of each text that was accepted: 64 hexadecimal digits, as docs/licenses.md lists them",
    "spec.legalEntity": "the legal entity that accepts, as in the register of companies, for example Acme GmbH",
    "spec.domicile": "the country of its domicile or principal place of business, as ISO 3166 alpha-2 code, for example DE",
    "spec.acceptedBy": "the person who accepts for it, and in which capacity, for example Jo Doe, managing director",
    "spec.acceptedOn": "the day of the acceptance, YYYY-MM-DD, for example 2026-03-02",
    "spec.evidence": "where the proof is kept, for example contract 2026-117; may stay empty",
    "spec.namespaces": "the namespaces of that entity whose deployments it covers, for example [team-a]",
    "spec.monthlyActiveUsers.month": "the month that the license fixes, YYYY-MM, for example 2024-11",
    "spec.monthlyActiveUsers.count": (
        "users of all products of the entity and its affiliates in that month, a whole number, for example 1200; "
        "0 is right for an entity that did not exist then"
    ),
    "spec.monthlyActiveUsers.attestedBy": "the person who attests that number, for example Jo Doe, managing director",
    "spec.monthlyActiveUsers.attestedOn": "the day on which that person attested it, YYYY-MM-DD, for example 2026-03-02",
    "spec.metaGrant.reference": "where the license that Meta granted is kept, for example contract 2026-118",
    "spec.metaGrant.grantedOn": "first day on which the grant holds, YYYY-MM-DD, for example 2026-03-02",
    "spec.metaGrant.expiresOn": "last day on which the grant holds, YYYY-MM-DD; leave it out if it has no end",
    "spec.tradeListCheckedOn": "the day of the last check against trade control lists, YYYY-MM-DD",
    "spec.reviewDueOn": "the day on which the policy is read again, YYYY-MM-DD",
    "spec.terminatedOn": "the day on which the license ended, YYYY-MM-DD",
}
"""What belongs into each field of a LicenseAcceptance that a person fills in, with an example; the template says it too."""


def _location(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if isinstance(part, int) or not part.startswith("function-"))


def _written(location: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _explain(model: type[BaseModel], detail: ErrorDetails) -> FieldProblem:
    location = _location(detail)
    path = _written(location)
    context, value = detail.get("ctx", {}), detail.get("input")
    kind = detail["type"]
    belongs = _what_belongs(model, location)
    if belongs and kind not in {"missing", "extra_forbidden"}:
        return FieldProblem(
            path, "is empty" if _is_blank(value) else f"{_show(value)} is not what belongs here", belongs
        )
    if form := _form(model, location, detail):
        return FieldProblem(path, f"{_show(value)} has a character or form that is not allowed", form)
    if kind in _TYPE_ERRORS:
        quotes = ", in quotes" if kind == "string_type" and isinstance(value, bool | int | float) else ""
        return FieldProblem(path, f"{_show(value)} is a {_type_name(value)}", f"{_TYPE_ERRORS[kind]}{quotes}")
    match kind:
        case "missing":
            return FieldProblem(path, "is required", belongs or "set it")
        case "extra_forbidden":
            return _unknown_field(model, path, _fields_at(model, location[:-1]), str(location[-1]))
        case "enum" | "literal_error":
            allowed = str(context.get("expected")).replace("'", "")
            return FieldProblem(path, f"{_show(value)} is not allowed", f"must be {allowed}")
        case "greater_than_equal":
            return FieldProblem(path, f"{_show(value)} is too small", f"must be at least {context.get('ge')}")
        case "less_than_equal":
            return FieldProblem(path, f"{_show(value)} is too large", f"must be at most {context.get('le')}")
        case "string_too_short" | "string_too_long" | "too_short" | "too_long":
            problem, bound, unit = _MEASURES[kind]
            least = context.get("min_length", context.get("max_length"))
            shown = "is empty" if _is_blank(value) else f"{_show(value)} {problem}"
            return FieldProblem(path, shown, f"must have {bound} {least:,} {unit}{'' if least == 1 else 's'}")
        case _:
            return FieldProblem(path, f"{_show(value)}: {detail['msg']}")


def _form(model: type[BaseModel], location: Path, detail: ErrorDetails) -> str:
    """What a text has to look like; empty where its form is not what is wrong, or not all of it."""
    if detail["type"] == "string_pattern_mismatch":
        return forms.words(str(detail.get("ctx", {}).get("pattern")))
    of_length = detail["type"] in {"string_too_short", "string_too_long"}
    return forms.broken(model, location, detail.get("input")) if of_length else ""


def _what_belongs(model: type[BaseModel], location: Path) -> str:
    """What a person fills in at `location`; empty where there is nothing to say. An item of a list is as the list says."""
    if model is not LicenseAcceptance:
        return ""
    belongs = WHAT_BELONGS.get(".".join(part for part in location if isinstance(part, str)), "")
    return f"give {belongs}" if belongs else ""


def _is_blank(value: Any) -> bool:
    return value in _BLANK or (isinstance(value, str) and not value.strip())


def _unknown_field(model: type[BaseModel], path: str, allowed: list[str], name: str) -> FieldProblem:
    near = [*_places_of(model, name), *difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)]
    hint = f"did you mean {near[0]}? " if near else ""
    return FieldProblem(path, "unknown field", f"{hint}allowed here: {', '.join(allowed)}")


def _places_of(model: type[BaseModel], name: str, prefix: str = "") -> list[str]:
    """Paths of fields of that name, the nearest to the top first: people look for a field elsewhere than it stands."""
    if name in _COMMON_NAMES:
        return []
    found, below = [], []
    for key, nested in _models_below(model).items():
        if key == name and prefix:
            found.append(f"{prefix}{key}")
        if nested is not None and key != "status":
            below += _places_of(nested, name, f"{prefix}{key}.")
    return sorted(found + below, key=lambda place: place.count("."))


_COMMON_NAMES = frozenset({"name", "key", "value", "values", "operator", "mode"})
"""Names of fields that say nothing about what they are for."""


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
