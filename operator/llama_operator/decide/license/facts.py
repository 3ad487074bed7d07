"""What the license chain judges: the facts about a model, and the case of one deployment. Frozen values.

Built by `decide.license.lineage` and `decide.license.gather`, read by every check.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property, lru_cache

from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import UNRESOLVED, LicensePolicy, Tier
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec
from llama_operator.api.v1alpha1.llamamodel import DerivationKind, Independence
from llama_operator.catalog import lineage
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license import signals
from llama_operator.decide.observed import LicenseEnd, UnreadRecord

UNCHANGED = frozenset({DerivationKind.RENAMED, DerivationKind.QUANTIZED})
"""Kinds of derivation in which nothing was learned: the same model under another name or in another number format."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """One step of a lineage: `model` was made from `ancestor`."""

    model: str
    ancestor: str
    kind: DerivationKind
    ancestor_families: tuple[LicenseFamily, ...]
    """Families that apply to the ancestor, its own ancestors' included."""
    weights_families: tuple[LicenseFamily, ...]
    """Families of all models whose weights are in `model`; empty when it was trained from scratch."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model with the whole of its lineage."""

    name: str
    """As the deployment names it."""
    served_name: str
    families: tuple[LicenseFamily, ...]
    """Families whose duties apply together: its own, those of every ancestor, and those that names or shape imply."""
    derivations: tuple[Derivation, ...] = ()
    """Every step from the models at the root to this one, nearest first."""
    weights: tuple[LicenseFamily, ...] = ()
    """Families of all models whose weights are in it; what only a tag says is none of them."""
    original: bool = False
    """Weights as Meta publishes them, from Meta's own repositories, or an unchanged copy under Meta's own name."""
    independent: bool = False
    """Known to be no derivative although name or shape are those of a Llama, or made only from such models."""
    attested: tuple[Independence, ...] = ()
    """Who attests, for it or an ancestor, that it comes from no Llama."""
    guard: bool = False
    """It is a guard, made to screen what others write, or all models whose weights are in it are."""
    packaged: bool = False
    """It is an entry of the catalog, or an unchanged copy of one."""
    multimodal: bool = False
    """It, or one of its ancestors, takes images; serving it text-only changes nothing."""
    unresolved: tuple[str, ...] = ()
    """Why the lineage is not known; a model with any reason is refused."""
    signals: tuple[str, ...] = ()
    """What names and shape imply, in sentences."""
    names: tuple[str, ...] = ()
    """Every name and tag that it and its ancestors go by."""
    source: str = ""
    """Where the weights are."""
    digest: str = ""
    """Digest of the manifest of files; empty for catalog entries."""

    @property
    def tier(self) -> Tier:
        """Tier of the strictest family; `Unresolved` when the lineage is not known."""
        if self.unresolved or not self.families:
            return UNRESOLVED
        return max(self.families, key=lambda family: family.strictness).tier

    @property
    def kinds(self) -> frozenset[DerivationKind]:
        """How it was derived, over all steps."""
        return frozenset(step.kind for step in self.derivations)

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Every model that it comes from, nearest first, without repetition."""
        return tuple(dict.fromkeys(step.ancestor for step in self.derivations))

    @property
    def copy_of(self) -> str:
        """Name of the model that it is an unchanged copy of, over all generations; its own name if it is none."""
        name, steps = self.name, self.derivations
        while copied := [step for step in steps if step.model == name]:
            if len(copied) > 1 or copied[0].kind not in UNCHANGED:
                break
            name, steps = copied[0].ancestor, tuple(step for step in steps if step is not copied[0])
        return name

    @property
    def needing_acceptance(self) -> tuple[LicenseFamily, ...]:
        """Families that must be accepted."""
        return tuple(family for family in self.families if family.acceptance_required)

    def under(self, rule: str) -> tuple[LicenseFamily, ...]:
        """Families to which the rule applies."""
        return tuple(family for family in self.families if rule in family.rules)


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """A LoRA adapter of the deployment: a model that was made with the one that is served.

    Attributes:
        name: Name on the endpoint.
        families: Families whose duties apply together: those of the model and its own.
        unknown: Families that it names and the catalog does not have.
    """

    name: str
    families: tuple[LicenseFamily, ...]
    unknown: tuple[str, ...] = ()


RETIRED = frozenset({AcceptanceState.SUPERSEDED, AcceptanceState.WITHDRAWN})
"""States of records that count for nothing any more, although no license has ended."""


@dataclass(frozen=True)
class LicenseInput:
    """One case for the chain: a model, its use, and the acceptances and policies that exist."""

    model: ModelFacts
    license: LicenseSpec
    namespace: str
    acceptances: tuple[LicenseAcceptance, ...] | None
    """Acceptances that exist; None if they were not read (a plan without a cluster)."""
    policies: tuple[LicensePolicy, ...] = ()
    """House rules; all of them apply."""
    guard: ModelFacts | None = None
    """The guard model that screens requests and answers, if the deployment names one."""
    adapters: tuple[AdapterFacts, ...] = ()
    """LoRA adapters that are served beside the model."""
    guard_blocks: bool = True
    """Whether what it calls unsafe is kept back: one that only annotates or logs screens nothing."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the deployment."""
    trained: tuple[ModelFacts, ...] = ()
    """Models that the answers improve."""
    most_gpus: int | None = None
    """Accelerators that all replicas together may use; None if there is no plan yet."""
    most_replicas: int = 1
    ends: tuple[LicenseEnd, ...] = ()
    """Ends of licenses that revisions of this deployment remember."""
    own_ends: tuple[LicenseEnd, ...] = ()
    """Ends under which this very model ran in this deployment, with the families that it was under then."""
    open_to_all: bool = False
    """Whether requests are answered without a key: the spec says so, or the revision that is judged does so."""
    aliases: tuple[str, ...] = ()
    """Further names under which the model is served."""
    uncounted: bool = False
    """Whether the path of requests counts none: no limit of a tenant holds there."""
    image: str = ""
    """Image that the deployment names for its pods; empty for the operator's own."""
    today: date | None = None
    """Day of the decision, in UTC; None if it is not known: then nothing is overdue."""
    still_today: date | None = None
    """The earliest day that is today anywhere: west of Greenwich a day ends later. None for that of UTC."""
    unread: tuple[UnreadRecord, ...] = ()
    """License records that exist and that this version does not understand."""

    @property
    def first_today(self) -> date | None:
        """The day that a last day is compared with: a day is over when it has ended everywhere."""
        return self.still_today or self.today

    @property
    def not_understood(self) -> tuple[UnreadRecord, ...]:
        """Those of `unread` that this case rests on: what refuses may be only what is not understood."""
        models = [self.model, *self.trained, *([] if self.guard is None else [self.guard])]
        named = {
            ("LicenseAcceptance", last_named(self.acceptances or (), self.license.acceptance)),
            *(("LlamaModel", name) for model in models for name in (model.name, *model.ancestors)),
        }
        return tuple(each for each in self.unread if each.kind == "LicensePolicy" or (each.kind, each.name) in named)

    @property
    def last_today(self) -> date:
        """The latest day that may be today where somebody signs: east of Greenwich the day begins earlier."""
        return date.max if self.today is None else self.today + timedelta(days=1)

    @cached_property
    def needing_acceptance(self) -> tuple[LicenseFamily, ...]:
        """Families that must be accepted, the guard's included."""
        guard = self.guard.needing_acceptance if self.guard else ()
        return tuple({family.id: family for family in self.model.needing_acceptance + guard}.values())

    @cached_property
    def acceptance(self) -> LicenseAcceptance | None:
        """The acceptance that the spec names, or the one that counts in its place; None if there is none.

        One in state `Superseded` only if successors lead in a circle.
        """
        return leading(self.acceptances or (), self.license.acceptance)

    def named(self, name: str | None) -> LicenseAcceptance | None:
        """The acceptance called `name`, if it exists."""
        return _called(self.acceptances or (), name)

    def licensee_of(self, acceptance: LicenseAcceptance) -> Callable[[str], bool]:
        """Whether an entity is the licensee of `acceptance`, under its name there or one that records before it had.

        A record that supersedes others is of the same licensee: it may have another name since then.
        """
        names, found, records = {acceptance.spec.legal_entity}, {acceptance.metadata.name}, self.acceptances or ()
        while before := [r for r in records if r.spec.superseded_by in found and r.metadata.name not in found]:
            found |= {record.metadata.name for record in before}
            names |= {record.spec.legal_entity for record in before}
        return lambda entity: any(same_party(entity, name) for name in names)

    def candidates(self, family: LicenseFamily) -> tuple[LicenseAcceptance, ...]:
        """Acceptances that may count for `family`: the named one, and others of the same entity for the namespace."""
        leading = self.acceptance
        if leading is None:
            return ()
        is_licensee = self.licensee_of(leading)
        others = (
            acceptance
            for acceptance in self.acceptances or ()
            if acceptance.metadata.name != leading.metadata.name
            and self.namespace in acceptance.spec.namespaces
            and is_licensee(acceptance.spec.legal_entity)
            and acceptance.spec.state not in RETIRED
        )
        return tuple(acceptance for acceptance in (leading, *others) if family.id in acceptance.spec.families)


def leading(acceptances: Iterable[LicenseAcceptance], name: str | None) -> LicenseAcceptance | None:
    """The acceptance called `name`, or the one that counts in its place; None if there is none.

    One in state `Superseded` only if successors lead in a circle.
    """
    found, seen = _called(acceptances, name), set[str]()
    while found is not None and found.spec.state is AcceptanceState.SUPERSEDED and found.metadata.name not in seen:
        seen.add(found.metadata.name)
        found = _called(acceptances, found.spec.superseded_by)
    return found


def last_named(acceptances: Iterable[LicenseAcceptance], name: str | None) -> str | None:
    """Name of the acceptance that counts in place of the one called `name`, also of one that is not among `acceptances`."""
    seen = set[str | None]()
    while (found := _called(acceptances, name)) is not None and found.spec.state is AcceptanceState.SUPERSEDED:
        if name in seen:
            break
        seen.add(name)
        name = found.spec.superseded_by
    return name


def _called(acceptances: Iterable[LicenseAcceptance], name: str | None) -> LicenseAcceptance | None:
    return next((acceptance for acceptance in acceptances if acceptance.metadata.name == name), None)


def ended_on(acceptance: LicenseAcceptance) -> str | None:
    """Day on which the license of a terminated acceptance ended; None if it does not say so.

    Nothing ends before it was accepted: a day before that would free every acceptance between the two.
    """
    on = acceptance.spec.terminated_on
    return on if on is None or day(on) is None else max(on, acceptance.spec.accepted_on)


def day(text: str | None) -> date | None:
    """The day that `text` (`YYYY-MM-DD`) means; None for one that no calendar has."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def same_party(one: str, other: str) -> bool:
    """Whether two names mean the same entity.

    Case, spaces, punctuation and characters that cannot be seen do not count, and letters that look alike are the same.
    """
    return _party(one) == _party(other)


def same_country(one: str, other: str) -> bool:
    """Whether two codes mean the same country."""
    facts = lineage.load()
    return facts.country(one) == facts.country(other)


@lru_cache(maxsize=4096)
def _party(name: str) -> str:
    """A chain of one verdict compares the same few names some fifty times."""
    return "".join(letter for letter in signals.plain(name) if unicodedata.category(letter)[0] not in "CPZ") or name
