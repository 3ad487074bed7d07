"""From the name of a model to the whole of its lineage. Pure.

The effective license families are the union over every ancestor and the model's own license.

Called by `decide.decision` for deployments and by the operator for the status of LlamaModels. A tag never removes a duty;
what names and shape tell is added; what does not fit together is unresolved, and the chain refuses it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llama_operator.api.v1alpha1.llamamodel import Ancestor, DerivationKind, LlamaModel
from llama_operator.catalog import Catalog, UnknownLicenseError, UnknownModelError
from llama_operator.catalog import lineage as facts_of_names
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.lineage import LineageFacts
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.license import fingerprint, signals
from llama_operator.decide.license.facts import Derivation, ModelFacts

_GUARDS = "llama-guard"
"""Family of the catalog whose models screen what others write."""

_MOST_STEPS = 64
"""Longest lineage that is followed; a longer one is a mistake."""


@dataclass(frozen=True, slots=True)
class Lineages:
    """All models that exist: those of the catalog, and those that administrators added."""

    catalog: Catalog
    added: Mapping[str, LlamaModel]
    facts: LineageFacts
    resolved: dict[str, ModelFacts] = field(default_factory=dict, repr=False, compare=False)
    """LlamaModels that were followed already."""

    @classmethod
    def of(cls, catalog: Catalog, models: Iterable[LlamaModel] | None = ()) -> "Lineages":
        """Lineages over `catalog` and the LlamaModels that exist."""
        return cls(catalog, {model.metadata.name: model for model in models or ()}, facts_of_names.load())

    def resolve(self, name: str, variant: Variant | None = None) -> ModelFacts:
        """Follow the lineage of the model `name`, in the copy `variant` where one is chosen.

        Never fails: what is not known stands in `unresolved`.
        """
        return self._resolve(name, variant, ())

    def _resolve(self, name: str, variant: Variant | None, path: tuple[str, ...]) -> ModelFacts:
        if name in path or len(path) > _MOST_STEPS:
            return _unresolved(name, f"its lineage leads in a circle: {' -> '.join((*path, name))}")
        try:
            # Names of the catalog cannot be taken: a LlamaModel that has one is not looked at.
            return self._of_catalog(self.catalog.model(name), variant, path)
        except UnknownModelError:
            pass
        if name not in self.added:
            return _unresolved(name, f"{name} is neither in the catalog nor a LlamaModel")
        # Each once: models that were merged over and over have more paths than anybody can walk. What is reached from a
        # circle is unresolved whichever way it was reached.
        if name not in self.resolved:
            self.resolved[name] = self._of_added(self.added[name], path)
        return self.resolved[name]

    def _of_catalog(self, model: Model, variant: Variant | None, path: tuple[str, ...]) -> ModelFacts:
        families = self.catalog.license_families(model, variant)
        steps: tuple[Derivation, ...] = ()
        above: tuple[ModelFacts, ...] = ()
        if model.derived_from is not None:
            ancestor = self._resolve(model.derived_from, None, (*path, model.id))
            above = (ancestor,)
            steps = (_step(model.id, ancestor, DerivationKind.FINETUNE, families), *ancestor.derivations)
        repository = (variant.repository if variant else None) or ""
        if repository and repository.partition("/")[0] not in self.facts.licensors and not steps:
            # A copy by somebody else: mirrored as it was, or quantized. What the engine quantizes is not in the copy.
            stored = [each for each in model.variants if each.repository == repository]
            kind = DerivationKind.QUANTIZED if all(each.quantization for each in stored) else DerivationKind.RENAMED
            base = tuple(f for f in families if f.id in model.license_families)
            steps = (Derivation(repository, model.id, kind, base, base),)
        return ModelFacts(
            name=model.id,
            served_name=model.served_name,
            families=_union(families, *(ancestor.families for ancestor in above)),
            derivations=steps,
            original=not steps and repository.partition("/")[0] in (*self.facts.licensors, ""),
            guard=model.family == _GUARDS,
            multimodal=model.modality != "Text" or any(ancestor.multimodal for ancestor in above),
            unresolved=tuple(reason for ancestor in above for reason in ancestor.unresolved),
            names=tuple(dict.fromkeys(name for name in (model.id, repository) if name)),
            source=_hub(repository, variant.revision if variant else None) if repository else "",
        )

    def _of_added(self, model: LlamaModel, path: tuple[str, ...]) -> ModelFacts:
        name, spec = model.metadata.name, model.spec
        reasons: list[str] = []
        above = [
            (each, self._resolve(each.model, None, (*path, name))) for each in dict.fromkeys(spec.lineage.derived_from)
        ]
        own = self._own_families(model, reasons)
        families = _union(own, *(ancestor.families for _, ancestor in above))
        independent = self._is_independent(model, above)
        told, sentences = self._told(model, families, own, reasons, independent=independent)
        shape = self._shape(model, above, families, reasons)
        families = _union(families, told, shape.families)
        weights = _weights_families(own, above)
        steps = [
            step
            for declared, ancestor in above
            for step in (_step(name, ancestor, declared.kind, weights), *ancestor.derivations)
        ]
        reasons += [reason for _, ancestor in above for reason in ancestor.unresolved]
        reasons += [
            f"{declared.model} is generated at random: no weights come from it"
            for declared, _ in above
            if declared.kind in fingerprint.KEEPS_WEIGHTS and self._generated(declared.model)
        ]
        return ModelFacts(
            name=name,
            served_name=spec.served_name or name,
            families=families,
            derivations=tuple(dict.fromkeys(steps)),
            original=not above and self._published_by_licensor(model),
            independent=independent,
            guard=any(ancestor.guard for _, ancestor in above),
            multimodal=self._multimodal(model, above, families, shape.models),
            unresolved=tuple(dict.fromkeys(reasons)),
            signals=(*sentences, *shape.sentences),
            names=tuple(
                dict.fromkeys([*_names(model), *spec.tags, *(each for _, facts in above for each in facts.names)])
            ),
            source=_source(model),
            digest=spec.digest,
        )

    def _own_families(self, model: LlamaModel, reasons: list[str]) -> tuple[LicenseFamily, ...]:
        found = []
        known = self._independent(model)
        for family_id in dict.fromkeys((*model.spec.license_families, *((known,) if known else ()))):
            try:
                found.append(self.catalog.license_family(family_id))
            except UnknownLicenseError as error:
                reasons.append(f"LlamaModel {model.metadata.name}: spec.licenseFamilies: {error}")
        if not found and not model.spec.lineage.derived_from:
            reasons.append(
                f"LlamaModel {model.metadata.name} declares neither spec.lineage.derivedFrom nor spec.licenseFamilies"
            )
        return tuple(found)

    def _told(
        self,
        model: LlamaModel,
        families: tuple[LicenseFamily, ...],
        own: tuple[LicenseFamily, ...],
        reasons: list[str],
        *,
        independent: bool,
    ) -> tuple[tuple[LicenseFamily, ...], tuple[str, ...]]:
        """Families that names and tags tell and nobody declared, with a sentence for each."""
        declared = {family.id for family in families}
        llama = any(family.acceptance_required for family in families)
        found: dict[str, LicenseFamily] = {}
        sentences = []
        known = model.spec.source.hugging_face.repository if model.spec.source.hugging_face and independent else ""
        for name in (*_names(model), *signals.telling_tags(model.spec.tags)):
            if name == known and not model.spec.lineage.derived_from:
                continue
            ids, any_llama = signals.families_in(name, self.facts)
            if any_llama and not llama and not independent:
                reasons.append(
                    f"{name!r} is the name of a Llama, but LlamaModel {model.metadata.name} declares "
                    f"{', '.join(family.id for family in own) or 'no license'} and no ancestor under a Llama license"
                )
            for family_id in ids:
                if family_id not in declared | found.keys():
                    found[family_id] = self.catalog.license_family(family_id)
                    sentences.append(f"{name!r} tells {family_id}, which its lineage does not have: both apply")
        served = model.spec.served_name or ""
        if signals.called_a_llama(served) and not llama and not independent:
            reasons.append(f"it is served as {served!r} but declares no ancestor under a Llama license")
        return tuple(found.values()), tuple(sentences)

    def _shape(
        self,
        model: LlamaModel,
        above: list[tuple[Ancestor, ModelFacts]],
        families: tuple[LicenseFamily, ...],
        reasons: list[str],
    ) -> fingerprint.Told:
        """What the fingerprint tells; a contradiction goes to `reasons`."""
        shape = self._shape_of(model.metadata.name, ())
        if shape is None:
            if not any(declared.kind in fingerprint.KEEPS_WEIGHTS for declared, _ in above):
                reasons.append(
                    f"LlamaModel {model.metadata.name} says nothing about its shape: set spec.architectureFingerprint "
                    "to the facts of its config.json"
                )
            return fingerprint.Told()
        for declared, _ in above:
            base = self._shape_of(declared.model, ())
            if base is not None and (text := fingerprint.contradiction(shape, base, declared)):
                reasons.append(f"LlamaModel {model.metadata.name}: {text}")
        if self._is_independent(model, above):
            return fingerprint.Told()
        told = fingerprint.tells(shape, families, self.catalog)
        reasons += [f"LlamaModel {model.metadata.name}: {text}" for text in told.contradictions]
        return told

    def _shape_of(self, name: str, path: tuple[str, ...]) -> fingerprint.Shape | None:
        """Shape of a model; what its fingerprint leaves out is as in the ancestor that it got its weights from."""
        try:
            return fingerprint.of_architecture(self.catalog.model(name).architecture)
        except UnknownModelError:
            model = self.added.get(name)
        if model is None or name in path:
            return None
        bases = (each.model for each in model.spec.lineage.derived_from if each.kind in fingerprint.KEEPS_WEIGHTS)
        base = next(bases, None)
        inherited = None if base is None else self._shape_of(base, (*path, name))
        return fingerprint.of_declared(model.spec.architecture_fingerprint, inherited)

    def _multimodal(
        self,
        model: LlamaModel,
        above: list[tuple[Ancestor, ModelFacts]],
        families: tuple[LicenseFamily, ...],
        same_shape: tuple[Model, ...],
    ) -> bool:
        if any(ancestor.multimodal for _, ancestor in above) or model.spec.modality == "TextAndImage":
            return True
        repository = model.spec.source.hugging_face.repository if model.spec.source.hugging_face else ""
        if any(repository == known.repository for known in self.facts.text_only):
            return False
        if same_shape:
            return any(each.modality != "Text" for each in same_shape)
        # Under a license that has multimodal models, and nothing tells that this is none of them.
        return not above and any(family.eu_multimodal_denied for family in families)

    def _generated(self, name: str) -> bool:
        try:
            return self.catalog.model(name).generated
        except UnknownModelError:
            return False

    def _is_independent(self, model: LlamaModel, above: list[tuple[Ancestor, ModelFacts]]) -> bool:
        if not above:
            return self._independent(model) is not None
        return all(ancestor.independent for _, ancestor in above)

    def _published_by_licensor(self, model: LlamaModel) -> bool:
        source = model.spec.source.hugging_face
        return source is not None and source.repository.partition("/")[0] in self.facts.licensors

    def _independent(self, model: LlamaModel) -> str | None:
        """License family of a repository that is known to be nobody's derivative, although its name or shape tells so."""
        source = model.spec.source.hugging_face
        if source is None:
            return None
        return next(
            (known.license_family for known in self.facts.independent if known.repository == source.repository), None
        )


def resolve(
    name: str, catalog: Catalog, models: Iterable[LlamaModel] | None = (), variant: Variant | None = None
) -> ModelFacts:
    """Follow the lineage of the model `name` over the catalog and the LlamaModels that exist."""
    return Lineages.of(catalog, models).resolve(name, variant)


def _unresolved(name: str, reason: str) -> ModelFacts:
    return ModelFacts(name=name, served_name=name, families=(), unresolved=(reason,), names=(name,))


def _step(model: str, ancestor: ModelFacts, kind: DerivationKind, weights: tuple[LicenseFamily, ...]) -> Derivation:
    return Derivation(model, ancestor.name, kind, ancestor.families, weights)


def _weights_families(
    own: tuple[LicenseFamily, ...], above: list[tuple[Ancestor, ModelFacts]]
) -> tuple[LicenseFamily, ...]:
    kept = (facts.families for declared, facts in above if declared.kind in fingerprint.KEEPS_WEIGHTS)
    return _union(tuple(family for family in own if family.acceptance_required), *kept)


def _union(*groups: Iterable[LicenseFamily]) -> tuple[LicenseFamily, ...]:
    return tuple({family.id: family for group in groups for family in group}.values())


def _names(model: LlamaModel) -> tuple[str, ...]:
    source = model.spec.source
    places = (
        source.hugging_face.repository if source.hugging_face else "",
        source.object_store.uri if source.object_store else "",
        f"{source.volume_claim.name}/{source.volume_claim.path}" if source.volume_claim else "",
    )
    return tuple(name for name in (model.metadata.name, *places) if name)


def _hub(repository: str, commit: str | None) -> str:
    return f"https://huggingface.co/{repository}{f'@{commit}' if commit else ''}"


def _source(model: LlamaModel) -> str:
    source = model.spec.source
    if source.hugging_face is not None:
        return _hub(source.hugging_face.repository, source.hugging_face.revision)
    if source.object_store is not None:
        return source.object_store.uri
    return f"volumeClaim:{source.volume_claim.name}/{source.volume_claim.path}" if source.volume_claim else ""
