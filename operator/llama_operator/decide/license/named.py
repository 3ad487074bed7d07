"""Compares the names and tags of a LlamaModel with its declared lineage. Pure; called by `decide.license.lineage`.

A name only adds: duties of the version that it tells, or a contradiction if the lineage has no Llama at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog import Catalog
from llama_operator.catalog import lineage as facts_of_names
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license import places, signals
from llama_operator.decide.license.places import Told


@dataclass(frozen=True, slots=True)
class NameEvidence:
    """What names and tags imply beyond what is declared."""

    families: tuple[LicenseFamily, ...]
    sentences: tuple[str, ...]
    contradictions: tuple[str, ...]


def evidence_of_names(
    model: LlamaModel,
    declared: tuple[LicenseFamily, ...],
    own: tuple[LicenseFamily, ...],
    catalog: Catalog,
    *,
    independent: bool,
) -> NameEvidence:
    """Compare names and tags with the families that are declared.

    Args:
        model: The model.
        declared: Families of its lineage and its own.
        own: Families that it declares itself.
        catalog: The license families.
        independent: Whether it is known to come from no Llama.
    """
    declared_ids = {family.id for family in declared}
    # A Llama that declares no Llama license hides its origin, unless it is known to be none.
    hidden = not independent and not any(family.acceptance_required for family in declared)
    implied: dict[str, LicenseFamily] = {}
    sentences, contradictions = [], []
    for told, meant in _telling_names(model, declared_ids):
        family_ids, any_llama = signals.families_in(told.name, facts_of_names.load(), meant)
        if told.only_versions and not family_ids:
            continue
        if any_llama and hidden:
            contradictions.append(
                f"{told.name!r} is the name of a Llama, but LlamaModel {model.metadata.name} declares "
                f"{', '.join(family.id for family in own) or 'no license'} and no ancestor under a Llama license"
            )
        elif family_ids and model.spec.independence is not None:
            contradictions.append(
                f"spec.independence of LlamaModel {model.metadata.name} contradicts {told.name!r}, which tells "
                f"{', '.join(family_ids)}"
            )
        for family_id in family_ids:
            if family_id not in declared_ids | implied.keys():
                implied[family_id] = catalog.license_family(family_id)
                sentences.append(f"{told.name!r} implies {family_id}, which its lineage does not have: both apply")
    served = model.spec.served_name or ""
    if hidden and signals.called_a_llama(served):
        contradictions.append(f"it is served as {served!r} but declares no ancestor under a Llama license")
    return NameEvidence(tuple(implied.values()), tuple(sentences), tuple(contradictions))


def _telling_names(model: LlamaModel, declared: set[str]) -> Iterator[tuple[Told, set[str]]]:
    """Names and tags that may imply a family, each with the families that it may mean: a tag means what it says.

    The repository of a model that is known to be no derivative tells nothing.
    """
    facts = facts_of_names.load()
    yield Told(model.metadata.name), declared
    known = facts.independent_family(places.repository(model)) is not None and not model.spec.lineage.derived_from
    for told in () if known else places.told(model):
        yield told, declared
        if facts.published_by_licensor(told.repository):
            # The owner tells, too, whatever the model is called.
            yield Told(told.repository), set()
    for tag in signals.license_tags(model.spec.tags):
        yield Told(tag), set()
    if (other := model.spec.other_license) is not None:
        # A license outside of the list is none of Meta's.
        yield Told(other.name), set()
        yield Told(other.url, only_versions=True), set()
