"""How passes of the reconcile are measured. The controller calls a `Meter`; `pass_meter` has the real one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llama_operator.kube.port import Ref


class Outcome(StrEnum):
    """How a pass ended."""

    SUCCESS = "success"
    """Everything that could be done was done; the status says what blocks the deployment."""
    ERROR = "error"
    """It failed and is tried again."""
    TOO_LONG = "too_long"
    """It took longer than a pass may, was ended, and is tried again."""
    CANCELLED = "cancelled"
    """It was stopped with the process, or because the Lease was lost."""


@dataclass(slots=True)
class MeasuredPass:
    """One pass while it runs; the controller sets how it ended."""

    outcome: Outcome = Outcome.CANCELLED


class Meter(Protocol):
    """Measures passes."""

    def measure(self, ref: Ref) -> AbstractContextManager[MeasuredPass]:
        """Meter one pass of `ref`, for as long as it is entered."""
        ...


class _Nothing:
    @contextmanager
    def measure(self, ref: Ref) -> Iterator[MeasuredPass]:
        """Meter nothing."""
        del ref
        yield MeasuredPass()


NO_METER: Meter = _Nothing()
"""Measures nothing."""
