"""The shape of a checkpoint against its declared lineage. Pure; called by `decide.license.lineage`.

Weights can be renamed, their shape cannot: a model that has the shape of a Llama and declares none, or has another
shape than the model it says it comes from, contradicts itself. Heads of keys and values do not count: some copies
duplicate them. The class name does not count: it can be edited without changing what is computed.
"""

from dataclasses import dataclass, fields, replace

from llama_operator.api.v1alpha1.llamamodel import Ancestor, ArchitectureFingerprint, DerivationKind
from llama_operator.catalog import Catalog
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.models import Architecture, Model

KEEPS_WEIGHTS = frozenset(set(DerivationKind) - {DerivationKind.TRAINING_OUTPUT})
"""Kinds of derivation in which weights of the ancestor are in the model, so that it has the ancestor's shape."""

_ADDED_TOKENS = 4096
"""Most rows that a vocabulary is extended by while it still counts as the same."""

_LARGE = 100_000
"""From here on a vocabulary may be extended by any number: no independent model is known that has the sizes of a Llama 3
or newer and more words. With the sizes of LLaMA 1 and 2 there are several."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that tell a checkpoint; a vocabulary of 0 and a length of 0 are not known."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int = 0
    length: int = 0

    @property
    def body(self) -> tuple[int, int, int, int]:
        """What no fine-tuning changes."""
        return (self.layers, self.hidden, self.intermediate, self.heads)

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.layers} layers, hidden size {self.hidden}, intermediate size {self.intermediate}, {self.heads} heads"


@dataclass(frozen=True, slots=True)
class Told:
    """What a shape tells."""

    models: tuple[Model, ...] = ()
    """Models of the catalog that have it."""
    families: tuple[LicenseFamily, ...] = ()
    """Families that apply by it and were not declared."""
    sentences: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()


def of_architecture(architecture: Architecture) -> Shape:
    """Shape of a catalog entry."""
    return Shape(
        architecture.num_hidden_layers,
        architecture.hidden_size,
        architecture.intermediate_size,
        architecture.num_attention_heads,
        architecture.vocab_size,
        architecture.max_position_embeddings,
    )


def of_declared(found: ArchitectureFingerprint, inherited: Shape | None) -> Shape | None:
    """Shape that a fingerprint tells, completed from `inherited`; None when that is not enough to tell one."""
    declared = {
        "layers": found.num_hidden_layers,
        "hidden": found.hidden_size,
        "intermediate": found.intermediate_size,
        "heads": found.num_attention_heads,
        "vocabulary": found.vocab_size,
        "length": found.max_position_embeddings,
    }
    known = {name: value for name, value in declared.items() if value is not None}
    if inherited is not None:
        return replace(inherited, **known)
    needed = {field.name for field in fields(Shape)} - {"length"}
    return Shape(**known) if needed <= known.keys() else None


def contradiction(shape: Shape, base: Shape, declared: Ancestor) -> str:
    """Why `shape` cannot come from a model of shape `base` as declared; empty when it can."""
    if declared.kind not in KEEPS_WEIGHTS:
        return ""
    same = shape.body == base.body
    if declared.kind is DerivationKind.MERGE:
        # Merges may stack layers of their parents.
        same = shape.body[1:] == base.body[1:]
    if same:
        return ""
    return (
        f"spec.architectureFingerprint contradicts its lineage: a {declared.kind} of {declared.model} has {base.text}, "
        f"this has {shape.text}"
    )


def tells(shape: Shape, families: tuple[LicenseFamily, ...], catalog: Catalog) -> Told:
    """What the shape tells beyond the families that are declared."""
    alike = [(model, of_architecture(model.architecture)) for model in catalog.models if not model.generated]
    alike = [(model, known) for model, known in alike if known.body == shape.body and _same_words(shape, known)]
    if not alike:
        return Told()
    nearest = min(shape.vocabulary - known.vocabulary for _, known in alike)
    models = tuple(model for model, known in alike if shape.vocabulary - known.vocabulary == nearest)
    declared = {family.id for family in families}
    fitting = tuple(model for model in models if _needed(model, catalog) <= declared)
    if not fitting:
        names = ", ".join(model.id for model in models[:3])
        strange = f"spec.architectureFingerprint is the shape of {names} ({shape.text}), which its lineage has not"
        return Told(models, contradictions=(strange,))
    return _of_same_length(shape, fitting, models, catalog)


def _of_same_length(shape: Shape, fitting: tuple[Model, ...], models: tuple[Model, ...], catalog: Catalog) -> Told:
    """Of models with one shape, trained length tells the version: Llama 3.1 is Llama 3 with a longer one."""
    exact = tuple(model for model in models if model.architecture.max_position_embeddings == shape.length)
    if not exact or set(exact) & set(fitting):
        return Told(fitting)
    added = {
        family.id: family
        for model in exact
        if model.derived_from is None
        for family in catalog.license_families(model)
        if not family.research_only
    }
    if not added or min(known.version_date or "" for known in added.values()) < "2024":
        return Told(fitting)
    first = next(iter(added.values()))
    sentence = f"its length of {shape.length} is that of {exact[0].id}: {first.id} applies too"
    return Told((*fitting, *exact), (first,), (sentence,))


def _needed(model: Model, catalog: Catalog) -> set[str]:
    return {family.id for family in catalog.license_families(model) if family.acceptance_required}


def _same_words(shape: Shape, known: Shape) -> bool:
    if known.vocabulary >= _LARGE:
        return shape.vocabulary >= known.vocabulary
    return known.vocabulary <= shape.vocabulary <= known.vocabulary + _ADDED_TOKENS
