"""One life of one Ray node: its ports, temporary folder and processes, from start to nothing left.

Called by `cluster`, which decides what a life is for and what follows its end.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llama_operator.kube.port import Cluster
from llama_operator.local import ports, processes, ray_node
from llama_operator.local.errors import LocalRunError
from llama_operator.local.rundir import RunDirectory
from llama_serving.contract import haproxy
from llama_serving.contract.haproxy import SWITCH_VARIABLE

_STOP_SECONDS = 5.0
_TAIL_LINES = 20
_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """What all clusters of a run share.

    Attributes:
        run: Folders and identity of the run.
        kube: Where status is written, with KubeRay's field manager.
        python: Interpreter of the environment that has Ray.
        environment: Variables that Ray inherits, before the manifest's own.
        clock: The time now, in UTC.
        pick: Given n, a number from 0 to n - 1; chooses where the search for free ports begins.
    """

    run: RunDirectory
    kube: Cluster
    python: Path
    environment: Mapping[str, str]
    clock: Callable[[], datetime]
    pick: Callable[[int], int]


class NodeProcess:
    """A running Ray node; made by `started`."""

    def __init__(
        self,
        leader: asyncio.subprocess.Process,
        node_ports: ports.RayPorts,
        marks: Mapping[str, str],
        folder: Path,
        output: Path,
    ) -> None:
        self.ports = node_ports
        self.output = output
        """What `ray start` prints."""
        self._leader = leader
        self._marks = marks
        self._folder = folder

    @property
    def ray_logs(self) -> Path:
        """Folder of the logs of all Ray, Serve and engine processes; absent until Ray has made it."""
        return self._folder / "session_latest" / "logs"

    async def ended(self) -> str:
        """Wait until the node ends by itself, and say how. Ray ends a whole node when one of its daemons dies."""
        code = await self._leader.wait()
        return f"Ray ended unexpectedly (exit code {code}):\n{_tail(self.output)}"

    async def strangers(self) -> set[int]:
        """Ids of processes that answer on our HTTP port and are not ours."""
        return await asyncio.to_thread(self._strangers)

    def _strangers(self) -> set[int]:
        listening = processes.listeners(self.ports.http)
        return listening - {process.pid for process in processes.find(self._marks)} if listening else set()


@contextlib.asynccontextmanager
async def started(
    machine: Machine, spec: Mapping[str, Any], *, cluster: str, http_port: int | None
) -> AsyncIterator[NodeProcess]:
    """Start a Ray node; on the way out end all its processes and free its ports and temporary folder.

    Args:
        machine: What the run shares.
        spec: `spec.rayClusterConfig` of the RayService.
        cluster: Name of the RayCluster, unique in the run.
        http_port: The HTTP port that the user wants, or None for any.

    Raises:
        LocalRunError: No ports, or no Ray in the environment.
    """
    run = machine.run
    marks = processes.marker(run.run_id, cluster)
    output = run.logs / f"{cluster}.log"
    with ports.reserve(run.ports, http=http_port, pick=machine.pick) as reservation:
        folder = run.new_temp_dir()
        try:
            command = ray_node.head_command(spec, python=machine.python, ports=reservation.ports, temp_dir=folder)
            environment = ray_node.head_environment(
                spec,
                cluster=cluster,
                inherited=machine.environment,
                marks=marks,
                token_file=run.token_file,
                temp_dir=folder,
                ports=reservation.ports,
            )
            if SWITCH_VARIABLE in environment:
                environment |= haproxy.launcher(folder, str(machine.python))
            try:
                leader = await processes.start(command, environment=environment, folder=folder, output=output)
            except OSError as error:
                raise LocalRunError(
                    f"cannot run {command[0]}: {error.strerror}; name a Python environment that has ray[serve] installed"
                ) from error
            try:
                yield NodeProcess(leader, reservation.ports, marks, folder, output)
            finally:
                await _stop(leader, marks)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


async def _stop(leader: asyncio.subprocess.Process, marks: Mapping[str, str]) -> None:
    try:
        await processes.stop(leader, marks, grace_seconds=_STOP_SECONDS)
    except asyncio.CancelledError:
        # A second Ctrl-C: no more patience, but still nothing is left behind.
        processes.kill(marks)
        raise


def _tail(file: Path) -> str:
    """Last lines of a log, or a hint that there is none."""
    try:
        text = file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return "(it left no log)"
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:]) or "(it printed nothing)"
