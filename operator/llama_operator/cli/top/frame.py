"""Draws samples as a table or as JSON. Pure; called by `cli.top.command`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_operator.cli.shared import output
from llama_operator.cli.top.samples import Sample

if TYPE_CHECKING:
    from rich.table import Table

_HEADINGS: Final = (
    "NAME",
    "MODEL",
    "REPLICAS",
    "NEED",
    "GPUS",
    "WORK",
    "RUNNING",
    "WAITING",
    "CACHE",
    "READY",
    "REASON",
)
_NUMBERS: Final = frozenset(("REPLICAS", "NEED", "GPUS", "WORK", "RUNNING", "WAITING", "CACHE"))
SPARE: Final = ("MODEL", "REASON", "CACHE", "GPUS", "READY", "RUNNING", "NEED", "WORK")
"""Columns that a narrow terminal leaves out, the first one first."""
_KEYS: Final[dict[str, Callable[[Sample], float]]] = {
    "waiting": lambda one: -1 if one.waiting is None else one.waiting,
    "running": lambda one: -1 if one.running is None else one.running,
    "cache": lambda one: -1 if one.cache is None else one.cache,
    "work": lambda one: -1 if one.work is None else one.work,
    "gpus": lambda one: -1 if one.gpus is None else one.gpus,
}


def ordered(samples: Sequence[Sample], by: str) -> list[Sample]:
    """Sort samples by name, or by one of the numbers of `_KEYS`, the largest first."""
    named = sorted(samples, key=lambda one: (one.row.namespace, one.row.name))
    return sorted(named, key=_KEYS[by], reverse=True) if by in _KEYS else named


def table(samples: Sequence[Sample], *, namespaces: bool) -> "Table":
    """Build the table."""
    headings = (*(("NAMESPACE",) if namespaces else ()), *_HEADINGS)
    made = output.table(*headings, right=_NUMBERS, whole=headings)
    for one in samples:
        made.add_row(*((one.row.namespace,) if namespaces else ()), *_cells(one))
    return made


def notes(samples: Sequence[Sample], *, namespaces: bool) -> list[str]:
    """Say why pods were not asked or did not answer, each reason once."""
    reasons: dict[str, list[str]] = {}
    for one in samples:
        # Where no pod shall run none has to answer.
        if one.why and one.wanted:
            name = f"{one.row.namespace}/{one.row.name}" if namespaces else one.row.name
            reasons.setdefault(one.why, []).append(name)
    return [f"~ as the operator saw it last ({', '.join(names)}): {why}" for why, names in reasons.items()]


def _cells(one: Sample) -> tuple[str, ...]:
    old = "~" if one.said is None else ""
    starting = max(0, one.wanted - one.ready)
    ready = str(one.row.ready.status) if one.row.ready else "Unknown"
    return (
        one.row.name,
        one.row.model,
        f"{old}{one.ready}/{one.wanted}" + (f" +{starting}" if starting else ""),
        "-" if one.needed is None else str(one.needed),
        "-" if one.gpus is None else str(one.gpus),
        "-" if one.work is None else f"{one.work:.0%}",
        "-" if one.running is None else str(one.running),
        "-" if one.waiting is None else f"{old}{one.waiting}",
        "-" if one.cache is None else f"{one.cache:.0%}",
        ready,
        one.row.reason,
    )


def document(one: Sample) -> dict[str, Any]:
    """One sample as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "namespace": one.row.namespace,
        "name": one.row.name,
        "model": one.row.model,
        "replicas": {"ready": one.ready, "wanted": one.wanted, "starting": max(0, one.wanted - one.ready)},
        "needed": one.needed,
        "whyThisMany": one.why_so_many,
        "gpus": one.gpus,
        "workShare": one.work,
        "running": one.running,
        "waiting": one.waiting,
        "kvCacheUsage": one.cache,
        "ready": str(one.row.ready.status) if one.row.ready else "Unknown",
        "reason": one.row.ready.reason if one.row.ready else "",
        "fromPods": one.said is not None,
        "whyNotFromPods": one.why,
    }
