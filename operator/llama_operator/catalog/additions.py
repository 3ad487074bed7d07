"""Catalog entries from LlamaModels: the one place that makes a model to plan with of what an administrator added.

Called by `decide.find_model` for deployments, and for the status of LlamaModels. A shape that is left out is that of the
base. License families are the union over the declared lineage; the license chain (`decide.license.lineage`) adds those
that names and shapes imply.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from llama_operator.api.v1alpha1.llamamodel import (
    ArchitectureFingerprint,
    DerivationKind,
    EmbeddingTie,
    LlamaModel,
    LlamaModelSpec,
    ObjectStoreSource,
)
from llama_operator.catalog import formulas, plausible
from llama_operator.catalog.ancestry import Above, Ancestry, Said
from llama_operator.catalog.models import Architecture, EngineLimit, Model, Precision, Variant, WeightFile
from llama_operator.catalog.registry import Catalog, UnknownLicenseError
from llama_operator.catalog.weights import quantization

_DENSE = "LlamaForCausalLM"
_AZ = "az://"


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a LlamaModel is no entry.

    Attributes:
        message: Which field, and what to do.
        lineage: Whether the cause is a lineage that is not known.
    """

    message: str
    lineage: bool = False


class Additions:
    """The catalog together with the LlamaModels that exist.

    Args:
        catalog: Built-in entries; their names cannot be taken.
        models: What administrators added.
    """

    __slots__ = ("_ancestry", "_catalog", "_names")

    def __init__(self, catalog: Catalog, models: Iterable[LlamaModel]) -> None:
        models = tuple(models)
        self._catalog = catalog
        self._names = frozenset(model.metadata.name for model in models)
        self._ancestry = Ancestry[Model | Unusable](
            catalog, models, built_in=lambda model: model, added=self._build, circle=_circle
        )

    def added(self, name: str) -> Model | Unusable | None:
        """Return the entry that a LlamaModel becomes, or why it is none; None when there is no LlamaModel of the name."""
        if name not in self._names:
            return None
        if any(model.id == name for model in self._catalog.models):
            return Unusable(f"the catalog has a model named {name}; give the LlamaModel another name")
        return self._ancestry.of(name)

    def _build(self, model: LlamaModel, above: Above[Model | Unusable]) -> Model | Unusable:
        spec = model.spec
        ancestors: list[tuple[DerivationKind, Model]] = []
        for declared, ancestor in above:
            if ancestor is None:
                return self._unknown(declared.model)
            if isinstance(ancestor, Unusable):
                message = f"its ancestor {declared.model} cannot be used: {ancestor.message}"
                return Unusable(message, lineage=ancestor.lineage)
            ancestors.append((declared.kind, ancestor))
        families = self._families(spec, [ancestor for _, ancestor in ancestors])
        if isinstance(families, Unusable):
            return families
        base = next((ancestor for kind, ancestor in ancestors if kind is not DerivationKind.TRAINING_OUTPUT), None)
        try:
            shape = _architecture(spec.architecture_fingerprint, base)
            if isinstance(shape, Unusable):
                return shape
            if wrong := _wrong(spec, shape, base):
                return Unusable(wrong)
            return _entry(model.metadata.name, spec, shape, families, ancestors, base)
        except ValidationError as error:
            return Unusable(plausible.explained(error, spec.architecture_fingerprint.model_fields_set))

    def _unknown(self, ancestor: str) -> Unusable:
        near = ", ".join(self._catalog.nearest(ancestor))
        hint = f"; did you mean {near}?" if near else ""
        return Unusable(
            f"spec.lineage names {ancestor}, which is neither in the catalog nor a LlamaModel{hint}", lineage=True
        )

    def _families(self, spec: LlamaModelSpec, ancestors: Iterable[Model]) -> tuple[str, ...] | Unusable:
        for family in spec.license_families:
            try:
                self._catalog.license_family(family)
            except UnknownLicenseError as error:
                return Unusable(f"spec.licenseFamilies: {error}", lineage=True)
        inherited = (family for ancestor in ancestors for family in ancestor.license_families)
        families = tuple(dict.fromkeys((*spec.license_families, *inherited)))
        return families or Unusable("neither spec.lineage nor spec.licenseFamilies says its license", lineage=True)


def additions(catalog: Catalog, models: Iterable[LlamaModel] | None) -> Additions:
    """The catalog and `models`; the same object as before if these say the same: every pass asks for them."""
    return _additions(catalog, Said(models or ()))


@lru_cache(maxsize=2)
def _additions(catalog: Catalog, said: Said) -> Additions:
    return Additions(catalog, said.models)


def _wrong(spec: LlamaModelSpec, shape: Architecture, base: Model | None) -> str:
    """Why no model can be as declared; empty if one can."""
    wrong = plausible.wrong_shape(shape, base.id if base else "")
    size = spec.weights.size_bytes
    return wrong or ("" if size is None else plausible.wrong_size(shape, spec.weights.precision.value, size))


def _circle(_: str, path: str) -> Unusable:
    return Unusable(f"spec.lineage leads in a circle: {path}; correct derivedFrom", lineage=True)


def _entry(
    name: str,
    spec: LlamaModelSpec,
    shape: Architecture,
    families: tuple[str, ...],
    ancestors: list[tuple[DerivationKind, Model]],
    base: Model | None,
) -> Model:
    source, counted = spec.source, formulas.parameters(shape)
    length = spec.context_length or (base.context_length if base else shape.max_position_embeddings)
    variant = Variant(
        **_stored(spec, shape),
        repository=source.hugging_face.repository if source.hugging_face else None,
        revision=source.hugging_face.revision if source.hugging_face else None,
        uri=_address(source.object_store) if source.object_store else None,
        store_endpoint=source.object_store.endpoint if source.object_store else None,
        store_region=source.object_store.region if source.object_store else None,
        volume_claim=source.volume_claim.name if source.volume_claim else None,
        volume_path=source.volume_claim.path if source.volume_claim else "",
        files=tuple(WeightFile(name=file.name, size_bytes=file.size_bytes) for file in spec.weights.files),
    )
    multimodal = spec.modality == "TextAndImage" or any(
        ancestor.modality != "Text" and kind is not DerivationKind.TRAINING_OUTPUT for kind, ancestor in ancestors
    )
    return Model(
        id=name,
        family=base.family if base else name,
        license_families=families,
        modality="TextAndImage" if multimodal else "Text",
        architecture=shape,
        class_declared=base is not None or spec.architecture_fingerprint.class_name is not None,
        params_total=counted.total,
        params_active=formulas.active_parameters(shape),
        context_length=length,
        kv_bytes_per_token=formulas.kv_bytes_per_token(shape),
        served_name=spec.served_name or name,
        variants=(variant,),
        engine_limits=base.engine_limits if base else (),
        not_served=_not_served(spec, [kind for kind, _ in ancestors]),
        source=(f"LlamaModel {name}",),
        confidence="Medium",
        added=True,
    )


def _stored(spec: LlamaModelSpec, shape: Architecture) -> dict[str, Any]:
    """Fields of the variant about precision, method and bytes."""
    weights, method = spec.weights, quantization.method(spec.weights.quantization)
    precision: Precision = weights.precision.value
    limits: tuple[EngineLimit, ...] = ()
    if method is not None and method.deprecated:
        reason = f"{method.name} is deprecated and refused by default"
        limits = (EngineLimit(engine="vLLM", argument="allow_deprecated_quantization", reason=reason),)
    if method is not None and method.stored_in_16_bit and (served := next(iter(method.precisions), None)):
        return {
            "precision": served,
            "quantization": method.name,
            "weight_bytes": formulas.weight_bytes(shape, served),
            "stored_bytes": weights.size_bytes or formulas.weight_bytes(shape, "BF16"),
            "bytes_source": "formula",
        }
    return {
        "precision": precision,
        "quantization": weights.quantization or None,
        "weight_bytes": weights.size_bytes or formulas.weight_bytes(shape, precision),
        "bytes_source": "published" if weights.size_bytes else "formula",
        "engine_limits": limits,
    }


def _address(store: ObjectStoreSource) -> str:
    """The address as Ray reads it, which knows no az://."""
    if store.account is None:
        return store.uri
    container, _, folder = store.uri.removeprefix(_AZ).partition("/")
    return f"azure://{container}@{store.account}.blob.core.windows.net/{folder}"


def _not_served(spec: LlamaModelSpec, kinds: list[DerivationKind]) -> str:
    """Why the engine cannot serve what is declared; empty if it can."""
    weights, source = spec.weights, spec.source
    if refused := quantization.refusal(weights.quantization, weights.precision.value):
        return refused
    places = (
        source.hugging_face.repository if source.hugging_face else "",
        source.object_store.uri if source.object_store else "",
        source.volume_claim.path if source.volume_claim else "",
    )
    named = {"method_named": bool(weights.quantization), "size_named": weights.size_bytes is not None}
    if refused := next(filter(None, (quantization.refused_place(place, **named) for place in places)), ""):
        return refused
    if places[1].startswith(_AZ) and source.object_store and source.object_store.account is None:
        return (
            f"spec.source.objectStore.uri is {places[1]}, which names no storage account: set account beside it, or write "
            "azure://container@account.blob.core.windows.net/folder"
        )
    changes = {kind for kind in kinds if kind is not DerivationKind.TRAINING_OUTPUT}
    if changes == {DerivationKind.ADAPTER} and weights.size_bytes is None and not weights.files:
        return (
            "spec.lineage says that it is an adapter, and an adapter is no model by itself: merge it into its base, and declare the "
            "result with kind Merge; if the files are those of a whole model, say their size in spec.weights.sizeBytes"
        )
    return ""


def _architecture(fingerprint: ArchitectureFingerprint, base: Model | None) -> Architecture | Unusable:
    declared = fingerprint.model_dump(exclude_none=True, exclude={"embeddings"})
    if fingerprint.embeddings is not None:
        declared["tie_word_embeddings"] = fingerprint.embeddings is EmbeddingTie.TIED
    if "rope_theta" in declared:
        declared["rope_theta"] = float(declared["rope_theta"])
    if base is not None:
        inherited = base.architecture.model_dump()
        if declared.get("class_name", inherited["class_name"]) != inherited["class_name"]:
            return Unusable(
                f"spec.architectureFingerprint.className is {declared['class_name']}, but {base.id}, which it has its "
                f"weights from, is a {inherited['class_name']}",
                lineage=True,
            )
        return Architecture.model_validate(inherited | declared)
    if declared.get("class_name", _DENSE) != _DENSE:
        return Unusable(
            f"spec.architectureFingerprint.className {declared['class_name']} needs a base in spec.lineage to be planned"
        )
    declared = {
        "class_name": _DENSE,
        "tie_word_embeddings": False,
        "rope_theta": 10000.0,
        "dtype": "bfloat16",
    } | declared
    if fingerprint.hidden_size is not None and fingerprint.num_attention_heads is not None:
        # As transformers fills them in.
        declared.setdefault("head_dim", fingerprint.hidden_size // fingerprint.num_attention_heads)
        declared.setdefault("num_key_value_heads", fingerprint.num_attention_heads)
    required = [name for name, field in Architecture.model_fields.items() if field.is_required()]
    missing = [name for name in required if name not in declared]
    if missing:
        names = ", ".join(ArchitectureFingerprint.model_fields[name].alias or name for name in missing)
        return Unusable(
            f"spec.architectureFingerprint needs {names}: the model has no base that it could take them from"
        )
    return Architecture.model_validate(declared)
