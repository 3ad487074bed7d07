"""Compares the shape of a checkpoint with its declared lineage. Pure; called by `decide.license.lineage`.

Weights can be renamed, their shape cannot. A model contradicts itself if it has the shape of a Llama and declares none, or
has another shape than the model that it says it comes from. The number of key-value heads does not count: some copies
duplicate them. The class name does not count: an edit of it changes nothing that is computed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from llama_operator.api.v1alpha1.llamamodel import Ancestor, ArchitectureFingerprint, DerivationKind
from llama_operator.catalog import Catalog
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.models import Architecture, Model

KEEPS_WEIGHTS = frozenset(set(DerivationKind) - {DerivationKind.TRAINING_OUTPUT})
"""Kinds of derivation in which weights of the ancestor are in the model, so that it has the ancestor's shape."""

_ADDED_TOKENS = 4096
"""Upper limit on the rows that a vocabulary may be extended by and still count as the same."""

_LARGE = 100_000
"""A vocabulary of at least this many rows may be extended by any number. No independent model is known with the sizes of a
Llama 3 or newer and a larger vocabulary; with the sizes of LLaMA 1 and 2 there are several."""

_ADDED_TO_LARGE = 65_536
"""The same limit for a model with other layers. Phi-4-mini is no Llama, although three of its sizes are those of Llama 3.2 3B."""

_ONLY_LLAMAS = frozenset({(8192, 28672, 64), (16384, 53248, 128)})
"""Hidden size, intermediate size and heads that only Llamas of 70B and 405B have: with any number of layers or words it is
one, cut or stacked."""

_OTHERS_TOO = {(4096, 14336, 32): 102_400}
"""Sizes that a Llama shares with others, and the largest vocabulary of those: Llama 3 8B, Mistral 7B, InternLM2 7B and EXAONE
3.5 7.8B, each in a copy for the class of Llama."""

_PADDING = 256
"""Columns of zeros that a feed-forward layer of a Llama 3 or newer may have more: kernels ask for it, and nothing changes."""

_VERSIONS_BY_LENGTH_SINCE = "2024"
"""Year of the first license versions that differ in the trained length of their models."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that identify a checkpoint; 0 stands for a vocabulary or a length that is not known."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int = 0
    length: int = 0

    @property
    def body(self) -> tuple[int, int, int, int]:
        """The sizes that no fine-tuning changes."""
        return (self.layers, self.hidden, self.intermediate, self.heads)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes that cutting and stacking leave as they are."""
        return self.body[1:]

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.layers} layers, hidden size {self.hidden}, intermediate size {self.intermediate}, {self.heads} heads"


@dataclass(frozen=True, slots=True)
class ShapeEvidence:
    """What a shape says about the origin of a model."""

    models: tuple[Model, ...] = ()
    """Models of the catalog that have the same shape."""
    exact: bool = True
    """Whether their number of layers is the same, too: models are cut and stacked."""
    few_words: bool = False
    """Whether its vocabulary is smaller than that of any Llama with the shape, and small enough to be another one's."""
    families: tuple[LicenseFamily, ...] = ()
    """Families that the shape implies and the lineage does not declare."""
    sentences: tuple[str, ...] = ()
    """Why those families apply."""
    contradictions: tuple[str, ...] = ()
    """Why the declared lineage cannot be true."""

    @property
    def telling(self) -> bool:
        """Whether no model is known that has the shape and is no Llama: no attestation stands against it."""
        return not self.few_words and any(model.architecture.vocab_size >= _LARGE for model in self.models)


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


def of_declared(fingerprint: ArchitectureFingerprint, inherited: Shape | None) -> Shape | None:
    """Shape that a fingerprint declares, completed from `inherited`; None when sizes are missing."""
    declared = {
        "layers": fingerprint.num_hidden_layers,
        "hidden": fingerprint.hidden_size,
        "intermediate": fingerprint.intermediate_size,
        "heads": fingerprint.num_attention_heads,
        "vocabulary": fingerprint.vocab_size,
        "length": fingerprint.max_position_embeddings,
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
    same = shape.sizes == base.sizes or _padded(shape, base)
    # Merges may stack layers of their parents.
    if same and (shape.layers == base.layers or declared.kind is DerivationKind.MERGE):
        return ""
    return (
        f"spec.architectureFingerprint contradicts its lineage: a {declared.kind} of {declared.model} has {base.text}, "
        f"this has {shape.text}"
    )


def evidence_of_shape(shape: Shape, declared: tuple[LicenseFamily, ...], catalog: Catalog) -> ShapeEvidence:
    """Compare a shape with those of the catalog.

    Args:
        shape: Shape of the model.
        declared: Families that its lineage and its own license declare.
        catalog: Models whose shapes are known.
    """
    shapes = [(model, of_architecture(model.architecture)) for model in catalog.models if not model.generated]
    exact, models = _nearest(shape, shapes)
    if not models:
        return ShapeEvidence()
    fewest = min(model.architecture.vocab_size for model in models)
    evidence = ShapeEvidence(models, exact, few_words=shape.vocabulary < min(fewest, _LARGE))
    declared_ids = {family.id for family in declared}
    fitting = tuple(model for model in models if _needed(model, catalog) <= declared_ids)
    if not fitting:
        names = ", ".join(model.id for model in models[:3])
        but = "" if exact else " but for the number of layers"
        if shape.vocabulary < fewest:
            but += f"{' and' if but else ' but for'} the words that were left out"
        undeclared = (
            f"spec.architectureFingerprint is the shape of {names}{but} ({shape.text}), which its lineage does not have"
        )
        return replace(evidence, contradictions=(undeclared,))
    same_length = tuple(model for model in models if model.architecture.max_position_embeddings == shape.length)
    if not same_length or set(same_length) & set(fitting):
        return replace(evidence, models=fitting)
    by_length = _evidence_of_length(shape, fitting, same_length, catalog)
    return replace(evidence, models=by_length.models, families=by_length.families, sentences=by_length.sentences)


def _evidence_of_length(
    shape: Shape, fitting: tuple[Model, ...], same_length: tuple[Model, ...], catalog: Catalog
) -> ShapeEvidence:
    """Of models with one shape the trained length gives the version: Llama 3.1 is Llama 3 with a longer one."""
    originals = (model for model in same_length if model.derived_from is None)
    families = [f for model in originals for f in catalog.license_families(model) if not f.research_only]
    if not families or min(family.version_date or "" for family in families) < _VERSIONS_BY_LENGTH_SINCE:
        return ShapeEvidence(fitting)
    first = families[0]
    sentence = f"its length of {shape.length} is that of {same_length[0].id}: {first.id} applies too"
    return ShapeEvidence((*fitting, *same_length), families=(first,), sentences=(sentence,))


def _needed(model: Model, catalog: Catalog) -> set[str]:
    return {family.id for family in catalog.license_families(model) if family.acceptance_required}


def _nearest(shape: Shape, shapes: Iterable[tuple[Model, Shape]]) -> tuple[bool, tuple[Model, ...]]:
    """Whether models of the catalog have the same number of layers, too, and the models of this shape.

    Of models that differ in words alone those count to which the fewest were added. If words can only have been left out,
    or so many added that nobody can tell to which, all of them count.
    """
    shapes = tuple(shapes)
    for exact, same in ((True, _extended), (False, _extended_but_for_layers)):
        alike = [(model, shape.vocabulary - known.vocabulary) for model, known in shapes if same(shape, known)]
        if alike:
            fewest_added_words = min(added_words for _, added_words in alike)
            return exact, tuple(model for model, added_words in alike if added_words == fewest_added_words)
        resized = tuple(model for model, known in shapes if _resized(shape, known, exact=exact))
        if resized:
            return exact, resized
    return True, ()


def _extended(shape: Shape, known: Shape) -> bool:
    """Whether `shape` can be that of a model of shape `known` whose vocabulary was extended."""
    if shape.layers != known.layers or not _same_sizes(shape, known) or shape.vocabulary < known.vocabulary:
        return False
    return known.vocabulary >= _LARGE or shape.vocabulary <= known.vocabulary + _ADDED_TOKENS


def _extended_but_for_layers(shape: Shape, known: Shape) -> bool:
    """Whether `shape` can be that of a model of shape `known` with layers left out or repeated."""
    added_words = shape.vocabulary - known.vocabulary
    if not _same_sizes(shape, known) or added_words < 0:
        return False
    return added_words <= (_ADDED_TO_LARGE if known.vocabulary >= _LARGE else _ADDED_TOKENS)


def _resized(shape: Shape, known: Shape, *, exact: bool) -> bool:
    """Whether `shape` can be that of a model of shape `known` from whose vocabulary words were left out."""
    if not _same_sizes(shape, known) or (exact and shape.layers != known.layers):
        return False
    if known.sizes in _ONLY_LLAMAS:
        return True
    if shape.vocabulary > known.vocabulary:
        return False
    if known.sizes in _OTHERS_TOO:
        return shape.vocabulary > _OTHERS_TOO[known.sizes] + _ADDED_TOKENS
    # A smaller vocabulary is no sign of others where no others are known.
    return exact or shape.vocabulary >= _LARGE


def _same_sizes(shape: Shape, known: Shape) -> bool:
    return shape.sizes == known.sizes or _padded(shape, known)


def _padded(shape: Shape, known: Shape) -> bool:
    """Whether `shape` is `known` with columns of zeros in its feed-forward layers."""
    if (shape.hidden, shape.heads) != (known.hidden, known.heads) or min(shape.vocabulary, known.vocabulary) < _LARGE:
        return False
    return known.intermediate < shape.intermediate <= known.intermediate + _PADDING
