"""Faults that are put into the way of a writer: it dies at its n-th write. Used by the transition tests.

See docs/designs/0002-in-memory-twin.md; the same experiment on a real API server needs a proxy before it.
"""

from llama_operator.kube.twin.journal import Write


class CrashError(BaseException):
    """The process is dead. Not an `Exception`: nobody may handle it and go on, as nobody handles SIGKILL."""


class CrashAfter:
    """An interceptor: the writer dies when `writes` of its writes have happened, before it hears of the last one.

    `CrashAfter(0)` dies before the first write. From then on nothing is written, whatever `finally` blocks try.
    """

    def __init__(self, writes: int) -> None:
        self._left = writes

    @property
    def crashed(self) -> bool:
        """Whether it came so far."""
        return self._left < 0

    def before(self, write: Write) -> None:
        """Refuse when dead."""
        if self._left <= 0:
            self._left = -1
            raise CrashError(f"crashed before {write.verb.value} of {write.ref}")

    def after(self, write: Write) -> None:
        """Die when the count is full."""
        self._left -= 1
        if self._left == 0:
            self._left = -1
            raise CrashError(f"crashed after {write.verb.value} of {write.ref}")
