"""What a team may not set in `spec.pods`. Called by `decide.decision` for a revision that does not exist yet.

The chart's policy `pod-contents` refuses the same at admission; a test holds both to the same verdicts.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator.api.meta import api_name
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.pods import LABEL_KEY, PodFields, PodsSpec
from llama_operator.decide.placement.platform_pods import (
    NEVER_BY_A_TEAM,
    RESERVED_DOMAINS,
    USUAL_VARIABLES,
    PodRules,
)
from llama_operator.decide.problem import Problem

_MAPS: Final = ("labels", "annotations", "node_selector")
_ASK: Final = "or ask the platform owner to add it to"


def refused(pods: PodsSpec, rules: PodRules | None) -> Problem | None:
    """Return what the team may not set; None if it may set all of it.

    Args:
        pods: What the team wrote.
        rules: The platform's lists; None where they are not known: then only what no list allows is refused.
    """
    found = [
        *(problem for path, section in _sections(pods) for problem in _keys(path, section)),
        *(problem for path, section in _sections(pods) for problem in _variables(path, section, rules)),
        *(() if rules is None else _by_lists(pods, rules)),
    ]
    if not found:
        return None
    (field, message), *others = found
    also = "".join(f"; {path}: {text}" for path, text in others)
    return Problem(ConditionType.PLANNED, Reason.POD_SETTING_NOT_ALLOWED, f"{message}{also}", field)


def wrong_keys(pods: PodsSpec, root: str) -> tuple[tuple[str, str], ...]:
    """Return keys that Kubernetes does not take, as path and message; `root` is what the section is called."""
    return tuple(
        (f"{root}{path.removeprefix('spec.pods')}", message)
        for section_path, section in _sections(pods)
        for path, message in _keys(section_path, section)
    )


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is `name`, or how it begins or ends: a star stands for the rest."""
    return any(
        name.startswith(pattern[:-1])
        if pattern.endswith("*")
        else name.endswith(pattern[1:])
        if pattern.startswith("*")
        else name == pattern
        for pattern in patterns
    )


def _sections(pods: PodsSpec) -> tuple[tuple[str, PodFields], ...]:
    return (("spec.pods", pods), ("spec.pods.head", pods.head), ("spec.pods.workers", pods.workers))


def _keys(path: str, section: PodFields) -> Iterator[tuple[str, str]]:
    resources = getattr(section, "resources", None)
    maps: Mapping[str, Mapping[str, Any]] = {
        **{api_name(name): getattr(section, name) for name in _MAPS},
        **({} if resources is None else {"resources.extended": resources.extended}),
    }
    for name, written in maps.items():
        for key in written:
            if not re.fullmatch(LABEL_KEY, key):
                text = "is no key that Kubernetes takes; write letters, digits, '-', '_' and '.', at most 63, behind a DNS name"
                yield f"{path}.{name}", f"{key!r} {text} and '/' if it has a domain"


def _variables(path: str, section: PodFields, rules: PodRules | None) -> Iterator[tuple[str, str]]:
    for variable in section.env:
        name = variable.name
        if matches(name, NEVER_BY_A_TEAM):
            instead = "leave it out, or ask the platform owner to set it in the chart value podDefaults.env"
            yield f"{path}.env", f"{name} is not for teams, as all of {', '.join(NEVER_BY_A_TEAM)}; {instead}"
        elif rules is not None and not matches(name, (*USUAL_VARIABLES, *rules.env)):
            allowed = ", ".join((*USUAL_VARIABLES, *rules.env))
            yield (
                f"{path}.env",
                f"{name} is not allowed; allowed are {allowed}. Leave it out, {_ASK} the chart value podRules.env",
            )


def _by_lists(pods: PodsSpec, rules: PodRules) -> Iterator[tuple[str, str]]:
    for path, section in _sections(pods):
        for name in type(section).model_fields:
            api = api_name(name)
            if name not in {"head", "workers"} and api not in rules.fields and _is_set(section, name):
                yield (
                    f"{path}.{api}",
                    f"is not for teams to set here; leave it out, {_ASK} the chart value podRules.fields",
                )
        for name in ("labels", "annotations"):
            for key in getattr(section, name):
                if _reserved(key) and not matches(key, rules.metadata_keys):
                    instead = f"leave it out, {_ASK} the chart value podRules.metadataKeys"
                    yield (
                        f"{path}.{name}",
                        f"{key} is in a domain of the cluster's own ({', '.join(RESERVED_DOMAINS)}); {instead}",
                    )
        resources = getattr(section, "resources", None)
        for name in () if resources is None else resources.extended:
            if not matches(name, rules.extended_resources):
                listed = ", ".join(rules.extended_resources) or "none"
                instead = f"Leave it out, {_ASK} the chart value podRules.extendedResources"
                yield f"{path}.resources.extended", f"{name} is not allowed; allowed are {listed}. {instead}"
    account = pods.service_account_name
    if account is not None and account not in rules.service_accounts:
        listed = ", ".join(rules.service_accounts) or "none"
        instead = f"Leave it out, {_ASK} the chart value admission.podServiceAccounts"
        yield "spec.pods.serviceAccountName", f"{account} is not allowed; allowed are {listed}. {instead}"


def _reserved(key: str) -> bool:
    domain = key.rpartition("/")[0]
    return any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED_DOMAINS)


def _is_set(section: PodFields, name: str) -> bool:
    return bool(getattr(section, name) != type(section).model_fields[name].get_default(call_default_factory=True))
