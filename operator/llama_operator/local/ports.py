"""Ports for one local Ray cluster: all of them explicit, so that two runs, or another Ray, never clash.

Called by `cluster`. By default Ray takes fixed ports (8000, 8265, 10001, 52365, 44227) and workers from 10000 to
19999; a second cluster then fails, or worse: Serve's HTTP proxies bind with SO_REUSEPORT, so two of them share one
port silently and answer each other's requests. Hence blocks of ports below the kernel's ephemeral range, a file lock
for each block among the runs of one user, a check that every port is free, and a bound socket that holds the HTTP
port for as long as the cluster lives.
"""

import contextlib
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from llama_operator.local.errors import LocalRunError, PortTakenError

LOOPBACK = "127.0.0.1"

_FIRST_PORT = 20700  # above Ray's own worker range
_BLOCK = 120
_BLOCKS = 100  # the last block ends at 32699, below Linux's ephemeral ports
_NAMED = 14
_REPLICA_PORTS = 30
"""Ports on which replicas answer HTTP; one that went keeps its port for a minute."""


@dataclass(frozen=True, slots=True)
class RayPorts:
    """Every port that a Ray head node with Serve listens on, at the loopback address."""

    gcs: int
    dashboard: int
    dashboard_metrics: int
    client: int
    agent_http: int
    agent_grpc: int
    runtime_env_agent: int
    metrics_export: int
    node_manager: int
    object_manager: int
    http: int
    """Where Serve answers requests."""
    haproxy_metrics: int
    haproxy_stats: int
    fallback: int
    """Where Serve's own proxy answers while an application has no replica."""
    replica_min: int
    replica_max: int
    """Replicas that listen themselves do it on ports from `replica_min` to `replica_max`, both included."""
    worker_min: int
    worker_max: int
    """Workers listen on ports from `worker_min` to `worker_max`, both included."""


def block_ports(index: int, *, http: int | None = None) -> RayPorts:
    """Lay out block number `index` (0 to 99); `http` replaces the block's own HTTP port."""
    base = _FIRST_PORT + index * _BLOCK
    # In the order of the fields: the named ports, then first and last of the replicas' and of the workers'.
    replicas, workers = base + _NAMED, base + _NAMED + _REPLICA_PORTS
    numbers = (*range(base, replicas), replicas, workers - 1, workers, base + _BLOCK - 1)
    ports = RayPorts(*numbers)
    return ports if http is None else replace(ports, http=http)


class PortReservation:
    """The ports of one cluster while it lives. Use as a context manager, or call `close`."""

    def __init__(self, ports: RayPorts, locks: list[FileLock], held: socket.socket) -> None:
        self.ports = ports
        self._locks = locks
        self._held = held

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def free_http(self) -> None:
        """Let the HTTP port be bound by one that shares it with nobody, as HAProxy in a pod does; the locks stay. Idempotent."""
        self._held.close()

    def close(self) -> None:
        """Give the ports back; idempotent."""
        self._held.close()
        while self._locks:
            self._locks.pop().release()


def reserve(lock_dir: Path, *, http: int | None, pick: Callable[[int], int]) -> PortReservation:
    """Reserve a whole block of free ports.

    Args:
        lock_dir: Folder of the lock files, shared by all runs of this user; created if absent.
        http: The HTTP port that the user wants, or None for one of the block.
        pick: Given n, a number from 0 to n - 1: the block to try first. Random in production, so that users who do
            not share `lock_dir` rarely try the same one.

    Raises:
        PortTakenError: `http` is in use, or not for this user.
        LocalRunError: No block is free.
    """
    lock_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    locks: list[FileLock] = []
    with contextlib.ExitStack() as given_back:
        if http is not None:
            lock = _try_lock(lock_dir / f"port-{http}.lock")
            if lock is not None:
                given_back.callback(lock.release)
                locks.append(lock)
            if lock is None or not _is_free(http):
                raise PortTakenError(_refusal(http))
        first = pick(_BLOCKS)
        for step in range(_BLOCKS):
            reservation = _try_block((first + step) % _BLOCKS, lock_dir, http, locks)
            if reservation is not None:
                # From here on the reservation gives them back.
                given_back.pop_all()
                return reservation
    last = _FIRST_PORT + _BLOCKS * _BLOCK - 1
    raise LocalRunError(
        f"no {_BLOCK} free ports in a row between {_FIRST_PORT} and {last}; stop other local runs, "
        "see them with `ss -ltnp`"
    )


def _try_block(index: int, lock_dir: Path, http: int | None, locks: list[FileLock]) -> PortReservation | None:
    lock = _try_lock(lock_dir / f"block-{index}.lock")
    if lock is None:
        return None
    ports = block_ports(index, http=http)
    base = _FIRST_PORT + index * _BLOCK
    held = _hold(ports.http) if all(_is_free(port) for port in range(base, base + _BLOCK)) else None
    if held is None:
        lock.release()
        return None
    return PortReservation(ports, [*locks, lock], held)


def _try_lock(path: Path) -> FileLock | None:
    # thread_local=False: the lock belongs to the run, whichever thread releases it.
    lock = FileLock(path, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, PermissionError):
        # Root may have left its lock in the same home; another block will do.
        return None
    return lock


def _is_free(port: int) -> bool:
    """Whether no process listens on `port` or holds it, on any IPv4 address.

    Without SO_REUSEPORT a port that a Serve proxy shares counts as taken; with SO_REUSEADDR one whose connections
    are only in TIME_WAIT counts as free.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # All interfaces on purpose: a listener on any of them would collide. Nothing listens on this socket.
            probe.bind(("", port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def _refusal(port: int) -> str:
    """Say why `port` cannot be had: nothing listens on one that the system keeps for root."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            return f"port {port} on {LOOPBACK} may be taken by root only on this machine; choose one above 1023"
        except OSError:
            # In use, as is told below.
            pass
    return f"port {port} on {LOOPBACK} is in use; stop what listens there, or choose another port"


def _hold(port: int) -> socket.socket | None:
    """Bind `port` without listening: Serve's proxies (SO_REUSEPORT, same user) may join, everybody else may not."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((LOOPBACK, port))
    except OSError:
        held.close()
        return None
    return held
