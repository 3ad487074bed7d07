"""Starts and ends process trees, and finds every process of a run however far it has daemonized.

Called by `cluster` and `rundir`. Each process of a run carries the run's id in its environment, which every
descendant inherits; process groups and parents do not survive Ray's workers and vLLM's engine processes.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

RUN_VARIABLE: Final = "LLAMA_OPERATOR_LOCAL_RUN"
"""Environment variable with the id of the run."""
CLUSTER_VARIABLE: Final = "LLAMA_OPERATOR_LOCAL_CLUSTER"
"""Environment variable with the name of the Ray cluster within the run."""

_POLL_SECONDS = 0.1
_LOOPBACK_OR_ANY = frozenset({"127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"})  # noqa: S104  compared, not bound
_KILL_SECONDS = 5.0


def marker(run_id: str, cluster: str | None = None) -> dict[str, str]:
    """Environment variables that mark a process as part of a run, or of one cluster of it."""
    return {RUN_VARIABLE: run_id} | ({} if cluster is None else {CLUSTER_VARIABLE: cluster})


def find(marks: Mapping[str, str]) -> list[psutil.Process]:
    """All live processes whose environment has every one of `marks`; zombies have no environment any more."""
    return list(_matching(marks))


def _matching(marks: Mapping[str, str]) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        # Other users' processes deny access; processes that have ended are gone, which is what callers want.
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if process.pid != os.getpid() and all(environment.get(name) == value for name, value in marks.items()):
                yield process


def kill(marks: Mapping[str, str]) -> int:
    """SIGKILL everything that carries `marks`, again and again until nothing does; return how many were killed.

    Blocks for at most 5 seconds.
    """
    killed: set[int] = set()
    for _ in range(int(_KILL_SECONDS / _POLL_SECONDS)):
        processes = find(marks)
        if not processes:
            break
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        # No waiting for one process: that would take the exit code of a child of ours away from asyncio.
        time.sleep(_POLL_SECONDS)
    return len(killed)


async def start(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, output: Path
) -> asyncio.subprocess.Process:
    """Start `command` in a session of its own (a Ctrl-C in the terminal is ours to handle, not its).

    Args:
        command: Program and arguments.
        environment: The whole environment, marks included.
        folder: Working folder.
        output: File that stdout and stderr are appended to.
    """
    with output.open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )


async def stop(leader: asyncio.subprocess.Process, marks: Mapping[str, str], *, grace_seconds: float) -> None:
    """End a process and everything that carries `marks`: SIGTERM to the leader, a bounded wait, then SIGKILL to all.

    Returns only when nothing is left, at most `grace_seconds` + 5 seconds later.
    """
    if leader.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            leader.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                # The signal handler of `ray start` ends its children itself; what it forgets is killed below.
                await leader.wait()
    await asyncio.to_thread(kill, marks)
    await leader.wait()


def listeners(port: int) -> set[int]:
    """Process ids that answer on a TCP port at the loopback address; -1 for owners that are hidden from us."""
    return {
        connection.pid if connection.pid is not None else -1
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
        and connection.laddr.ip in _LOOPBACK_OR_ANY
    }
