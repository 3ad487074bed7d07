"""Checks of what has to be shown: P11 (attribution), P12 (name prefix), P22 (marks of Meta)."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from llama_operator.api.reasons import Reason
from llama_operator.decide.license.check import Check, Refusal, under
from llama_operator.decide.license.facts import UNCHANGED, LicenseInput, ModelFacts

MARKS = re.compile(
    r"(?<![a-z])((by|from|official)[ ._-]*meta|meta[ ._-]*(ai|llama|platforms)|facebook|meta(?=/))(?![a-z])",
    flags=re.IGNORECASE,
)
"""Names that look as if Meta had made the model; `meta` by itself is an ordinary word, as in meta-analysis."""


def begins_with(name: str, prefix: str) -> bool:
    """Whether the name begins as the license asks: `Llama`, or `Llama 3`.

    Case does not count, and a space may be a hyphen, an underscore or nothing: the license fixes neither. `Llama 30B` does
    not begin with `Llama 3`.
    """
    words = re.escape(prefix).replace(r"\ ", "[ _-]?")
    end = "(?![0-9])" if prefix[-1].isdigit() else ""
    return re.match(words + end, name, flags=re.IGNORECASE | re.ASCII) is not None


def prefixes(model: ModelFacts) -> tuple[str, ...]:
    """What its name has to begin with; empty for weights as Meta publishes them, to which the rule does not apply."""
    if model.original:
        return ()
    return tuple(dict.fromkeys(family.name_prefix for family in model.families if family.name_prefix))


def _attributed(case: LicenseInput) -> Refusal | None:
    lines = tuple(dict.fromkeys(f'"{family.attribution}"' for family in case.model.under("P11")))
    url = case.license.attribution_url
    if url is None:
        return Refusal(
            f"{' and '.join(lines)} has to be displayed on a website, user interface, blog post, about page or in the "
            "product documentation, and spec.license.attributionURL names none",
            "set spec.license.attributionURL to the page that has the line",
        )
    if not _others_can_read(url):
        return Refusal(
            f"spec.license.attributionURL {url} has no host that others can read",
            "set it to the page that has the line, under the name that its readers use",
        )
    return None


def _others_can_read(url: str) -> bool:
    """Whether the address names a host other than the reader's own machine."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    last = host.rpartition(".")[2]
    if not any(letter.isalnum() for letter in host) or last in {"localhost", "localdomain"}:
        return False
    try:
        address = ip_address(host)
    except ValueError:
        # No name ends with a number: 127.1 is an address in a short form.
        return not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last)
    return not (address.is_loopback or address.is_unspecified)


def _named(case: LicenseInput) -> Refusal | None:
    for name, where in _names(case):
        for prefix in prefixes(case.model):
            if not begins_with(name, prefix):
                return Refusal(
                    f"{case.model.name} comes from {_from(case.model)} and is served as {name!r}: its name has to begin "
                    f'with "{prefix}"',
                    f'set {where} to a name that begins with "{prefix}", for example {prefix.replace(" ", "-")}-{name}',
                )
    return None


def _names(case: LicenseInput) -> Iterator[tuple[str, str]]:
    """Every name under which the model is served, and where it is said."""
    yield case.model.served_name, "spec.servedName of the LlamaModel"
    for alias in case.aliases:
        yield alias, f"{alias!r} of spec.endpoint.aliases"


def _from(model: ModelFacts) -> str:
    return ", ".join(model.ancestors) or " and ".join(family.title for family in model.needing_acceptance)


def _no_marks(case: LicenseInput) -> Refusal | None:
    """A derivative may not look as if Meta made it; weights of Meta under their own names may."""
    if case.model.original or (case.model.kinds and case.model.kinds <= UNCHANGED):
        return None
    for name, where in _names(case):
        if MARKS.search(name):
            return Refusal(
                f"{case.model.name} is no model of Meta, but is served as {name!r}",
                f"set {where} to a name without the marks of Meta; Llama at its beginning stays if a license asks for it",
            )
    return None


CHECKS: tuple[Check, ...] = (
    Check("attribution-url", "P11", "§1.b.i (B), attribution", Reason.ATTRIBUTION_MISSING, _attributed, under("P11")),
    Check(
        "name-prefix",
        "P12",
        "§1.b.i, last sentence: name of the AI model",
        Reason.NAME_PREFIX_MISSING,
        _named,
        under("P12"),
    ),
    Check("no-marks-of-meta", "P22", "§5.a (LLaMA 1: §9), trademarks", Reason.TRADEMARK, _no_marks, under("P22")),
)
"""The checks of this module, in the order in which they are reported."""
