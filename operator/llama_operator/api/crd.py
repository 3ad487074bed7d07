"""Makes structural CRD schemas from the pydantic models; `make generate` writes the result (manifests/crds).

Written here because no library covers it (docs/designs/0003-crds-from-pydantic.md). Descriptions come from the
docstrings of the models, bounds from their annotations, cross-field rules from `api.rules`.
"""

import ast
import functools
import inspect
import itertools
import textwrap
from dataclasses import dataclass, field
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from llama_operator.api.meta import GROUP, VERSION, ObjectMeta
from llama_operator.api.rules import RULES, TRANSITIONS
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel

Schema = dict[str, Any]

CONDITION_KEYS = ["type"]
_LIST_KEYS = {"conditions": CONDITION_KEYS, "tenants": ["name"], "adapters": ["name"]}
"""Lists that are maps, by the name of their field: the API server merges their entries by these keys, and has each once."""
_NAME = "metadata.name"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; `wide` shows it only with `-o wide`."""

    name: str
    type: str
    path: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """A custom resource: its model, and what a pydantic model cannot express."""

    model: type[BaseModel]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    scope: Literal["Namespaced", "Cluster"] = "Cluster"
    subresources: Schema = field(default_factory=lambda: {"status": {}})
    unseen: Schema = field(default_factory=dict)
    """Status of an object at which nobody has looked: tools that wait take one without any for done (kstatus)."""


RESOURCES: tuple[Resource, ...] = (
    Resource(
        model=LlamaDeployment,
        plural="llamadeployments",
        short_name="lld",
        columns=(
            Column("Model", "string", ".spec.model.name"),
            Column("Replicas", "integer", ".status.readyReplicas"),
            Column("Wanted", "integer", ".status.replicas"),
            Column("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
            Column("Reason", "string", ".status.conditions[?(@.type=='Ready')].reason"),
            Column("Rollout", "string", ".status.conditions[?(@.type=='UpToDate')].reason"),
            Column("Queue", "integer", ".status.queueDepth"),
            Column("URL", "string", ".status.url"),
            Column("Age", "date", ".metadata.creationTimestamp"),
            Column("Precision", "string", ".status.plan.chosen.precision", wide=True),
            Column("Accelerator", "string", ".status.plan.chosen.accelerator", wide=True),
            Column("GPUs", "integer", ".status.plan.chosen.gpusPerReplica", wide=True),
            Column("Revision", "string", ".status.revisions.active", wide=True),
            Column("Down", "date", ".status.downSince", wide=True),
            Column("Access", "string", ".status.access.mode", wide=True),
        ),
        scope="Namespaced",
        unseen={"observedGeneration": -1},
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    ),
    Resource(
        model=LicenseAcceptance,
        plural="licenseacceptances",
        short_name="lla",
        columns=(
            Column("Families", "string", ".spec.families"),
            Column("Entity", "string", ".spec.legalEntity"),
            Column("State", "string", ".spec.state"),
            Column("Valid", "string", ".status.conditions[?(@.type=='Valid')].status"),
            Column("Reason", "string", ".status.conditions[?(@.type=='Valid')].reason"),
            Column("Used by", "integer", ".status.deployments"),
            Column("Age", "date", ".metadata.creationTimestamp"),
            Column("Version", "string", ".spec.versionDate", wide=True),
            Column("Namespaces", "string", ".spec.namespaces", wide=True),
            Column("Review due", "string", ".spec.reviewDueOn", wide=True),
        ),
    ),
    Resource(
        model=LlamaModel,
        plural="llamamodels",
        short_name="llm",
        columns=(
            Column("From", "string", ".status.ancestors"),
            Column("Tier", "string", ".status.tier"),
            Column("Families", "string", ".status.licenseFamilies"),
            Column("Resolved", "string", ".status.conditions[?(@.type=='Resolved')].status"),
            Column("Reason", "string", ".status.conditions[?(@.type=='Resolved')].reason"),
            Column("Age", "date", ".metadata.creationTimestamp"),
            Column("Digest", "string", ".spec.digest", wide=True),
        ),
    ),
    Resource(
        model=LicensePolicy,
        plural="licensepolicies",
        short_name="llp",
        columns=(
            Column("Tiers", "string", ".status.tiers"),
            Column("Unlisted", "string", ".spec.unlistedTiers"),
            Column("In force", "string", ".status.conditions[?(@.type=='InForce')].status"),
            Column("Age", "date", ".metadata.creationTimestamp"),
        ),
    ),
    Resource(
        model=Accelerator,
        plural="accelerators",
        short_name="llc",
        columns=(
            Column("Vendor", "string", ".spec.vendor"),
            Column("MiB", "integer", ".spec.memoryMebibytes"),
            Column("Capability", "string", ".spec.computeCapability"),
            Column("Resource", "string", ".spec.resourceName"),
            Column("Age", "date", ".metadata.creationTimestamp"),
        ),
        subresources={},
    ),
)


def build(resource: Resource) -> Schema:
    """Build the CustomResourceDefinition of `resource` as JSON."""
    kind = resource.model.__name__
    columns = [
        {"name": c.name, "type": c.type, "jsonPath": c.path} | ({"priority": 1} if c.wide else {})
        for c in resource.columns
    ]
    schema = _object(resource.model)
    if resource.unseen:
        schema["properties"]["status"]["default"] = resource.unseen
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }
    if resource.subresources:
        version["subresources"] = resource.subresources
    names: Schema = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": resource.plural,
        "singular": kind.lower(),
        "shortNames": [resource.short_name],
        "categories": ["llama"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": resource.scope, "versions": [version]},
    }


def section(model: type[BaseModel]) -> Schema:
    """Build the schema of one section of the API; the chart's values have some of them too."""
    return _object(model)


def _object(model: type[BaseModel]) -> Schema:
    docs = field_docs(model)
    properties: Schema = {}
    required: list[str] = []
    for name, info in model.model_fields.items():
        alias = info.alias or name
        schema = _metadata(model) if info.annotation is ObjectMeta else _type(info.annotation, info.metadata)
        if alias in {"apiVersion", "kind"} and get_origin(info.annotation) is Literal:
            schema = {"type": "string"}
        elif info.is_required():
            if alias != "metadata":
                required.append(alias)
        elif (default := _default(info)) is not None and not _is_status(model):
            schema["default"] = default
        if name in docs:
            schema["description"] = docs[name]
        if alias in _LIST_KEYS:
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": _LIST_KEYS[alias]}
        properties[alias] = schema
    result: Schema = {"type": "object", "description": _doc(model), "properties": properties}
    if required:
        result["required"] = sorted(required)
    rules = [
        {"rule": rule.cel, "message": f"{rule.field} {rule.message}", "fieldPath": f".{rule.field}"}
        for rule in (*RULES, *TRANSITIONS)
        if issubclass(model, rule.model)
    ]
    if rules:
        result["x-kubernetes-validations"] = rules
    return result


def _metadata(model: type[BaseModel]) -> Schema:
    """The metadata of a resource: with the name, where a rule is about it, for a fieldPath leads only to what is declared."""
    named = any(rule.model is model and rule.field == _NAME for rule in RULES)
    return {"type": "object"} | ({"properties": {"name": {"type": "string"}}} if named else {})


def _is_status(model: type[BaseModel]) -> bool:
    # The API server would write defaults in status, and they would look as if the operator had written them.
    return model.model_config.get("extra") == "ignore"


def _default(info: FieldInfo) -> Any:
    if info.default is PydanticUndefined or info.default is None:
        return None
    if isinstance(info.default, BaseModel):
        # In full: the API server judges a default by the rules of its schema before it fills in nested defaults.
        full = info.default.model_dump(mode="json", by_alias=True, exclude_none=True)
        return None if full and not _has_defaults(type(info.default)) else full
    if isinstance(info.default, tuple):
        return list(info.default)
    return info.default.value if isinstance(info.default, Enum) else info.default


def _has_defaults(model: type[BaseModel]) -> bool:
    """Whether a section has a field with a default; without one, a default of the section would say nothing."""
    return any(_default(info) is not None for info in model.model_fields.values())


def _type(annotation: Any, metadata: list[Any]) -> Schema:
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        return _type(inner, [*extra, *metadata])
    if get_origin(annotation) in {Union, UnionType}:
        (inner,) = [arg for arg in get_args(annotation) if arg is not NoneType]
        return _type(inner, metadata)
    if get_origin(annotation) is Literal:
        return {"type": "string", "enum": list(get_args(annotation))}
    if get_origin(annotation) is tuple:
        items = _type(get_args(annotation)[0], [])
        return {"type": "array", "items": items} | _bounds(
            metadata, {"min_length": "minItems", "max_length": "maxItems"}
        )
    if get_origin(annotation) is dict:
        values = _type(get_args(annotation)[1], [])
        return {"type": "object", "additionalProperties": values} | _bounds(metadata, {"max_length": "maxProperties"})
    return _plain(annotation, metadata)


def _plain(annotation: Any, metadata: list[Any]) -> Schema:
    if issubclass(annotation, BaseModel):
        return _object(annotation)
    if issubclass(annotation, Enum):
        return {"type": "string", "enum": [member.value for member in annotation]}
    if annotation is str:
        return {"type": "string"} | _bounds(
            metadata, {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
        )
    if annotation is int:
        return {"type": "integer", "format": "int64"} | _bounds(metadata, {"ge": "minimum", "le": "maximum"})
    if annotation.__name__ == "datetime":
        return {"type": "string", "format": "date-time"}
    raise TypeError(f"{annotation!r} has no place in a structural schema; tests/unit/api/test_conventions.py says why")


def _bounds(metadata: list[Any], names: dict[str, str]) -> Schema:
    """Read bounds from annotations: `annotated_types` markers, and whole FieldInfos of nested `Annotated`."""
    bounds: Schema = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            bounds |= _bounds(item.metadata, names)
            continue
        for attribute, keyword in names.items():
            if (value := getattr(item, attribute, None)) is not None:
                bounds[keyword] = value
    return bounds


def _doc(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split())


@functools.cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Docstrings below the fields of `model` and its bases, whitespace folded."""
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for statement, following in itertools.pairwise(body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = " ".join(text.split())
                case _:
                    pass
    return docs
