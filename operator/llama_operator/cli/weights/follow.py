"""`kubectl llama weights follow`: the log of the Job that copies, as it grows, by the right of the user who asks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_operator.api.readings import text
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import ClusterError, Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_NOT_READY, EXIT_OK
from llama_operator.decide.copies.facts import CopyJobFacts
from llama_operator.desired.weights_job import CONTAINER
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Object, Ref, UnavailableError
from llama_operator.observe.jobs.weights import weights_facts
from llama_operator.observe.unreadable import Unreadable

_LINES: Final = 500
_PAUSE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """What the user asked for on the command line."""

    id: str | None = None


async def command(connection: Connection, options: FollowOptions) -> int:
    """Print the log of a Job until it ends; tells by the exit code how it ended."""
    shown: dict[str, Sequence[str]] = {}
    name = (await _job(connection, options.id)).name
    while True:
        job = next((one for one in await _jobs(connection) if one.name == name), None)
        for pod in await _pods(connection, name):
            await _show(connection, pod, shown)
        if job is None:
            raise ClusterError(f"Job {name} is gone; `kubectl llama weights list` says what became of the copy")
        if job.finished is not None:
            said = "" if job.verdict is None else f"{job.verdict.verdict}: {job.verdict.message}"
            output.console(wide=True).print(said or job.detail or "the Job ended", markup=False)
            return EXIT_OK if job.succeeded else EXIT_NOT_READY
        await asyncio.sleep(_PAUSE_SECONDS)


async def _jobs(connection: Connection) -> tuple[CopyJobFacts, ...]:
    return (await weights_facts(connection.cluster, connection.namespace, Unreadable())).jobs


async def _job(connection: Connection, copy_id: str | None) -> CopyJobFacts:
    """The newest Job of a copy; without one named, of the only copy whose Job runs.

    Raises:
        ClusterError: If there is none, or if there are several.
    """
    jobs = await _jobs(connection)
    asked = [job for job in jobs if (job.finished is None if copy_id is None else job.id == copy_id)]
    ids = sorted({job.id for job in asked})
    if not ids:
        what = "no Job copies weights" if copy_id is None else f"there is no Job of copy {copy_id}"
        raise ClusterError(f"{what} in namespace {connection.namespace}: `kubectl llama weights list` has the copies")
    if len(ids) > 1:
        raise ClusterError(f"several Jobs run: name the copy, one of {', '.join(ids)}")
    return max(asked, key=lambda job: job.attempt)


async def _pods(connection: Connection, job: str) -> list[Object]:
    labels = {"batch.kubernetes.io/job-name": job}
    listing = await connection.cluster.list(kinds.POD, namespace=connection.namespace, labels=labels)
    return sorted(listing.items, key=lambda pod: text(pod["metadata"].get("creationTimestamp")))


async def _show(connection: Connection, pod: Object, shown: dict[str, Sequence[str]]) -> None:
    """Print what a pod has written since the last look."""
    name = pod["metadata"]["name"]
    try:
        ref = Ref(kinds.POD, connection.namespace, name)
        written = await connection.logs.log(ref, lines=_LINES, container=CONTAINER)
    except (NotFoundError, UnavailableError):
        # Its container has not started, or it is gone.
        return
    lines = written.splitlines()
    for line in new_lines(shown.get(name, ()), lines):
        output.console(wide=True).print(line, markup=False)
    shown[name] = lines


def new_lines(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of `now` that follow after those of `before`, of which only the end may be left in it."""
    for start in range(len(before) + 1):
        left = before[start:]
        if list(now[: len(left)]) == list(left):
            return now[len(left) :]
    return now


run = runner(command, FollowOptions)
