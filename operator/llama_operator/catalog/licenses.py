"""Facts about license families: who may use a model, what must be shown, what its output may be used for.

The data is in `data/licenses.json`; `decide.license` turns it into checks whose ids are those of `rules`. It holds
only short facts and the one-line notices that the licenses ask for; the texts come with the weights. This is a record of
terms for machines, not legal advice.
"""

from typing import Annotated

from pydantic import Field

from llama_operator.api.v1alpha1.licensepolicy import LicenseTier
from llama_operator.catalog.models import Count, Fact, Name
from llama_serving.config import OutputTerms

TextHash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""First 16 hexadecimal digits of the SHA-256 of a text as published. Copies differ in quotes and line ends: these
hashes only show the origin; compare the normalized ones."""

NormalizedHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of the normalized text (`llama_serving.licenses.text`): what an acceptance must name."""


class LicenseFamily(Fact):
    """One license version, and what follows from it."""

    id: Name
    title: str
    version_date: Annotated[str, Field(pattern=r"^\d{4}(-\d{2}){0,2}$")] | None
    """Version or effective date, as precise as it is known."""
    tier: Annotated[LicenseTier, Field(strict=False)]
    acceptance_required: bool
    """Whether a LicenseAcceptance must exist before the model is served."""
    active_users_threshold: Count | None
    """Monthly active users of licensee and affiliates beyond which Meta must grant a license: users, not revenue."""
    active_users_month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")] | None
    """The one calendar month in which they are counted: the one before the version's release."""
    attribution: str | None
    """Line to be displayed prominently; None if the license asks for none."""
    name_prefix: str | None
    """How the name of an AI model made with it must begin; None if the license has no name rule."""
    notice: str | None
    """Line of the Notice file that goes with every copy."""
    output_use: Annotated[OutputTerms, Field(strict=False)]
    """What the license says about the use of output."""
    eu_multimodal_denied: bool
    """Whether multimodal models are not granted to licensees domiciled in the European Union (in addition to
    the tier: it binds only multimodal models, and not their end users)."""
    rules: Annotated[tuple[Annotated[str, Field(pattern=r"^P\d+$")], ...], Field(min_length=1)]
    """Ids of the rules that apply, docs/licenses.md. P5b is house policy and P17 follows from a guard's own family:
    neither is listed."""
    license_text_sha256: tuple[TextHash, ...] = ()
    policy_text_sha256: tuple[TextHash, ...] = ()
    """Acceptable use policy, which the license incorporates."""
    license_text_hashes: tuple[NormalizedHash, ...] = ()
    """Texts that count as this license; copies in other words have an entry of their own."""
    policy_text_hashes: tuple[NormalizedHash, ...] = ()
    """Texts that count as its acceptable use policy."""
    source: Annotated[tuple[str, ...], Field(min_length=1)]
    notes: str = ""

    def called(self, name: str, url: str) -> "LicenseFamily":
        """This family for one license that the list does not have, under its name and at its address."""
        return self.model_copy(update={"title": name, "source": (url,)})

    @property
    def research_only(self) -> bool:
        """Whether only non-commercial research is allowed."""
        return self.tier is LicenseTier.NON_COMMERCIAL_RESEARCH

    @property
    def strictness(self) -> int:
        """Rank of the tier: of several families that apply together, the highest names the model's tier."""
        return list(LicenseTier).index(self.tier)
