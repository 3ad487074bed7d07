"""A cluster that refuses writes unless the Lease is held for certain. Wired in by `process` around the real client.

A leader that was stopped (SIGSTOP, a frozen machine) finds its time over when it goes on, before it begins another request. Only a
request whose bytes it was just sending goes out then, one for each worker: nothing in a process lies between two of its instructions.
A write that is under way when the time ends is cancelled; one that waits for a connection then has not been sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from typing_extensions import override

from llama_operator.kube.delegating import Delegating, Verb
from llama_operator.kube.leadership.lease import Leadership
from llama_operator.kube.port import Cluster, Kind, KubeError, Ref


class NotLeaderError(KubeError):
    """This process does not hold the Lease for certain, so it must not write. Not to be tried again here."""


class FencedCluster(Delegating):
    """Reads go through; a write raises `NotLeaderError` unless `leadership` lasts.

    Args:
        inner: The cluster itself.
        leadership: Until when this process may write.
        wrote: Called after each write of an object, other than its status.
    """

    def __init__(
        self, inner: Cluster, leadership: Leadership, *, wrote: Callable[[Kind], None] = lambda _: None
    ) -> None:
        super().__init__(inner)
        self._leadership = leadership
        self._wrote = wrote

    @override
    @asynccontextmanager
    async def _around(self, verb: Verb, ref: Ref) -> AsyncIterator[None]:
        if not verb.writes:
            yield
            return
        left = self._leadership.seconds_left()
        if left <= 0:
            raise NotLeaderError("this replica does not hold the Lease, so it writes nothing")
        try:
            async with asyncio.timeout(left) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotLeaderError(
                "the Lease ended during a write; whether it was done, its successor will see"
            ) from None
        if verb is not Verb.APPLY_STATUS:
            self._wrote(ref.kind)
