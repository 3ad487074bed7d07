"""Checks of LicensePolicies: what this house allows for each tier.

House rules, never license text. All policies apply together, and each can only take away.
"""

from collections.abc import Iterator

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, Permission, Requirement, TierPolicy
from llama_operator.catalog.licenses import Tier
from llama_operator.decide.license.check import Check, Found, in_a_house, under_acceptance_in_a_house
from llama_operator.decide.license.facts import LicenseInput, same_party
from llama_operator.decide.license.rules.acceptance import relied_on_with_leading


def governing(given: LicenseInput) -> Iterator[tuple[LicensePolicy, TierPolicy]]:
    """Entries of the policies for any tier that the model's families bring: the duties of all of them apply."""
    tiers = {str(family.tier) for family in given.model.families if family.acceptance_required}
    tiers = tiers or {str(given.model.tier)}
    for policy in given.policies:
        for entry in policy.spec.tiers:
            if str(entry.tier) in tiers:
                yield policy, entry


def _tier_allowed(given: LicenseInput) -> Found | None:
    tiers = {str(family.tier) for family in given.model.families if family.acceptance_required}
    for policy in given.policies:
        missing = sorted(tiers - {str(entry.tier) for entry in policy.spec.tiers})
        if missing and policy.spec.unlisted_tiers is Permission.REFUSED and Tier.UNRESOLVED not in missing:
            return Found(
                f"LicensePolicy {policy.metadata.name} has no entry for tier {missing[0]}",
                "ask the platform owner to allow the tier",
            )
    return None


def _namespace_allowed(given: LicenseInput) -> Found | None:
    for policy, entry in governing(given):
        if entry.namespaces and given.namespace not in entry.namespaces:
            return _refused(policy, entry, f"for {', '.join(entry.namespaces)} alone, not for {given.namespace}")
    return None


def _purpose_allowed(given: LicenseInput) -> Found | None:
    for policy, entry in governing(given):
        if entry.purposes and given.license.purpose not in entry.purposes:
            return _refused(policy, entry, f"for {', '.join(entry.purposes)} alone, not for {given.license.purpose}")
    return None


def _acceptance_allowed(given: LicenseInput) -> Found | None:
    for policy, entry in governing(given):
        if not entry.acceptances:
            continue
        for record in relied_on_with_leading(given):
            if record.metadata.name not in entry.acceptances:
                names = ", ".join(entry.acceptances)
                return _refused(policy, entry, f"by the acceptances {names} alone, not by {record.metadata.name}")
    return None


def _size_allowed(given: LicenseInput) -> Found | None:
    for policy, entry in governing(given):
        if entry.max_replicas is not None and given.most_replicas > entry.max_replicas:
            return _refused(policy, entry, f"with {entry.max_replicas} replicas at most, not {given.most_replicas}")
        if entry.max_gpus is not None and (given.most_gpus or 0) > entry.max_gpus:
            return _refused(policy, entry, f"with {entry.max_gpus} GPUs at most, not {given.most_gpus}")
    return None


def _image_allowed(given: LicenseInput) -> Found | None:
    for policy in given.policies:
        allowed = policy.spec.images
        if given.image and allowed and not any(image_matches(given.image, pattern) for pattern in allowed):
            return Found(
                f"house policy: LicensePolicy {policy.metadata.name} allows the images {', '.join(allowed)} alone, not "
                f"{given.image}",
                "name one of them in spec.image, leave it out for the operator's own, or ask the platform owner; this is no "
                "license term",
            )
    return None


def image_matches(image: str, pattern: str) -> bool:
    """Whether an entry of `spec.images` covers an image reference.

    Args:
        image: Reference as the deployment writes it.
        pattern: A whole reference, or a prefix that ends with `/*`, `:*` or `@*`.
    """
    if not pattern.endswith("*"):
        return image == pattern
    prefix, rest = pattern[:-1], image[len(pattern) - 1 :]
    if not image.startswith(prefix) or not rest or ".." in image:
        return False
    # A tag or a digest has no slash: what follows a port is another repository.
    return prefix.endswith("/") or "/" not in rest


def _guard_required(given: LicenseInput) -> Found | None:
    for policy, entry in governing(given):
        wanted = entry.require_guard is Requirement.REQUIRED and not given.model.guard
        if wanted and not _screens(given):
            return _refused(policy, entry, "with a guard in front alone: name its model in spec.license.guardModel")
    return None


def _screens(given: LicenseInput) -> bool:
    """Whether the guard is one: a Llama Guard, what comes from it, or a model that an administrator added for it."""
    guard = given.guard
    return guard is not None and guard.name != given.model.name and (guard.guard or bool(guard.digest))


def _refused(policy: LicensePolicy, entry: TierPolicy, how: str) -> Found:
    return Found(
        f"house policy: LicensePolicy {policy.metadata.name} allows tier {entry.tier} {how}",
        "change the deployment, or ask the platform owner; this is no license term",
    )


def _right_licensee(given: LicenseInput) -> Found | None:
    for policy in given.policies:
        licensee = policy.spec.licensee
        if licensee is None:
            continue
        for record in relied_on_with_leading(given):
            entity, domicile = record.spec.legal_entity, record.spec.domicile
            if not same_party(entity, licensee.legal_entity):
                return Found(
                    f"LicensePolicy {policy.metadata.name} says that the licensee here is {licensee.legal_entity}; "
                    f"LicenseAcceptance {record.metadata.name} is of {entity}",
                    f"record an acceptance by {licensee.legal_entity}",
                )
            if licensee.domicile is not None and domicile is not None and domicile != licensee.domicile:
                return Found(
                    f"LicensePolicy {policy.metadata.name} has {licensee.legal_entity} in {licensee.domicile}; "
                    f"LicenseAcceptance {record.metadata.name} has it in {domicile}",
                    "record the true domicile in both",
                )
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        "right-licensee",
        "P23",
        "§1.a: the grant is to the licensee; who that is here, says the house",
        Reason.LICENSEE_WRONG,
        _right_licensee,
        under_acceptance_in_a_house,
        needs_records=True,
        origin="HousePolicy",
    ),
    *(
        Check(
            name, "House", "house policy, no license term", Reason.HOUSE_POLICY, finds, applies, records, "HousePolicy"
        )
        for name, finds, applies, records in (
            ("house-tier", _tier_allowed, under_acceptance_in_a_house, False),
            ("house-namespace", _namespace_allowed, in_a_house, False),
            ("house-purpose", _purpose_allowed, in_a_house, False),
            ("house-acceptance", _acceptance_allowed, under_acceptance_in_a_house, True),
            ("house-size", _size_allowed, in_a_house, False),
            ("house-guard", _guard_required, in_a_house, False),
            ("house-image", _image_allowed, in_a_house, False),
        )
    ),
)
"""The checks of this module, in the order in which they are reported."""
