"""The operator's own errors; few, named after what the reconcile does about them.

    LlamaOperatorError
    ├── InvalidManifestError   the object breaks its schema or a rule; names every field; exit code 2 in the CLI
    ├── BlockedError           nothing helps but a change by a person: becomes a condition, no retry
    └── NotYetError            the world has to move first: becomes a condition, looked at again after a while

Anything else that a reconcile raises is a defect or an outage: it backs off and shows as `Ready=Unknown`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override


class LlamaOperatorError(Exception):
    """Base of all errors that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with a manifest.

    Attributes:
        path: Where, as users write it: `spec.scaling.maxReplicas`.
        problem: What is wrong, with the value found.
        allowed: What would be right; empty when the problem says it all.
    """

    path: str
    problem: str
    allowed: str = ""

    @override
    def __str__(self) -> str:
        """One line: `spec.x: problem; allowed`."""
        return f"{self.path}: {self.problem}" + (f"; {self.allowed}" if self.allowed else "")


class InvalidManifestError(LlamaOperatorError):
    """A manifest that can never work as written; `problems` names every field at once."""

    def __init__(self, subject: str, problems: Sequence[FieldProblem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(f"{subject} is invalid: " + "; ".join(str(problem) for problem in self.problems))


class BlockedError(LlamaOperatorError):
    """The reconcile cannot go on until a person changes something."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")


class NotYetError(LlamaOperatorError):
    """The reconcile has to wait for the world; look again after `after_seconds`."""

    def __init__(self, reason: str, message: str, *, after_seconds: int) -> None:
        self.reason = reason
        self.message = message
        self.after_seconds = after_seconds
        super().__init__(f"{reason}: {message}")
