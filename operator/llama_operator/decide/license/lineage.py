"""From the name of a model to its whole lineage. Pure.

The license families that apply are the union over every ancestor and the model's own license.

Called by `decide.decision` for deployments, and by `status` for LlamaModels. A tag never removes a duty. What name and
shape imply is added. A model whose declarations contradict each other is unresolved, and the chain refuses it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

from llama_operator.api.v1alpha1.llamamodel import OTHER_FAMILY, Ancestor, DerivationKind, Independence, LlamaModel
from llama_operator.catalog import Catalog, UnknownLicenseError
from llama_operator.catalog import lineage as facts_of_names
from llama_operator.catalog.ancestry import Above, Ancestry, Said
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.lineage import LineageFacts
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.license import fingerprint, places, signals
from llama_operator.decide.license.facts import UNCHANGED, Derivation, ModelFacts
from llama_operator.decide.license.fingerprint import KEEPS_WEIGHTS, Shape, ShapeEvidence
from llama_operator.decide.license.named import evidence_of_names

_GUARDS = "llama-guard"
"""Family of the catalog whose models screen what others write."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What a model comes to, for the models that are made of it."""

    facts: ModelFacts
    shape: Shape | None = None
    """Its shape; what its fingerprint leaves out is as in the ancestor that it got its weights from."""
    built_in: Model | None = None
    """Its entry in the catalog; None for a LlamaModel."""
    above: tuple[tuple[Derivation, "_Resolved"], ...] = ()
    """Steps from its declared ancestors, and these. Steps further up are put together only for the model that is asked for:
    merges of merges share most of them."""


_Ancestors = tuple[tuple[Ancestor, _Resolved], ...]


class Lineages:
    """All models that exist: those of the catalog, and those that administrators added.

    Args:
        catalog: Built-in models and license families.
        models: LlamaModels; None counts as none.
    """

    def __init__(self, catalog: Catalog, models: Iterable[LlamaModel] | None = ()) -> None:
        self._catalog = catalog
        self._names = facts_of_names.load()
        self._with_images = {
            family for model in catalog.models if model.modality != "Text" for family in model.license_families
        }
        models = tuple(models or ())
        self._added = {model.metadata.name: model.spec.served_name or "" for model in models}
        self._ancestry = Ancestry[_Resolved](
            catalog, models, built_in=self._of_catalog, added=self._of_added, circle=_circle
        )
        self._whole: dict[str, ModelFacts] = {}
        """Models that were asked for, with all their steps."""

    def called(self, name: str) -> str:
        """The catalog entry or LlamaModel that `name` means, as a person writes it; `name` itself if there is none."""
        known = {model.id: model.served_name for model in self._catalog.models} | self._added
        if name in known:
            return name
        plain = signals.words(name)
        return next(
            (model for model, served in known.items() if plain in {signals.words(model), signals.words(served)}), name
        )

    def resolve(self, name: str, variant: Variant | None = None) -> ModelFacts:
        """Follow the lineage of the model `name`, in the copy `variant` if one is chosen.

        It never fails: `unresolved` says what is not known.
        """
        resolved = self._ancestry.of(name) or _unknown(name)
        if resolved.above:
            if name not in self._whole:
                self._whole[name] = replace(resolved.facts, derivations=_derivations(resolved))
            return self._whole[name]
        if variant is None or resolved.built_in is None:
            return resolved.facts
        return self._facts_of_catalog(resolved.built_in, variant)

    def _of_catalog(self, model: Model) -> _Resolved:
        shape = fingerprint.of_architecture(model.architecture)
        return _Resolved(self._facts_of_catalog(model, None), shape, model)

    def _facts_of_catalog(self, model: Model, variant: Variant | None) -> ModelFacts:
        families = self._catalog.license_families(model, variant)
        ancestor = (
            None
            if model.derived_from is None
            else self._facts_of_catalog(self._catalog.model(model.derived_from), None)
        )
        steps: tuple[Derivation, ...] = ()
        if ancestor is not None:
            steps = (_step(model.id, ancestor, DerivationKind.FINETUNE, families), *ancestor.derivations)
        repository = (variant.repository if variant else None) or ""
        by_licensor = self._names.published_by_licensor(repository)
        if repository and not by_licensor and not steps:
            # A copy that others publish: mirrored as it was, or quantized. What the engine quantizes is not in the copy.
            stored = [copy for copy in model.variants if copy.repository == repository]
            kind = DerivationKind.QUANTIZED if all(copy.quantization for copy in stored) else DerivationKind.RENAMED
            base = tuple(family for family in families if family.id in model.license_families)
            steps = (Derivation(repository, model.id, kind, base, base),)
        return ModelFacts(
            name=model.id,
            served_name=model.served_name,
            families=_union(families, ancestor.families if ancestor else ()),
            derivations=steps,
            weights=_union(families, ancestor.weights if ancestor else ()),
            original=not steps and (by_licensor or not repository),
            guard=model.family == _GUARDS,
            packaged=True,
            multimodal=model.modality != "Text" or (ancestor is not None and ancestor.multimodal),
            unresolved=ancestor.unresolved if ancestor else (),
            names=tuple(dict.fromkeys(name for name in (model.id, repository) if name)),
            source=places.hub(repository, variant.revision if variant else None) if repository else "",
        )

    def _of_added(self, model: LlamaModel, above: Above[_Resolved]) -> _Resolved:
        name, spec = model.metadata.name, model.spec
        ancestors = tuple((declared, resolved or _unknown(declared.model)) for declared, resolved in above)
        facts = [resolved.facts for _, resolved in ancestors]
        own, own_reasons = self._own_families(model)
        declared_families = _union(own, *(ancestor.families for ancestor in facts))
        attested = self._is_attested(model, own)
        kept = tuple(resolved for step, resolved in ancestors if step.kind in KEEPS_WEIGHTS)
        independent = attested or self._is_independent(model, kept)
        by_name = evidence_of_names(model, declared_families, own, self._catalog, independent=independent)
        shape = _shape(model, ancestors)
        by_shape = self._evidence_of_shape(model, shape, ancestors, declared_families, independent=independent)
        families = _union(declared_families, by_name.families, by_shape.families)
        weights = (
            _union(*(resolved.facts.weights for resolved in kept)) if kept else self._own_weights(model, own, by_shape)
        )
        reasons = (
            *own_reasons,
            *by_name.contradictions,
            *by_shape.contradictions,
            *chain.from_iterable(ancestor.unresolved for ancestor in facts),
            *_random_ancestors(ancestors),
        )
        resolved = ModelFacts(
            name=name,
            served_name=spec.served_name or name,
            families=families,
            weights=weights,
            original=self._published_by_licensor(model) if not ancestors else _unchanged(model, ancestors, self._names),
            independent=independent,
            guard=bool(kept) and all(ancestor.facts.guard for ancestor in kept),
            packaged=bool(ancestors)
            and all(step.kind in UNCHANGED and resolved.facts.packaged for step, resolved in ancestors),
            multimodal=self._multimodal(model, kept, _union(own, by_name.families), by_shape),
            unresolved=tuple(dict.fromkeys(reasons)),
            attested=_attested(model, facts),
            signals=(*by_name.sentences, *by_shape.sentences),
            names=_names(model, facts),
            source=places.source(model),
            digest=spec.digest,
        )
        return _Resolved(resolved, shape, above=_steps(name, weights, ancestors))

    def _own_families(self, model: LlamaModel) -> tuple[tuple[LicenseFamily, ...], tuple[str, ...]]:
        """Families that the model itself declares or is known to be under, and what is wrong with them."""
        families, reasons = [], []
        known = self._independent_family(model)
        for family_id in dict.fromkeys((*model.spec.license_families, *((known,) if known else ()))):
            try:
                family = self._catalog.license_family(family_id)
                other = model.spec.other_license if family_id == OTHER_FAMILY else None
                families.append(family.called(other.name, other.url) if other else family)
            except UnknownLicenseError as error:
                reasons.append(f"LlamaModel {model.metadata.name}: spec.licenseFamilies: {error}")
        if not families and not model.spec.lineage.derived_from:
            reasons.append(
                f"LlamaModel {model.metadata.name} declares neither spec.lineage.derivedFrom nor spec.licenseFamilies"
            )
        return tuple(families), tuple(reasons)

    def _evidence_of_shape(
        self,
        model: LlamaModel,
        shape: Shape | None,
        ancestors: _Ancestors,
        declared: tuple[LicenseFamily, ...],
        *,
        independent: bool,
    ) -> ShapeEvidence:
        """Compare the shape with those of the ancestors and, unless the model is independent, of the catalog."""
        name = model.metadata.name
        if shape is None:
            if any(step.kind in KEEPS_WEIGHTS for step, _ in ancestors):
                return ShapeEvidence()
            missing = "says nothing about its shape: set spec.architectureFingerprint to the facts of its config.json"
            return ShapeEvidence(contradictions=(f"LlamaModel {name} {missing}",))
        bases = ((step, resolved.shape) for step, resolved in ancestors)
        contradictions = [fingerprint.contradiction(shape, base, step) for step, base in bases if base is not None]
        evidence = fingerprint.evidence_of_shape(shape, declared, self._catalog)
        if independent and not evidence.telling:
            evidence = ShapeEvidence()
        contradictions += evidence.contradictions
        return replace(evidence, contradictions=tuple(f"LlamaModel {name}: {text}" for text in contradictions if text))

    def _multimodal(
        self,
        model: LlamaModel,
        kept: tuple[_Resolved, ...],
        own: tuple[LicenseFamily, ...],
        by_shape: ShapeEvidence,
    ) -> bool:
        """Whether it is one of the multimodal models. A model that was only trained on answers of one is none."""
        if any(ancestor.facts.multimodal for ancestor in kept) or model.spec.modality == "TextAndImage":
            return True
        if any(places.repository(model) == known.repository for known in self._names.text_only):
            return False
        if by_shape.models and (by_shape.exact or not kept):
            return any(known.modality != "Text" for known in by_shape.models)
        # Under a license that has multimodal models, and nothing says that this is none of them.
        explained = _union(*(ancestor.facts.families for ancestor in kept))
        return any(
            family.eu_multimodal_denied and family.id in self._with_images and family not in explained for family in own
        )

    def _own_weights(
        self, model: LlamaModel, own: tuple[LicenseFamily, ...], by_shape: ShapeEvidence
    ) -> tuple[LicenseFamily, ...]:
        """Families of the weights of a model that is made of no other one's: its tag counts if repository or shape say so."""
        if self._published_by_licensor(model):
            return own
        if model.spec.lineage.derived_from:
            # Others have the sizes of LLaMA 1 and 2, too: what was trained on answers has to name the base of its weights.
            return ()
        shown = _union(*(self._catalog.license_families(known) for known in by_shape.models))
        return tuple(family for family in own if family in shown)

    def _is_independent(self, model: LlamaModel, kept: tuple[_Resolved, ...]) -> bool:
        """Whether its weights are known to come from no Llama; who trained it with answers says nothing about that."""
        if not model.spec.lineage.derived_from:
            return self._independent_family(model) is not None
        return bool(kept) and all(ancestor.facts.independent for ancestor in kept)

    def _is_attested(self, model: LlamaModel, own: tuple[LicenseFamily, ...]) -> bool:
        """Whether an administrator attests that it comes from no Llama, and nothing that is declared says otherwise."""
        llama = any(family.acceptance_required for family in own) or self._published_by_licensor(model)
        return model.spec.independence is not None and not model.spec.lineage.derived_from and not llama

    def _published_by_licensor(self, model: LlamaModel) -> bool:
        return self._names.published_by_licensor(places.repository(model))

    def _independent_family(self, model: LlamaModel) -> str | None:
        """License family of a repository that is known to be no derivative, although its name or shape suggests one."""
        return self._names.independent_family(places.repository(model))


def resolve(
    name: str, catalog: Catalog, models: Iterable[LlamaModel] | None = (), variant: Variant | None = None
) -> ModelFacts:
    """Follow the lineage of the model `name` over the catalog and the LlamaModels that exist."""
    return lineages(catalog, models).resolve(name, variant)


def lineages(catalog: Catalog, models: Iterable[LlamaModel] | None) -> Lineages:
    """All models that exist; the same object as before if the LlamaModels say the same: every pass asks for them."""
    return _lineages(catalog, Said(models or ()))


@lru_cache(maxsize=2)
def _lineages(catalog: Catalog, said: Said) -> Lineages:
    return Lineages(catalog, said.models)


def _unresolved(name: str, reason: str) -> _Resolved:
    return _Resolved(ModelFacts(name=name, served_name=name, families=(), unresolved=(reason,), names=(name,)))


def _unknown(name: str) -> _Resolved:
    return _unresolved(name, f"{name} is neither in the catalog nor a LlamaModel")


def _circle(name: str, path: str) -> _Resolved:
    return _unresolved(name, f"its lineage leads in a circle: {path}")


def _shape(model: LlamaModel, ancestors: _Ancestors) -> Shape | None:
    bases = (resolved.shape for step, resolved in ancestors if step.kind in KEEPS_WEIGHTS)
    return fingerprint.of_declared(model.spec.architecture_fingerprint, next(bases, None))


def _attested(model: LlamaModel, ancestors: Iterable[ModelFacts]) -> tuple[Independence, ...]:
    """Who attests, for it or an ancestor, that it comes from no Llama."""
    own = () if model.spec.independence is None else (model.spec.independence,)
    return tuple(dict.fromkeys(chain(own, *(ancestor.attested for ancestor in ancestors))))


def _names(model: LlamaModel, ancestors: Iterable[ModelFacts]) -> tuple[str, ...]:
    """Every name and tag that it and its ancestors go by."""
    own = (model.metadata.name, *places.of(model), *model.spec.tags)
    return tuple(dict.fromkeys(chain(own, *(ancestor.names for ancestor in ancestors))))


def _random_ancestors(ancestors: _Ancestors) -> tuple[str, ...]:
    return tuple(
        f"{step.model} is generated at random: no weights come from it"
        for step, resolved in ancestors
        if step.kind in KEEPS_WEIGHTS and resolved.built_in is not None and resolved.built_in.generated
    )


def _steps(
    name: str, weights: tuple[LicenseFamily, ...], ancestors: _Ancestors
) -> tuple[tuple[Derivation, _Resolved], ...]:
    """The model's own steps of its lineage."""
    weights = tuple(family for family in weights if family.acceptance_required)
    return tuple((_step(name, resolved.facts, step.kind, weights), resolved) for step, resolved in ancestors)


def _derivations(resolved: _Resolved) -> tuple[Derivation, ...]:
    """Every step of the lineage, the model's own first. Each model is looked at once, however many ways lead to it."""
    steps: dict[Derivation, None] = {}
    seen: set[int] = set()
    waiting = list(reversed(resolved.above))
    while waiting:
        step, ancestor = waiting.pop()
        steps[step] = None
        if id(ancestor) not in seen:
            seen.add(id(ancestor))
            steps.update(dict.fromkeys(ancestor.facts.derivations))
            waiting.extend(reversed(ancestor.above))
    return tuple(steps)


def _step(model: str, ancestor: ModelFacts, kind: DerivationKind, weights: tuple[LicenseFamily, ...]) -> Derivation:
    return Derivation(model, ancestor.name, kind, ancestor.families, weights)


def _union(*groups: Iterable[LicenseFamily]) -> tuple[LicenseFamily, ...]:
    return tuple({family.id: family for group in groups for family in group}.values())


def _unchanged(model: LlamaModel, ancestors: _Ancestors, facts: LineageFacts) -> bool:
    """Whether it is a copy of a model of Meta under the name that Meta gives it: nothing was made, so no name is asked for."""
    name = _name_of_meta(model.spec.served_name or model.metadata.name)
    return all(
        step.kind is DerivationKind.RENAMED
        and resolved.facts.original
        and name in {_name_of_meta(published) for published in _published(resolved, facts)}
        for step, resolved in ancestors
    )


def _name_of_meta(name: str) -> str:
    """Meta has put its own name in front of some models, and taken it away again."""
    return signals.words(name.rpartition("/")[2]).removeprefix("meta-")


def _published(resolved: _Resolved, facts: LineageFacts) -> Iterator[str]:
    """Names under which its publisher has it, and others an unquantized copy."""
    yield resolved.facts.served_name
    for copy in resolved.built_in.variants if resolved.built_in else ():
        if copy.repository and (not copy.quantization or facts.published_by_licensor(copy.repository)):
            yield copy.repository
