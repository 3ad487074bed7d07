"""Compares an acceptance with a license: is it about this version, and about this text? Pure.

The one judgment for the license chain (`rules.acceptance`) and for the status of LicenseAcceptances
(`status.license_records`); each says it in its own words.
"""

from collections.abc import Iterable

from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptanceSpec
from llama_operator.catalog.licenses import LicenseFamily


def version_fits(acceptance: LicenseAcceptanceSpec, family: LicenseFamily) -> bool:
    """Whether the acceptance is about this version of the license.

    Of LLaMA 1 only the year is known: an acceptance of it needs no version date.
    """
    known = family.version_date or ""
    if acceptance.version_date is None:
        return len(known) < len("YYYY-MM-DD")
    return acceptance.version_date.startswith(known)


def text_is_named(acceptance: LicenseAcceptanceSpec, family: LicenseFamily) -> bool:
    """Whether the acceptance names a text of the license, if it has to.

    It need not if the licensor publishes no copy, as of LLaMA 1, or if the catalog knows no text.
    """
    accepted, known = set(acceptance.text_hashes), set(family.license_text_hashes)
    needed = known and (accepted or family.license_text_sha256)
    return not needed or bool(accepted & known)


def unknown_texts(acceptance: LicenseAcceptanceSpec, families: Iterable[LicenseFamily]) -> tuple[str, ...]:
    """Hashes in the acceptance that belong to no license and no use policy of `families`, in its order."""
    known = {text for family in families for text in family.license_text_hashes + family.policy_text_hashes}
    return tuple(text for text in acceptance.text_hashes if text not in known)
