"""Types that several resources share: names, dates and hashes, within the bounds that Kubernetes asks of an API.

Used by `licenseacceptance`, `licensepolicy`, `llamamodel` and `llamadeployment`.
"""

from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import Condition, StatusModel

Date = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", min_length=10, max_length=10)]
"""A day, `YYYY-MM-DD`."""
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}$", min_length=7, max_length=7)]
"""A calendar month, `YYYY-MM`."""
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", min_length=2, max_length=2)]
"""A country by its ISO 3166 alpha-2 code, for example `DE`."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", min_length=64, max_length=64)]
"""SHA-256 in 64 hexadecimal digits."""
ObjectName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""Id of a catalog entry, or name of one of our own objects, by which another object names it."""
Namespace = Annotated[str, Field(min_length=1, max_length=63)]
"""Name of a namespace."""
FamilyId = Annotated[str, Field(min_length=1, max_length=63)]
"""Id of a license family of the catalog, for example `llama-3.3`."""
LETTER_OR_DIGIT = r"[\p{L}\p{N}]"
"""Pattern of a text that people can read: a letter or a digit of any script is in it."""
Party = Annotated[str, Field(min_length=1, max_length=256, pattern=LETTER_OR_DIGIT)]
"""A person or a legal entity: with a letter or a digit, of any script, that people can see."""
RecordName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""Name of a LicenseAcceptance."""

MAX_FAMILIES = 16
MAX_NAMESPACES = 256
MAX_PURPOSES = 3


class ConditionedStatus(StatusModel):
    """What each of these resources reports."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """Generation of the spec that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] = ()
    """Conditions by type."""
