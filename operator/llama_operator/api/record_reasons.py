"""Condition types and reasons of the license records: LlamaModel, LicenseAcceptance and LicensePolicy.

Used only by `status.license_records`; docs/reference/conditions.md is generated from here.
"""

from enum import StrEnum


class RecordCondition(StrEnum):
    """Condition types of the license records."""

    RESOLVED = "Resolved"
    """LlamaModel: the whole lineage is known, and nothing contradicts it."""
    PLANNABLE = "Plannable"
    """LlamaModel: enough is known about its shape to plan it, and the engine can load it."""
    VALID = "Valid"
    """LicenseAcceptance: what it records fits the license version that it names. The conditions of a deployment say
    whether it covers that deployment."""
    REVIEW_DUE = "ReviewDue"
    """LicenseAcceptance: the acceptable use policy has to be read again (abnormal when True)."""
    GRANT_ENDING = "GrantEnding"
    """LicenseAcceptance: its grant of Meta ends within 30 days or has ended (abnormal; only there when True)."""
    CONTRADICTED = "Contradicted"
    """LicenseAcceptance: another record of the same entity says something else about the same fact (abnormal; only there when
    True)."""
    WEIGHTS_DELETED = "WeightsDeleted"
    """LicenseAcceptance, once terminated: whether all copies of the weights are known to be gone."""
    IN_FORCE = "InForce"
    """LicensePolicy: its house rules apply, together with those of all other policies."""


class RecordReason(StrEnum):
    """Reasons of the license records' conditions."""

    INVALID_SPEC = "InvalidSpec"
    """The spec breaks a rule of this version that the API server did not check; the message names the fields."""
    INTERNAL_ERROR = "InternalError"
    """The operator failed unexpectedly when it judged the record, and tries again; its log has the trace."""

    LINEAGE_RESOLVED = "LineageResolved"
    """Every ancestor is known; the message names the license families."""
    LINEAGE_UNRESOLVED = "LineageUnresolved"
    """An ancestor or a license is not known, or a name or a shape contradicts what is declared; the model is refused."""
    SHAPE_KNOWN = "ShapeKnown"
    """Its shape is declared, or it is that of its base."""
    SHAPE_UNKNOWN = "ShapeUnknown"
    """Its shape is not known; the message names the fields."""
    NOT_SERVED = "NotServed"
    """The engine cannot load what is declared; the message says why and what to do. Its license is judged, and others may come
    from it."""

    RECORDED = "Recorded"
    """Version and texts are those of the families."""
    FAMILY_UNKNOWN = "FamilyUnknown"
    """The catalog has no such license family."""
    VERSION_MISSING = "VersionMissing"
    """spec.versionDate is not set."""
    VERSION_MISMATCH = "VersionMismatch"
    """spec.versionDate is the date of none of the families."""
    TEXT_MISSING = "TextMissing"
    """spec.textHashes has no text of one of the families."""
    TEXT_UNKNOWN = "TextUnknown"
    """A hash in spec.textHashes is that of no known license text or policy."""
    SUPERSEDED = "Superseded"
    """spec.state is Superseded: the record in spec.supersededBy counts in its place."""
    WITHDRAWN = "Withdrawn"
    """spec.state is Withdrawn: nothing starts on it any more."""
    TERMINATED = "Terminated"
    """spec.state is Terminated: no deployment may rely on it."""
    REVIEW_OVERDUE = "ReviewOverdue"
    """spec.reviewDueOn is today or earlier."""
    REVIEW_PLANNED = "ReviewPlanned"
    """spec.reviewDueOn is in the future."""
    REVIEW_NOT_PLANNED = "ReviewNotPlanned"
    """spec.reviewDueOn is not set."""
    GRANT_ENDS_SOON = "GrantEndsSoon"
    """The last day of the grant is near; the message says which deployments stop after it."""
    GRANT_ENDED = "GrantEnded"
    """The last day of the grant is over."""
    STRICTER_COUNTS = "StricterCounts"
    """The message names the other record, the field, and what counts: the stricter of the two."""
    DELETION_CONFIRMED = "DeletionConfirmed"
    """spec.deletionConfirmed says who confirmed it, when, and what was deleted."""
    COPIES_ERASED = "CopiesErased"
    """All deployments that name the record read copies that the operator made, and Jobs have erased all of them."""
    NOT_RECORDED = "NotRecorded"
    """The operator cannot see copies of weights that others made; the message says who has to delete what, and what it erased itself."""

    NOT_UNDERSTOOD = "NotUnderstood"
    """The record has a value that this version of the operator does not know. Nothing new starts on its ground, and what
    runs goes on; the message names the field."""

    HOUSE_POLICY = "HousePolicy"
    """The policy applies. Its rules are house policy, not license text."""
    ACCEPTANCES_MISSING = "AcceptancesMissing"
    """The policy applies, and names LicenseAcceptances that do not exist."""
