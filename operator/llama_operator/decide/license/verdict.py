"""The verdict of the license chain: allowed or not, why, the duties, and the evidence. Built by `chain`.

`desired` passes the duties to the serving pods; the decision log takes the evidence.
"""

from dataclasses import dataclass
from typing import Literal

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licensepolicy import Tier
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.check import Origin
from llama_serving.config import OutputTerms
from llama_serving.contract.tenants import HouseLimits

Result = Literal["Allowed", "Denied", "NotApplicable", "NotChecked"]


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a check refused."""

    reason: Reason
    """One word for programs."""
    rule: str
    """Id of the rule, for example `P1`."""
    message: str
    """Why."""
    unblock: str
    """What would unblock it."""
    clause: str = ""
    """Clause of the license that says so."""
    check: str = ""
    """Id of the check."""
    origin: Origin = "License"
    """Source of the rule."""


@dataclass(frozen=True, slots=True)
class Duties:
    """What to do while the model is served: the union over all its families."""

    families: tuple[LicenseFamily, ...] = ()
    """Facts of every family that applies, strictest first."""
    attributions: tuple[str, ...] = ()
    """Lines to be displayed prominently."""
    notices: tuple[str, ...] = ()
    """Lines of the Notice file that goes with every copy."""
    name_prefixes: tuple[str, ...] = ()
    """What the name of a model made with it has to begin with."""
    output_terms: tuple[OutputTerms, ...] = ()
    """What restricts the use of answers, strictest first; all of them apply."""
    license_files: Literal["Required", "NotRequired"] = "NotRequired"
    """Whether serving pods refuse a folder without the license files: house policy."""
    keys: Literal["Required", "NotRequired"] = "NotRequired"
    """Whether requests need an API key: house policy."""
    house_limits: HouseLimits | None = None
    """What each tenant may use in a minute: house policy; None if it says nothing."""
    rules: tuple[str, ...] = ()
    """Ids of the rules of all families."""
    guard: tuple[LicenseFamily, ...] = ()
    """Facts of every family that applies to the guard, strictest first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one check."""

    check: str
    rule: str
    result: Result


@dataclass(frozen=True, slots=True)
class Attestation:
    """A fact that no machine can check: who said it, when, and where."""

    rule: str
    statement: str
    by: str
    on: str
    acceptance: str
    """Name of the LicenseAcceptance, or of the model whose LlamaModel says it."""


@dataclass(frozen=True, slots=True)
class AcceptanceUsed:
    """A LicenseAcceptance that the verdict rests on."""

    name: str
    uid: str
    family: str
    version_date: str
    text_hashes: tuple[str, ...]
    legal_entity: str
    state: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict rests on."""

    checks: tuple[Outcome, ...] = ()
    """Every check of the chain."""
    acceptances: tuple[AcceptanceUsed, ...] = ()
    """What counts for each family; first the acceptance that the spec names."""
    attestations: tuple[Attestation, ...] = ()
    policies: tuple[str, ...] = ()
    """LicensePolicies that were judged."""
    lineage: tuple[str, ...] = ()
    """Steps of the lineage, and what names and shape imply, in sentences."""
    text_hashes: tuple[str, ...] = ()
    """Hashes of the license and policy texts that count for the model's families, sorted."""
    model_digest: str = ""
    """Digest of the LlamaModel; empty for catalog entries."""
    source: str = ""
    """Where the weights are."""


@dataclass(frozen=True, slots=True)
class LicenseVerdict:
    """Outcome of the chain."""

    allowed: bool
    tier: Tier
    """Tier of the strictest family; `Unresolved` when the lineage is not known."""
    families: tuple[str, ...]
    reason: Reason
    message: str
    denials: tuple[Denial, ...] = ()
    duties: Duties = Duties()
    evidence: Evidence = Evidence()
    drain: bool = False
    """The right to what runs has ended: it is drained, scaled to zero, and its cached weights are deleted. No other refusal
    touches what runs."""
