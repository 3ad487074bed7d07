"""The `LicensePolicy` resource: what the platform owner allows for each license tier. House rules, never license text.

Read by `decide.license` and by the admission policies. All policies that exist apply together; each can only take away.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from llama_operator.api.meta import API_VERSION, ApiModel, ObjectMeta
from llama_operator.api.v1alpha1.common import (
    MAX_NAMESPACES,
    MAX_PURPOSES,
    ConditionedStatus,
    Country,
    Namespace,
    Party,
)
from llama_operator.api.v1alpha1.llamadeployment import Purpose

ResourceName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]


ImagePattern = Annotated[
    str,
    Field(
        min_length=3,
        max_length=512,
        pattern=r"^[a-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9._:@-]+)*([A-Za-z0-9]|/\*|/[a-z0-9._-]+[:@]\*)$",
    ),
]
"""A whole image reference, or a prefix that ends with `/*`, `:*` or `@*`."""


class LicenseTier(StrEnum):
    """The set of duties that a license family brings, from the fewest to the most (docs/licenses.md)."""

    OTHER_LICENSE = "OtherLicense"
    """Not a Llama license: the operator checks nothing."""
    COMMUNITY_LLAMA_2 = "CommunityLlama2"
    """Limit of monthly active users, acceptable use, no training of other models."""
    COMMUNITY_LLAMA_31_PLUS = "CommunityLlama31Plus"
    """Attribution and name rule; training other models is allowed under that name rule."""
    COMMUNITY_LLAMA_3 = "CommunityLlama3"
    """Attribution and name rule, and no training of other models."""
    NON_COMMERCIAL_RESEARCH = "NonCommercialResearch"
    """Only research."""


UNRESOLVED: Final = "Unresolved"
"""Stands for the tier of a model whose lineage or license text is unknown. The operator refuses it; no family has it."""

Tier = LicenseTier | Literal["Unresolved"]
"""Tier of a model."""


class Requirement(StrEnum):
    """Whether something is required."""

    REQUIRED = "Required"
    NOT_REQUIRED = "NotRequired"


class Permission(StrEnum):
    """Whether something is allowed."""

    ALLOWED = "Allowed"
    REFUSED = "Refused"


class UnknownAcceptances(StrEnum):
    """What happens to a deployment that names an acceptance that the operator has not seen."""

    REFUSED = "Refused"
    REPORTED = "Reported"


class TierPolicy(ApiModel):
    """House rules for the models of one tier: house policy, not license text."""

    tier: LicenseTier
    """The tier that this entry is about."""
    namespaces: Annotated[tuple[Namespace, ...], Field(max_length=MAX_NAMESPACES, strict=False)] = ()
    """Namespaces that may use it; empty for all."""
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=MAX_PURPOSES, strict=False)] = ()
    """Purposes it may be used for; empty for all."""
    acceptances: Annotated[tuple[ResourceName, ...], Field(max_length=256, strict=False)] = ()
    """LicenseAcceptances that may be named for it; empty for all that exist."""
    max_gpus: Annotated[int, Field(ge=0, le=65_536)] | None = None
    """Upper limit on the GPUs of one deployment, all replicas together."""
    max_replicas: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Upper limit on the replicas of one deployment."""
    require_guard: Requirement = Requirement.NOT_REQUIRED
    """Whether a deployment must have a guard model in front of it: `spec.guard` in mode `Block`, or one elsewhere that
    `spec.license.guardModel` names."""
    require_keys: Requirement = Requirement.NOT_REQUIRED
    """Whether a deployment must ask for API keys. `access.mode` `Auto` then means `Keys`, whatever the purpose is, and `Open` is
    refused."""
    max_requests_per_minute: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most requests that each tenant may send to a deployment in a minute, whether `tenants` lists it or not; a lower limit of
    the deployment counts. Only the path `Direct` counts requests, so `endpoint.path` `Ingress` is refused."""
    max_tokens_per_minute: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = None
    """The same for tokens of prompts and answers together."""
    reattestation_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Days after which the number of monthly active users must be attested again. The licenses themselves count one fixed
    month."""


class Licensee(ApiModel):
    """The one legal entity that uses this cluster, if there is one."""

    legal_entity: Party
    """Its name, as it is in the LicenseAcceptances."""
    domicile: Country | None = None
    """Where it is domiciled or has its principal place of business, as ISO 3166 alpha-2 code."""


class TradeList(ApiModel):
    """House rules for trade control. The operator has no trade control list of its own."""

    refused_countries: Annotated[tuple[Country, ...], Field(max_length=256, strict=False)] = ()
    """Countries whose licensees are refused."""
    max_check_age_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Days after which `tradeListCheckedOn` of an acceptance is too old; if it is not set, no check is required."""


class LicensePolicySpec(ApiModel):
    """What this house, the organization that runs the cluster, allows. It may be stricter than a license, never looser."""

    tiers: Annotated[tuple[TierPolicy, ...], Field(max_length=16, strict=False)] = ()
    """Rules for each tier; at most one entry for a tier."""
    unlisted_tiers: Permission = Permission.REFUSED
    """Whether tiers without an entry are allowed. `OtherLicense` without an entry always is."""
    unknown_acceptances: UnknownAcceptances = UnknownAcceptances.REFUSED
    """Whether admission refuses a deployment that names a LicenseAcceptance which the operator has not seen. Apply the
    acceptance first, and the deployment a second later. `Reported` admits it: nothing starts, and its conditions say why."""
    licensee: Licensee | None = None
    """Entity and domicile that acceptances must name; not set in a cluster of several entities."""
    served_license_files: Requirement = Requirement.NOT_REQUIRED
    """Whether serving pods refuse a model folder that lacks the license files that its families ask for."""
    images: Annotated[tuple[ImagePattern, ...], Field(max_length=64, strict=False)] = ()
    """Images that `spec.image` of a deployment may name; empty for any. An entry is a whole reference as the deployment
    writes it (`registry.example.com/serving:1.2`, no registry is added), or it ends with `/*` (everything below that path),
    `:*` (every tag of that repository) or `@*` (every digest of it). The image of the operator's own setting is always
    allowed."""
    trade_list: TradeList = TradeList()
    """Trade control."""


class LicensePolicyStatus(ConditionedStatus):
    """What the operator found in the policy."""

    tiers: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=16)] = ()
    """Tiers that it has rules for."""
    acceptances: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=4096)] | None = None
    """LicenseAcceptances that exist: admission reads them here, because it cannot look elsewhere."""


class LicensePolicy(ApiModel):
    """What the platform owner allows for each license tier: house policy, not license text."""

    api_version: Literal["llama-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["LicensePolicy"] = "LicensePolicy"
    metadata: ObjectMeta
    spec: LicensePolicySpec
    """What is allowed."""
    status: LicensePolicyStatus | None = None
    """What the operator found."""
