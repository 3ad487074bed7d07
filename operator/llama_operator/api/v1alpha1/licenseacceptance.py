"""The `LicenseAcceptance` resource: a cluster-scoped record that a legal entity accepted one license version.

Read by `decide.license`. It is evidence, not the act of acceptance itself, and no legal advice.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.api.meta import API_VERSION, ApiModel, ObjectMeta


class AcceptanceState(StrEnum):
    """Whether the acceptance still holds."""

    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"


class LicenseAcceptanceSpec(ApiModel):
    """Who accepted which license, and for which namespaces."""

    families: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...], Field(min_length=1, max_length=16, strict=False)
    ]
    """License families accepted, for example `llama-3.3`; a model under several needs them all."""
    legal_entity: Annotated[str, Field(min_length=1, max_length=256)]
    """Legal entity that accepted."""
    accepted_by: Annotated[str, Field(min_length=1, max_length=256)]
    """Person who accepted for the entity."""
    accepted_on: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", min_length=10, max_length=10)]
    """Date of acceptance, `YYYY-MM-DD`."""
    evidence: Annotated[str, Field(max_length=1024)] = ""
    """Where the proof is kept: a ticket, a document number."""
    namespaces: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...],
        Field(min_length=1, max_length=256, strict=False),
    ]
    """Namespaces whose deployments it covers."""
    state: AcceptanceState = AcceptanceState.ACCEPTED
    """`Terminated` refuses new deployments at once."""


class LicenseAcceptance(ApiModel):
    """A record that a legal entity accepted a license. It is evidence, not legal advice."""

    api_version: Literal["llama-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["LicenseAcceptance"] = "LicenseAcceptance"
    metadata: ObjectMeta
    spec: LicenseAcceptanceSpec
    """What was accepted, by whom."""
