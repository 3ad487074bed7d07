"""Catalog entries from LlamaModels: the one place in which a model that an administrator added becomes one that can be planned.

Called by `decide.find_model`, for deployments and for the status of LlamaModels. A shape that is left out is that of the base.
License families are the union over the declared lineage; what names and shapes tell beyond it is added by the license
chain (`decide.license.lineage`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llama_operator.api.v1alpha1.llamamodel import (
    ArchitectureFingerprint,
    DerivationKind,
    EmbeddingTie,
    LlamaModel,
    LlamaModelSpec,
)
from llama_operator.catalog import formulas
from llama_operator.catalog.models import Architecture, Model, Variant, WeightFile
from llama_operator.catalog.registry import Catalog, UnknownLicenseError, UnknownModelError

_DENSE = "LlamaForCausalLM"
_MOST_STEPS = 64


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a LlamaModel is no entry.

    Attributes:
        message: Which field, and what to do.
        lineage: Whether it is the lineage that is not known.
    """

    message: str
    lineage: bool = False


class Additions:
    """The catalog together with the LlamaModels that exist.

    Args:
        catalog: Built-in entries; their names cannot be taken.
        models: What administrators added.
    """

    __slots__ = ("_catalog", "_found", "_models")

    def __init__(self, catalog: Catalog, models: Iterable[LlamaModel]) -> None:
        self._catalog = catalog
        self._models: Mapping[str, LlamaModel] = {model.metadata.name: model for model in models}
        self._found: dict[str, Model | Unusable] = {}

    def entry(self, name: str) -> Model | Unusable | None:
        """The entry of this name, or why a LlamaModel is none; None when nothing has the name."""
        try:
            return self._catalog.model(name)
        except UnknownModelError:
            return self.added(name)

    def added(self, name: str) -> Model | Unusable | None:
        """What a LlamaModel comes to; None when there is none of that name."""
        if name not in self._models:
            return None
        if name not in self._found:
            self._found[name] = self._build(self._models[name], ())
        return self._found[name]

    def _build(self, model: LlamaModel, path: tuple[str, ...]) -> Model | Unusable:
        name, spec = model.metadata.name, model.spec
        if self._is_built_in(name):
            return Unusable(f"the catalog has a model named {name}; give the LlamaModel another name")
        if name in path or len(path) > _MOST_STEPS:
            circle = " -> ".join((*path, name))
            return Unusable(f"spec.lineage leads in a circle: {circle}; correct derivedFrom", lineage=True)
        ancestors: list[tuple[DerivationKind, Model]] = []
        for step in spec.lineage.derived_from:
            found = self._ancestor(step.model, (*path, name))
            if isinstance(found, Unusable):
                return found
            ancestors.append((step.kind, found))
        families = self._families(spec, [found for _, found in ancestors])
        if isinstance(families, Unusable):
            return families
        base = next((found for kind, found in ancestors if kind is not DerivationKind.TRAINING_OUTPUT), None)
        shape = _architecture(spec.architecture_fingerprint, base)
        return shape if isinstance(shape, Unusable) else _entry(name, spec, shape, families, ancestors, base)

    def _is_built_in(self, name: str) -> bool:
        try:
            self._catalog.model(name)
        except UnknownModelError:
            return False
        return True

    def _ancestor(self, name: str, path: tuple[str, ...]) -> Model | Unusable:
        if self._is_built_in(name):
            return self._catalog.model(name)
        if name not in self._models:
            near = ", ".join(self._catalog.nearest(name))
            hint = f"; did you mean {near}?" if near else ""
            return Unusable(
                f"spec.lineage names {name}, which is neither in the catalog nor a LlamaModel{hint}", lineage=True
            )
        if name not in self._found:
            # Each once: models that were merged over and over have more paths than anybody can walk.
            self._found[name] = self._build(self._models[name], path)
        found = self._found[name]
        if isinstance(found, Unusable):
            return Unusable(f"its ancestor {name} cannot be used: {found.message}", lineage=found.lineage)
        return found

    def _families(self, spec: LlamaModelSpec, ancestors: Iterable[Model]) -> tuple[str, ...] | Unusable:
        for family in spec.license_families:
            try:
                self._catalog.license_family(family)
            except UnknownLicenseError as error:
                return Unusable(f"spec.licenseFamilies: {error}", lineage=True)
        inherited = (family for found in ancestors for family in found.license_families)
        families = tuple(dict.fromkeys((*spec.license_families, *inherited)))
        return families or Unusable("neither spec.lineage nor spec.licenseFamilies tells its license", lineage=True)


def _entry(
    name: str,
    spec: LlamaModelSpec,
    shape: Architecture,
    families: tuple[str, ...],
    ancestors: list[tuple[DerivationKind, Model]],
    base: Model | None,
) -> Model:
    weights, source = spec.weights, spec.source
    counted = formulas.parameters(shape)
    length = spec.context_length or (base.context_length if base else shape.max_position_embeddings)
    variant = Variant(
        precision=weights.precision.value,
        repository=source.hugging_face.repository if source.hugging_face else None,
        revision=source.hugging_face.revision if source.hugging_face else None,
        uri=source.object_store.uri if source.object_store else None,
        volume_claim=source.volume_claim.name if source.volume_claim else None,
        volume_path=source.volume_claim.path if source.volume_claim else "",
        weight_bytes=weights.size_bytes or formulas.weight_bytes(shape, weights.precision.value),
        bytes_source="published" if weights.size_bytes else "formula",
        quantization=weights.quantization or None,
        files=tuple(WeightFile(name=file.name, size_bytes=file.size_bytes) for file in weights.files),
    )
    multimodal = spec.modality == "TextAndImage" or any(found.modality != "Text" for _, found in ancestors)
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
        source=(f"LlamaModel {name}",),
        confidence="Medium",
        added=True,
    )


def _architecture(facts: ArchitectureFingerprint, base: Model | None) -> Architecture | Unusable:
    given = facts.model_dump(exclude_none=True, exclude={"embeddings"})
    if facts.embeddings is not None:
        given["tie_word_embeddings"] = facts.embeddings is EmbeddingTie.TIED
    if "rope_theta" in given:
        given["rope_theta"] = float(given["rope_theta"])
    if base is not None:
        known = base.architecture.model_dump()
        if given.get("class_name", known["class_name"]) != known["class_name"]:
            return Unusable(
                f"spec.architectureFingerprint.className is {given['class_name']}, but {base.id}, which it has its "
                f"weights from, is a {known['class_name']}",
                lineage=True,
            )
        return Architecture.model_validate(known | given)
    if given.get("class_name", _DENSE) != _DENSE:
        return Unusable(
            f"spec.architectureFingerprint.className {given['class_name']} needs a base in spec.lineage to be planned"
        )
    given = {"class_name": _DENSE, "tie_word_embeddings": False, "rope_theta": 10000.0, "dtype": "bfloat16"} | given
    if facts.hidden_size is not None and facts.num_attention_heads is not None:
        # As transformers fills them in.
        given.setdefault("head_dim", facts.hidden_size // facts.num_attention_heads)
        given.setdefault("num_key_value_heads", facts.num_attention_heads)
    missing = [name for name, field in Architecture.model_fields.items() if field.is_required() and name not in given]
    if missing:
        names = ", ".join(ArchitectureFingerprint.model_fields[name].alias or name for name in missing)
        return Unusable(f"spec.architectureFingerprint needs {names}: the model has no base whose shape it could have")
    return Architecture.model_validate(given)
