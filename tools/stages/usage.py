"""Memory of a stage: of its process and of all that ever descended from it. Used by `runner`."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import psutil

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Usage:
    """A process of this machine: its parent, and the bytes that it shares with no other."""

    parent: int
    memory: int


def snapshot() -> Mapping[int, Usage]:
    """All processes, by id. Memory that processes share, mostly programs and libraries, is left out."""
    seen = {}
    for process in psutil.process_iter(["ppid", "memory_info"]):
        memory = process.info["memory_info"]
        if memory is not None:
            seen[process.pid] = Usage(process.info["ppid"], memory.rss - memory.shared)
    return seen


@dataclass(slots=True)
class Family:
    """A process and its descendants, those included whose parents have ended since.

    Attributes:
        root: Process id of the first one.
        now: Bytes that they use, at the last look.
        peak: Most bytes of all looks.
    """

    root: int
    now: int = 0
    peak: int = 0
    _members: set[int] = field(default_factory=set)

    def look(self, processes: Mapping[int, Usage]) -> None:
        """Find the members among `processes`, and add up what they use."""
        self._members = (self._members | {self.root}) & processes.keys()
        while more := {pid for pid, usage in processes.items() if usage.parent in self._members} - self._members:
            self._members |= more
        self.now = sum(processes[pid].memory for pid in self._members)
        self.peak = max(self.peak, self.now)

    def kill(self) -> None:
        """End all of them at once."""
        self.look(snapshot())
        for pid in self._members:
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).kill()


def available() -> int:
    """Bytes of memory that can be had without taking them from other processes."""
    return int(psutil.virtual_memory().available)
