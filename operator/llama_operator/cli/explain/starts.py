"""What `kubectl llama explain` says of starts: where their time goes. Called by `cli.explain.chain`."""

from collections.abc import Iterator
from typing import Final

from llama_operator.api.v1alpha1.llamadeployment_status import ColdStartStatus
from llama_operator.cli.shared.checks import Check, State

_COPY: Final = "Copy"
_SLOWER: Final = 1.5
_SLOW: Final = {
    "Node": "nodes come late: keep nodes ready for this accelerator, or set spec.scaling.reserve",
    "Image": "the image is pulled slowly: keep it on the nodes, or mirror it near them",
    "Engine": "the engine starts slowly: look at the CPUs of its pods, and at the log of the worker",
    "Weights": "the weights are read slowly: keep them on a volume near the nodes",
    "Compile": "compiling takes long: look at the CPUs of the pods",
    "Graphs": "capturing graphs takes long: spec.engine.arguments.graphs Eager starts faster and computes slower",
}


def told(known: ColdStartStatus | None) -> Iterator[Check]:
    """What a start takes, as predicted and as measured: it keeps no deployment from being Ready, and tells where the time goes."""
    if known is None or (known.predicted_seconds is None and known.measured_seconds is None):
        return
    parts = [f"predicted {_stages(known, 'predicted_seconds')}" if known.predicted_seconds is not None else ""]
    if known.measured_seconds is not None:
        count = len(known.starts)
        of = "the last start" if count == 1 else f"median of the last {count} starts"
        parts.append(f"measured {_stages(known, 'measured_seconds')}, {of}")
    parts.append(_copy(known))
    text = "; ".join(filter(None, parts))
    slow = _slowest(known)
    if slow is None:
        yield Check("cold start", State.PASSED, text)
    else:
        yield Check("cold start", State.WARNING, text, _SLOW[slow])


def _copy(known: ColdStartStatus) -> str:
    """What the copy before the first start takes: no part of the start."""
    copy = next((stage for stage in known.stages if stage.name == _COPY), None)
    if copy is None:
        return ""
    measured = "" if copy.measured_seconds is None else f", measured {copy.measured_seconds} s"
    return f"the copy, once before: predicted {copy.predicted_seconds or 0} s{measured}"


def _stages(known: ColdStartStatus, field: str) -> str:
    seconds = [(stage.name, getattr(stage, field)) for stage in known.stages if stage.name != _COPY]
    each = ", ".join(f"{name} {value}" for name, value in seconds if value)
    return f"{getattr(known, field)} s" + (f" ({each})" if each else "")


def _slowest(known: ColdStartStatus) -> str | None:
    """The stage that loses the most against the plan, where a start takes more than half as long again; None if it does not."""
    if not known.predicted_seconds or (known.measured_seconds or 0) <= _SLOWER * known.predicted_seconds:
        return None
    lost = {
        stage.name: (stage.measured_seconds or 0) - (stage.predicted_seconds or 0)
        for stage in known.stages
        if stage.name in _SLOW
    }
    return max(lost, key=lambda name: lost[name], default=None)
