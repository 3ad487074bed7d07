"""One pass over one key, whatever it names, and when to look again. Called by the controller, made by `wiring`."""

from contextvars import ContextVar
from typing import Final

from llama_operator.kube import kinds
from llama_operator.kube.port import Kind, Ref
from llama_operator.reconcile.deadline import within
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.license_records import reconcile_record
from llama_operator.reconcile.ports import Ports

_SETTLE_SECONDS: Final = 0.5
"""After a pass that wrote: KubeRay's first reports come in this time, and one pass serves them all."""
_WRITTEN: ContextVar[set[Kind] | None] = ContextVar("llama_operator_written", default=None)
"""Kinds that the running pass wrote, other than status and events."""


def note_write(kind: Kind) -> None:
    """Note that the running pass wrote an object of `kind`."""
    written = _WRITTEN.get()
    if written is not None and kind != kinds.EVENT:
        written.add(kind)


async def run_pass(ports: Ports, ref: Ref) -> float | None:
    """Reconcile the object at `ref`: a deployment or a license record.

    Returns:
        Seconds after which to look again without an event; None for never.

    Raises:
        KubeError: If Kubernetes failed.
        LlamaOperatorError: If the object breaks a rule, or a decision cannot be recorded.
    """
    written: set[Kind] = set()
    _WRITTEN.set(written)
    if ref.kind != kinds.LLAMA_DEPLOYMENT:
        record = reconcile_record(ports.cluster, ref, catalog=ports.catalog, now=ports.now, unreadable=ports.unreadable)
        return await within(ports.pass_seconds, record)
    next_check = (await reconcile(ports, ref)).next_check
    if not written:
        return next_check
    # The events of own writes wake no pass, and status was made before them: look once more at what came of it.
    return _SETTLE_SECONDS if next_check is None else min(next_check, _SETTLE_SECONDS)
