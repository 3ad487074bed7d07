"""Checks of LicensePolicies: what this house allows for each tier.

The house is the organization that runs this cluster. Its rules are no license text. All policies apply together, and each
can only take away.
"""

from collections.abc import Iterator

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licensepolicy import UNRESOLVED, LicensePolicy, Permission, Requirement, TierPolicy
from llama_operator.api.v1alpha1.llamamodel import OTHER_FAMILY
from llama_operator.decide.license.check import Check, Refusal, in_a_house, under_acceptance_in_a_house
from llama_operator.decide.license.facts import LicenseInput, same_country, same_party
from llama_operator.decide.license.rules.acceptance import acceptances_used
from llama_serving.contract.tenants import HouseLimit, HouseLimits


def governing(case: LicenseInput) -> Iterator[tuple[LicensePolicy, TierPolicy]]:
    """Entries of the policies for the tiers of the model's families; all of them apply."""
    tiers = {
        str(family.tier) for family in case.model.families if family.acceptance_required or family.id == OTHER_FAMILY
    }
    tiers = tiers or {str(case.model.tier)}
    for policy in case.policies:
        for entry in policy.spec.tiers:
            if str(entry.tier) in tiers:
                yield policy, entry


def _tier_allowed(case: LicenseInput) -> Refusal | None:
    tiers = {str(family.tier) for family in case.model.families if family.acceptance_required}
    for policy in case.policies:
        missing = sorted(tiers - {str(entry.tier) for entry in policy.spec.tiers})
        if missing and policy.spec.unlisted_tiers is Permission.REFUSED and UNRESOLVED not in missing:
            return Refusal(
                f"LicensePolicy {policy.metadata.name} has no entry for tier {missing[0]}",
                "ask the platform owner to allow the tier",
            )
    return None


def _namespace_allowed(case: LicenseInput) -> Refusal | None:
    for policy, entry in governing(case):
        if entry.namespaces and case.namespace not in entry.namespaces:
            return _refused(policy, entry, f"only for {', '.join(entry.namespaces)}, not for {case.namespace}")
    return None


def _purpose_allowed(case: LicenseInput) -> Refusal | None:
    for policy, entry in governing(case):
        if entry.purposes and case.license.purpose not in entry.purposes:
            return _refused(policy, entry, f"only for {', '.join(entry.purposes)}, not for {case.license.purpose}")
    return None


def _acceptance_allowed(case: LicenseInput) -> Refusal | None:
    for policy, entry in governing(case):
        if not entry.acceptances:
            continue
        for acceptance in acceptances_used(case):
            if acceptance.metadata.name not in entry.acceptances:
                names = ", ".join(entry.acceptances)
                return _refused(policy, entry, f"only by the acceptances {names}, not by {acceptance.metadata.name}")
    return None


def _size_allowed(case: LicenseInput) -> Refusal | None:
    for policy, entry in governing(case):
        if entry.max_replicas is not None and case.most_replicas > entry.max_replicas:
            return _refused(policy, entry, f"with at most {entry.max_replicas} replicas, not {case.most_replicas}")
        if entry.max_gpus is not None and (case.most_gpus or 0) > entry.max_gpus:
            return _refused(policy, entry, f"with at most {entry.max_gpus} GPUs, not {case.most_gpus}")
    return None


def _image_allowed(case: LicenseInput) -> Refusal | None:
    for policy in case.policies:
        allowed = policy.spec.images
        if case.image and allowed and not any(image_matches(case.image, pattern) for pattern in allowed):
            return Refusal(
                f"house policy: LicensePolicy {policy.metadata.name} allows only the images {', '.join(allowed)}, not "
                f"{case.image}",
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


def _guard_required(case: LicenseInput) -> Refusal | None:
    for policy, entry in governing(case):
        wanted = entry.require_guard is Requirement.REQUIRED and not case.model.guard
        if wanted and not _screens(case):
            how = "only with a guard in front: set spec.guard, or name the model of one that is elsewhere in spec.license.guardModel"
            return _refused(policy, entry, how)
        if wanted and not case.guard_blocks:
            return _refused(
                policy, entry, "only with a guard that keeps back what is unsafe: set spec.guard.mode to Block"
            )
    return None


def _screens(case: LicenseInput) -> bool:
    """Whether the guard is one: a Llama Guard, what comes from it, or a model that an administrator added for it.

    A copy of the model itself, or of another one of the catalog, is none.
    """
    guard = case.guard
    return guard is not None and guard.copy_of != case.model.copy_of and (guard.guard or not guard.packaged)


def requires_keys(case: LicenseInput) -> bool:
    """Whether a policy requires API keys in front of the model."""
    return any(entry.require_keys is Requirement.REQUIRED for _, entry in governing(case))


def _keys_required(case: LicenseInput) -> Refusal | None:
    for policy, entry in governing(case):
        if entry.require_keys is Requirement.REQUIRED and case.open_to_all:
            return _refused(policy, entry, "only with API keys: set spec.access.mode to Keys")
    return None


def house_limits(case: LicenseInput) -> HouseLimits | None:
    """The lowest limits of the policies for each tenant; None if no policy has one."""
    requests, tokens = _lowest(case, "max_requests_per_minute"), _lowest(case, "max_tokens_per_minute")
    if requests is None and tokens is None:
        return None
    return HouseLimits(requests_per_minute=requests, tokens_per_minute=tokens)


def _lowest(case: LicenseInput, field: str) -> HouseLimit | None:
    limits = [(getattr(entry, field), policy.metadata.name, entry.tier) for policy, entry in governing(case)]
    lowest = min((limit for limit in limits if limit[0] is not None), default=None)
    return None if lowest is None else HouseLimit(most=lowest[0], policy=lowest[1], tier=lowest[2])


def _limits_counted(case: LicenseInput) -> Refusal | None:
    if not case.uncounted:
        return None
    for policy, entry in governing(case):
        if entry.max_requests_per_minute is not None or entry.max_tokens_per_minute is not None:
            return _refused(
                policy,
                entry,
                "only with its limits a minute, which count on one path: set spec.endpoint.path to Direct",
            )
    return None


def _refused(policy: LicensePolicy, entry: TierPolicy, how: str) -> Refusal:
    return Refusal(
        f"house policy: LicensePolicy {policy.metadata.name} allows tier {entry.tier} {how}",
        "change the deployment, or ask the platform owner; this is no license term",
    )


def _right_licensee(case: LicenseInput) -> Refusal | None:
    for policy in case.policies:
        licensee = policy.spec.licensee
        if licensee is None:
            continue
        for acceptance in acceptances_used(case):
            entity, domicile = acceptance.spec.legal_entity, acceptance.spec.domicile
            if not same_party(entity, licensee.legal_entity):
                return Refusal(
                    f"LicensePolicy {policy.metadata.name} says that the licensee here is {licensee.legal_entity}; "
                    f"LicenseAcceptance {acceptance.metadata.name} is of {entity}",
                    f"record an acceptance by {licensee.legal_entity}",
                )
            if licensee.domicile is not None and domicile is not None and not same_country(domicile, licensee.domicile):
                return Refusal(
                    f"LicensePolicy {policy.metadata.name} has {licensee.legal_entity} in {licensee.domicile}; "
                    f"LicenseAcceptance {acceptance.metadata.name} has it in {domicile}",
                    "record the true domicile in both",
                )
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        "right-licensee",
        "P23",
        "§1.a: the grant is to the licensee; the house says who that is here",
        Reason.LICENSEE_WRONG,
        _right_licensee,
        under_acceptance_in_a_house,
        needs_acceptances=True,
        origin="HousePolicy",
    ),
    *(
        Check(
            name,
            "House",
            "house policy, no license term",
            Reason.HOUSE_POLICY,
            refuses,
            applies,
            needs_acceptances,
            "HousePolicy",
        )
        for name, refuses, applies, needs_acceptances in (
            ("house-tier", _tier_allowed, under_acceptance_in_a_house, False),
            ("house-namespace", _namespace_allowed, in_a_house, False),
            ("house-purpose", _purpose_allowed, in_a_house, False),
            ("house-acceptance", _acceptance_allowed, under_acceptance_in_a_house, True),
            ("house-size", _size_allowed, in_a_house, False),
            ("house-guard", _guard_required, in_a_house, False),
            ("house-keys", _keys_required, in_a_house, False),
            ("house-limits", _limits_counted, in_a_house, False),
            ("house-image", _image_allowed, in_a_house, False),
        )
    ),
)
"""The checks of this module, in the order in which they are reported."""
