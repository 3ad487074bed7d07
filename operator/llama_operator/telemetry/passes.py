"""What is told about each pass of the reconcile. The controller calls a `PassRecorder`; `recorder` is the real one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llama_operator.kube.port import Ref


class Outcome(StrEnum):
    """How a pass ended."""

    SUCCESS = "success"
    """Everything that could be done was done; what blocks the deployment stands in its status."""
    ERROR = "error"
    """It failed and is tried again."""
    CANCELLED = "cancelled"
    """It was stopped with the process, or because the Lease was lost."""


@dataclass(slots=True)
class PassRecord:
    """One pass while it runs; the controller sets how it ended."""

    outcome: Outcome = Outcome.CANCELLED


class PassRecorder(Protocol):
    """Accompanies passes."""

    def record(self, ref: Ref) -> AbstractContextManager[PassRecord]:
        """Accompany one pass of `ref`."""
        ...


class _NoPasses:
    @contextmanager
    def record(self, ref: Ref) -> Iterator[PassRecord]:
        """Tell nobody."""
        del ref
        yield PassRecord()


NO_PASSES: PassRecorder = _NoPasses()
"""Tells nobody."""
