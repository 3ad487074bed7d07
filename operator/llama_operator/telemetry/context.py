"""Which object and which pass the running task is about. Set by `pass_meter`, read by `logs`."""

from contextvars import ContextVar
from dataclasses import dataclass

from llama_operator.kube.port import Ref


@dataclass(frozen=True, slots=True)
class PassContext:
    """A pass that runs."""

    ref: Ref
    reconcile_id: str


CURRENT_PASS: ContextVar[PassContext | None] = ContextVar("llama_operator_pass", default=None)
