"""The `LicenseAcceptance` resource: a cluster-scoped record that a legal entity accepted one license version.

Read by `decide.license`, watched by the operator, judged by admission policies. It is evidence, not the act of
acceptance itself, and no legal advice. What was accepted cannot change afterwards (`api.rules`): another text, another
entity or another count needs another LicenseAcceptance.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.api.meta import API_VERSION, ApiModel, ObjectMeta
from llama_operator.api.v1alpha1.common import (
    LETTER_OR_DIGIT,
    MAX_FAMILIES,
    MAX_NAMESPACES,
    MAX_PURPOSES,
    ConditionedStatus,
    Country,
    Date,
    FamilyId,
    Month,
    Namespace,
    Party,
    RecordName,
    Sha256,
)
from llama_operator.api.v1alpha1.llamadeployment import Purpose


class AcceptanceState(StrEnum):
    """Whether the acceptance still holds."""

    ACCEPTED = "Accepted"
    """It holds."""
    SUPERSEDED = "Superseded"
    """Another record says the same in better words: `supersededBy` names it, and it counts in place of this one. Nothing stops."""
    WITHDRAWN = "Withdrawn"
    """Nothing needs it any more, for example because its namespaces have closed. Nothing stops, and nothing starts on it."""
    TERMINATED = "Terminated"
    """The license has ended: what rests on it is drained and stopped."""


class Receipt(StrEnum):
    """How the licensee got the model."""

    LICENSEE = "Licensee"
    INTEGRATED_END_USER_PRODUCT = "IntegratedEndUserProduct"


class MonthlyActiveUsers(ApiModel):
    """Attested number of users of the licensee and its affiliates, in the month that the license fixes."""

    month: Month
    """Calendar month that was counted, `YYYY-MM`: the one before the license version was released."""
    count: Annotated[int, Field(ge=0, le=100_000_000_000)]
    """Monthly active users of all products and services of the licensee and its affiliates together."""
    attested_by: Party
    """Person who attested it."""
    attested_on: Date
    """Day of the attestation, `YYYY-MM-DD`."""


class MetaGrant(ApiModel):
    """A license that Meta granted expressly; a licensee above the limit of monthly active users needs one."""

    reference: Annotated[str, Field(min_length=1, max_length=1024, pattern=LETTER_OR_DIGIT)]
    """Where the document is kept, for example its number."""
    granted_on: Date
    """First day on which it holds, `YYYY-MM-DD`."""
    expires_on: Date | None = None
    """Last day on which it holds, `YYYY-MM-DD`; leave it out if it has no end."""


class DeletionConfirmed(ApiModel):
    """What a person says about copies of the weights after the license has ended. The operator cannot see them."""

    confirmed_by: Party
    """Person who confirms it."""
    confirmed_on: Date
    """Day of the confirmation, `YYYY-MM-DD`: the day of `terminatedOn` or a later one."""
    what: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"\S")]
    """What was deleted and where: volumes, buckets, node caches, images, mirrors."""
    evidence: Annotated[str, Field(max_length=1024)] = ""
    """Where the proof is kept, for example a ticket or a document number."""


class LicenseAcceptanceSpec(ApiModel):
    """Who accepted which license, and for which namespaces.

    Only `namespaces`, `reviewDueOn`, `state` and what belongs to a state may change after creation.
    """

    families: Annotated[tuple[FamilyId, ...], Field(min_length=1, max_length=MAX_FAMILIES, strict=False)]
    """License families that were accepted, for example `llama-3.3`. A model under several families needs all of them."""
    version_date: Date | None = None
    """Date of the license version that was accepted, `YYYY-MM-DD`, as written in the license text."""
    text_hashes: Annotated[tuple[Sha256, ...], Field(max_length=32, strict=False)] = ()
    """SHA-256 of each text that was accepted (license, acceptable use policy), normalized as docs/licenses.md says."""
    legal_entity: Party
    """Legal entity that accepted: the licensee."""
    domicile: Country | None = None
    """Where the licensee is domiciled or has its principal place of business, as ISO 3166 alpha-2 code. Some families
    grant multimodal models to no licensee in the European Union. Where nodes and end users are does not matter."""
    received_as: Receipt = Receipt.LICENSEE
    """`IntegratedEndUserProduct` if the licensee received the model as part of a product for end users: then the limit of
    monthly active users does not apply."""
    accepted_by: Party
    """Person who accepted for the entity."""
    accepted_on: Date
    """Date of acceptance, `YYYY-MM-DD`."""
    evidence: Annotated[str, Field(max_length=1024)] = ""
    """Where the proof is kept, for example a ticket or a document number."""
    namespaces: Annotated[tuple[Namespace, ...], Field(min_length=1, max_length=MAX_NAMESPACES, strict=False)]
    """Namespaces whose deployments it covers; all of them belong to the legal entity."""
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=MAX_PURPOSES, strict=False)] = ()
    """Purposes it covers; empty for all that the license allows."""
    monthly_active_users: MonthlyActiveUsers | None = None
    """Attested number of monthly active users."""
    meta_grant: MetaGrant | None = None
    """License that Meta granted expressly, if the number needs one."""
    trade_list_checked_on: Date | None = None
    """When the licensee was last checked against trade control lists, `YYYY-MM-DD`."""
    review_due_on: Date | None = None
    """When the acceptable use policy has to be read again, `YYYY-MM-DD`: its text may change at the same URL."""
    state: AcceptanceState = AcceptanceState.ACCEPTED
    """`Superseded` corrects a record: the one in `supersededBy` counts in its place. `Withdrawn` retires it. `Terminated` says
    that the license has ended: it drains and stops every deployment that rests on this record. None leads back to `Accepted`;
    a withdrawn record may still be superseded or terminated."""
    superseded_by: RecordName | None = None
    """Name of the LicenseAcceptance that counts in place of this one, in state `Superseded`."""
    terminated_on: Date | None = None
    """When it ended, `YYYY-MM-DD`. A day before `acceptedOn` counts as that day."""
    deletion_confirmed: DeletionConfirmed | None = None
    """Who confirmed, after the license ended, that the copies of the weights are gone. Only in state `Terminated`; it is
    evidence and cannot be changed once it is set."""


class LicenseAcceptanceStatus(ConditionedStatus):
    """What the operator found in the acceptance."""

    models: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=1024)] = ()
    """LlamaModels under a license that it accepts."""
    deployments: Annotated[int, Field(ge=0, le=9_007_199_254_740_991)] = 0
    """LlamaDeployments that rest on it: they name it or one that it supersedes, or it counts beside the one that they name."""
    used_by: Annotated[tuple[Annotated[str, Field(max_length=127)], ...], Field(max_length=64)] = ()
    """LlamaDeployments that rest on it, as `namespace/name`, sorted; the first 64."""
    first_named_on: Date | None = None
    """Day on which a LlamaDeployment first rested on it, `YYYY-MM-DD` in UTC. From then on it is evidence and cannot be
    deleted."""


class LicenseAcceptance(ApiModel):
    """A record that a legal entity accepted a license. It is evidence, not legal advice."""

    api_version: Literal["llama-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["LicenseAcceptance"] = "LicenseAcceptance"
    metadata: ObjectMeta
    spec: LicenseAcceptanceSpec
    """What was accepted, and by whom."""
    status: LicenseAcceptanceStatus | None = None
    """What the operator found."""
