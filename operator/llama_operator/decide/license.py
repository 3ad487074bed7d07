"""The license chain: ordered, named, pure checks; the first denial decides, all of them are kept for `explain`.

Called by `decide.decision`. The terms are data (`catalog`), the rule ids are those of docs/licenses.md. The chain
enforces rules and records evidence; it gives no legal advice.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, Purpose
from llama_operator.catalog.licenses import LicenseFamily


@dataclass(frozen=True, slots=True)
class LicenseInput:
    """What the chain judges."""

    model: str
    families: tuple[LicenseFamily, ...]
    """License families whose duties apply together; empty when the lineage is unresolved."""
    license: LicenseSpec
    namespace: str
    acceptance: LicenseAcceptance | None
    """The acceptance that the spec names, if it exists."""
    looked_up: bool
    """Whether anybody looked for it; False in a plan without a cluster."""

    @property
    def needing_acceptance(self) -> tuple[str, ...]:
        """Ids of the families that must be accepted."""
        return tuple(family.id for family in self.families if family.acceptance_required)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a check refused.

    Attributes:
        reason: One word for programs.
        rule: Id of the rule, for example `P1`.
        message: Why, with the clause it rests on.
        unblock: What would unblock it.
    """

    reason: Reason
    rule: str
    message: str
    unblock: str


@dataclass(frozen=True, slots=True)
class LicenseVerdict:
    """Outcome of the chain."""

    allowed: bool
    tier: str
    """Tier of the strictest family; `Unresolved` when there is none."""
    families: tuple[str, ...]
    reason: Reason
    message: str
    denials: tuple[Denial, ...] = ()


Check = Callable[[LicenseInput], Denial | None]


def lineage_resolved(given: LicenseInput) -> Denial | None:
    """P2: the license family is derived from the lineage; unresolved is refused."""
    if given.families:
        return None
    return Denial(
        Reason.LINEAGE_UNRESOLVED,
        "P2",
        f"the license of {given.model} is not resolved",
        "ask the platform owner to add the model with its lineage to the catalog",
    )


def acceptance_named(given: LicenseInput) -> Denial | None:
    """P1: a model under a license of its own needs a recorded acceptance."""
    if not given.needing_acceptance or given.license.acceptance is not None:
        return None
    return Denial(
        Reason.ACCEPTANCE_MISSING,
        "P1",
        f"{given.model} is under {_titles(given)}, which must be accepted before use",
        f"create a LicenseAcceptance for {', '.join(given.needing_acceptance)} and name it in spec.license.acceptance",
    )


def acceptance_exists(given: LicenseInput) -> Denial | None:
    """P1: the named acceptance exists."""
    named = given.license.acceptance
    if not given.needing_acceptance or named is None or not given.looked_up or given.acceptance is not None:
        return None
    return Denial(
        Reason.ACCEPTANCE_NOT_FOUND,
        "P1",
        f"LicenseAcceptance {named} does not exist",
        f"create it (cluster-scoped, families: {', '.join(given.needing_acceptance)}), or correct spec.license.acceptance",
    )


def acceptance_holds(given: LicenseInput) -> Denial | None:
    """P20: a terminated acceptance allows nothing new."""
    record = given.acceptance
    if not given.needing_acceptance or record is None or record.spec.state is AcceptanceState.ACCEPTED:
        return None
    return Denial(
        Reason.ACCEPTANCE_TERMINATED,
        "P20",
        f"LicenseAcceptance {record.metadata.name} is terminated",
        "stop using the model, or record a new acceptance",
    )


def acceptance_covers_namespace(given: LicenseInput) -> Denial | None:
    """P23: the licensee is the legal entity behind the namespace."""
    record = given.acceptance
    if not given.needing_acceptance or record is None or given.namespace in record.spec.namespaces:
        return None
    return Denial(
        Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED,
        "P23",
        f"LicenseAcceptance {record.metadata.name} covers {', '.join(record.spec.namespaces)}, not {given.namespace}",
        "have the namespace added to the acceptance, or deploy to one that it covers",
    )


def acceptance_covers_families(given: LicenseInput) -> Denial | None:
    """P2: acceptance of another license or version does not count."""
    record = given.acceptance
    if record is None:
        return None
    missing = [family for family in given.needing_acceptance if family not in record.spec.families]
    if not missing:
        return None
    return Denial(
        Reason.ACCEPTANCE_FAMILY_NOT_COVERED,
        "P2",
        f"LicenseAcceptance {record.metadata.name} is for {', '.join(record.spec.families)}; "
        f"{given.model} needs {', '.join(missing)}",
        f"record the acceptance of {', '.join(missing)}",
    )


def research_only(given: LicenseInput) -> Denial | None:
    """P4: LLaMA 1 and what derives from it is for non-commercial research alone."""
    restricted = [family.title for family in given.families if family.research_only]
    if not restricted or given.license.purpose is Purpose.NON_COMMERCIAL_RESEARCH:
        return None
    return Denial(
        Reason.RESEARCH_ONLY,
        "P4",
        f"{restricted[0]} allows non-commercial research alone; spec.license.purpose is {given.license.purpose}",
        "set spec.license.purpose to NonCommercialResearch if that is true, or choose another model",
    )


CHAIN: tuple[Check, ...] = (
    lineage_resolved,
    research_only,
    acceptance_named,
    acceptance_exists,
    acceptance_holds,
    acceptance_covers_namespace,
    acceptance_covers_families,
)
"""The checks in the order in which they are reported."""


def judge(given: LicenseInput) -> LicenseVerdict:
    """Run the whole chain; the first denial gives reason and message."""
    denials = tuple(denial for check in CHAIN if (denial := check(given)) is not None)
    tier = max(given.families, key=lambda family: family.strictness).tier if given.families else "Unresolved"
    families = tuple(family.id for family in given.families)
    if denials:
        first = denials[0]
        message = f"{first.message} (rule {first.rule}); to unblock: {first.unblock}"
        return LicenseVerdict(
            allowed=False, tier=tier, families=families, reason=first.reason, message=message, denials=denials
        )
    if not given.needing_acceptance:
        return LicenseVerdict(
            allowed=True,
            tier=tier,
            families=families,
            reason=Reason.LICENSE_NOT_NEEDED,
            message=f"{given.model} needs no acceptance",
        )
    if given.acceptance is None:
        return LicenseVerdict(
            allowed=True,
            tier=tier,
            families=families,
            reason=Reason.ACCEPTANCE_NOT_CHECKED,
            message=f"LicenseAcceptance {given.license.acceptance} was not looked up: add its manifest to the files, "
            "or ask the cluster",
        )
    return LicenseVerdict(
        allowed=True,
        tier=tier,
        families=families,
        reason=Reason.LICENSE_ALLOWED,
        message=f"LicenseAcceptance {given.acceptance.metadata.name} covers it",
    )


def _titles(given: LicenseInput) -> str:
    return " and ".join(family.title for family in given.families if family.acceptance_required)
