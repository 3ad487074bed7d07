"""The facts about a write, and the place where a test may stop it. Used by `twin.cluster` and its tests.

The journal answers "did this reconcile write anything, and what?"; the interceptor is the place where a test makes a
write fail or its writer die. Neither is part of how a write works.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from llama_operator.kube.port import Ref


class Verb(Enum):
    """Kinds of writes."""

    APPLY = "apply"
    APPLY_STATUS = "apply status"
    PATCH = "patch"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One write that changed the cluster. Requests that changed nothing or were refused are none."""

    verb: Verb
    ref: Ref
    manager: str
    fields: tuple[str, ...]
    """Fields that are new, different or gone, as Kubernetes writes them; empty for a delete, and where only the
    ownership of fields changed."""
    created: bool = False
    """Whether the object is new."""


class Interceptor(Protocol):
    """Stands between one client and the cluster. What it raises, the client's caller gets."""

    def before(self, write: Write) -> None:
        """Called with a write that would change something; when this raises, nothing is written."""
        ...

    def after(self, write: Write) -> None:
        """Called when it is written; when this raises, the writer does not learn that it was."""
        ...


class PassThrough:
    """Lets every write pass."""

    def before(self, write: Write) -> None:
        """Let it pass."""

    def after(self, write: Write) -> None:
        """Let it pass."""
