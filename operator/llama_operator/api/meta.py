"""What every custom resource of this group shares: base model, object metadata, conditions.

Used by the versioned models (`api.v1alpha1`) and by `status`, the only room that makes conditions.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

GROUP = "llama-operator.io"
VERSION = "v1alpha1"
API_VERSION: Literal["llama-operator.io/v1alpha1"] = "llama-operator.io/v1alpha1"

LABEL_DEPLOYMENT = f"{GROUP}/deployment"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_ACCESS_CHECK = f"{GROUP}/preflight"
"""On the Job and the pods of an access check; its value is the Job's name. The text stays: live objects carry it."""
LABEL_WEIGHTS = f"{GROUP}/weights"
"""On the claim of a copy of weights, on its Jobs and on their pods; its value is the name of the copy."""
ANNOTATION_WEIGHTS_SOURCE = f"{GROUP}/weights-source"
"""On a claim: where its copy comes from, as JSON. On a Job: the whole copy."""
ANNOTATION_WEIGHTS_COPIED = f"{GROUP}/weights-copied"
"""On a claim: what a Job has verified in it, as JSON."""
ANNOTATION_WEIGHTS_ERASED = f"{GROUP}/weights-erased"
"""On a claim: what a Job has erased from it, as JSON."""
ANNOTATION_WEIGHTS_TASK = f"{GROUP}/weights-task"
"""On a Job: `copy` or `erase`."""
USER_PREFIX = f"{GROUP}/user."
"""Annotations of a claim that begin with it name a LlamaDeployment that uses the claim. Their value is its uid, and behind that the
word `Retain` if it says that the claim is to stay."""
ANNOTATION_ATTEMPT = f"{GROUP}/attempt"
ANNOTATION_ADMITTED_AT = f"{GROUP}/admitted-at"
"""On a ControllerRevision: since when its pods may start, where a queue held them back. Its deadline begins then."""
ANNOTATION_TAKES_OVER = f"{GROUP}/takes-over"
"""On a ControllerRevision: with how many replicas it begins under a load, until it serves and the one before it has ended."""
ANNOTATION_SUBJECT = f"{GROUP}/subject"
ANNOTATION_WEIGHTS_CHECKED_AT = f"{GROUP}/weights-checked-at"
ANNOTATION_SERVED_AT = f"{GROUP}/served-at"
ANNOTATION_FAILED_AT = f"{GROUP}/failed-at"
ANNOTATION_FAILURE = f"{GROUP}/failure"
ANNOTATION_STRATEGY = f"{GROUP}/strategy"
ANNOTATION_STRATEGY_REASON = f"{GROUP}/strategy-reason"
ANNOTATION_LICENSE = f"{GROUP}/license"
"""On a ControllerRevision: what the spec declared about the license while it asked for that revision, as JSON."""
ANNOTATION_LICENSE_FAMILIES = f"{GROUP}/license-families"
"""On a ControllerRevision: license families that had to be accepted when it was allowed last, parted by spaces."""
ANNOTATION_LICENSE_END = f"{GROUP}/license-end"
"""On a ControllerRevision: when and by which record the right to its model ended, as JSON."""
ANNOTATION_LIVE = f"{GROUP}/live-settings"
"""Live settings that a revision last got from a spec without a problem; absent while it shall not run."""
ANNOTATION_COPY_OF = f"{GROUP}/copy-of"
"""On a ControllerRevision: the revision of which it is a second copy, because the node of a head was about to be emptied."""
ANNOTATION_TRAFFIC_SINCE = f"{GROUP}/traffic-since"
ANNOTATION_LISTED_AT = f"{GROUP}/listed-at"
"""On the operator's Lease: when it last listed every kind that it watches."""
ANNOTATION_LISTS_AGAIN_AT = f"{GROUP}/lists-again-at"
"""On the operator's Lease: when it lists all of them again, at the latest."""
ANNOTATIONS = frozenset(value for name, value in list(globals().items()) if name.startswith("ANNOTATION_"))
"""Annotations that this version writes on what it creates. Others of the group are the memory of a newer version: they stay."""

_ACRONYMS = {"Url": "URL", "Gpus": "GPUs", "Gpu": "GPU", "Mib": "MiB"}


def api_name(field: str) -> str:
    """Return the API name of a Python field: camelCase, with acronyms in capitals (`max_gpus` -> `maxGPUs`)."""
    # A Python keyword has an underscore behind it.
    name = to_camel(field).removesuffix("_")
    for plain, capitals in _ACRONYMS.items():
        if name.endswith(plain):
            return name.removesuffix(plain) + capitals
    return name


class ApiModel(BaseModel):
    """Base of all API types: immutable, closed to unknown fields, camelCase outside and snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=api_name,
        validate_by_name=True,
        validate_by_alias=True,
        # A string is not a number: we refuse what the API server would refuse.
        strict=True,
        # A process that uses one kind of object need not build the validators of all of them.
        defer_build=True,
    )

    def to_api(self) -> dict[str, Any]:
        """Render as the JSON that a person would write: API names, no unset optionals."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(ApiModel):
    """Base of status types: only the operator writes them, and it may read those of another version."""

    model_config = ConfigDict(extra="ignore", strict=False)


class ObjectMeta(ApiModel):
    """The part of metadata that the operator reads. The API server owns the rest."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[str, Field(max_length=63)] = "default"
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None


class ConditionStatus(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


def rfc3339(moment: datetime) -> str:
    """Write a UTC time as Kubernetes does, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
"""A moment, in UTC with whole seconds on the wire, as Kubernetes writes it."""


class Condition(StatusModel):
    """One observation about the current generation (a `metav1.Condition`)."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Name of the condition, unique in the list."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)]
    """Generation of the spec that this was observed for."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, as one CamelCase word that programs may rely on."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people, with what would unblock it."""
