"""The operator's own errors; few, named after what the reconcile does about them.

    LlamaOperatorError
    ├── InvalidManifestError   the object breaks its schema or a rule; names every field; exit code 2 in the CLI
    │   └── NotUnderstoodError  a live object has a value that this version does not know: what runs stays as it is
    ├── PassTooLongError       a pass took longer than it may, and was ended; it backs off
    └── WriteRefusedError      the API server refuses an object of ours: a person has to change something; it backs off
        └── NamespaceEndingError   the namespace is being deleted, and everything in it follows: nobody has to do anything

Anything else that a reconcile raises is a defect or an outage: it backs off and shows as `Ready=Unknown`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override


class LlamaOperatorError(Exception):
    """Base of all errors that this package raises on purpose."""


class PassTooLongError(LlamaOperatorError):
    """A pass took longer than it may, and was ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the pass took longer than {seconds:g} s and was ended; it is tried again. "
            "Something that it reads or writes does not answer"
        )


class WriteRefusedError(LlamaOperatorError):
    """The API server refuses an object that the operator writes: by a quota, a webhook, a missing right, or another owner."""


class NamespaceEndingError(WriteRefusedError):
    """The namespace is being deleted, so nothing new may be made in it."""


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

    @staticmethod
    def of(subject: str, path: str, problem: str, allowed: str = "") -> "InvalidManifestError":
        """Make the error about one field; arguments as of `FieldProblem`."""
        return InvalidManifestError(subject, [FieldProblem(path, problem, allowed)])


class NotUnderstoodError(InvalidManifestError):
    """A live object has values that the API server's definitions admit and this version of the operator does not know."""


class InvalidManifestsError(InvalidManifestError):
    """Several manifests are invalid; `errors` has one for each."""

    def __init__(self, errors: Sequence[InvalidManifestError]) -> None:
        self.errors = tuple(errors)
        problems = [
            FieldProblem(f"{error.subject}: {problem.path}", problem.problem, problem.allowed)
            for error in errors
            for problem in error.problems
        ]
        super().__init__(", ".join(error.subject for error in errors), problems)
