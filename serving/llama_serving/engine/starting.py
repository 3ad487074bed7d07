"""How long the start of this replica took, and what for. Used by `server`, which reports it to the status board.

Stages within the engine are in vLLM's log only: it has no name for them that another process could read. Lines of ranks in other
processes of Ray are in other files; what is not seen is None, and never a guess.
"""

import re
import socket
import time
from collections.abc import Callable, Iterable
from typing import Final

from llama_serving.contract.status import StartReport
from llama_serving.engine import own_log

_DURATIONS: Final[dict[str, tuple[re.Pattern[str], ...]]] = {
    "weights_seconds": (
        # With the download, where vLLM makes it; not logged on a CPU.
        re.compile(r"Model loading took \S+ GiB memory and (\d+(?:\.\d+)?) seconds"),
        re.compile(r"Loading weights took (\d+(?:\.\d+)?) seconds"),
    ),
    "compile_seconds": (re.compile(r"torch\.compile took (\d+(?:\.\d+)?) s in total"),),
    "graphs_seconds": (re.compile(r"Graph capturing finished in (\d+(?:\.\d+)?) secs"),),
}
"""Words of vLLM 0.32 by field of `StartReport`."""

_TOGETHER: Final[dict[str, Callable[[list[float]], float]]] = {
    "weights_seconds": max,
    "compile_seconds": max,
    "graphs_seconds": sum,
}
"""How several lines of one rank add up."""

_PROCESS: Final = re.compile(r"^\([^)]*pid=\d+\)")
"""What vLLM puts before each line of a rank."""


class Starting:
    """The start of one replica.

    Args:
        clock: Seconds since 1970.
        host: Name of the pod, which Kubernetes makes the name of its host; None for that of this machine.
    """

    def __init__(self, clock: Callable[[], float] = time.time, host: str | None = None) -> None:
        self._clock = clock
        self._host = socket.gethostname() if host is None else host
        self._began, self._place = clock(), own_log.mark()
        self._report: StartReport | None = None

    def ready(self) -> None:
        """The engine answers from now on."""
        self._report = StartReport(
            host=self._host[:253],
            began=self._began,
            ready=max(self._began, self._clock()),
            **durations(own_log.lines_since(self._place)),
        )

    def report(self, first_token_seconds: float | None) -> StartReport | None:
        """Return what is known; None before the engine answers.

        Args:
            first_token_seconds: From the first request to its first token; None while there is none.
        """
        return self._report and self._report.model_copy(update={"first_token_seconds": first_token_seconds})


def durations(lines: Iterable[str]) -> dict[str, float]:
    """Read the stages that vLLM logged, in seconds; of several ranks the slowest.

    A rank captures graphs twice: the first time to reckon the memory that they will take. Both count.
    """
    said: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        process = _PROCESS.match(line)
        for name, forms in _DURATIONS.items():
            for words in filter(None, (form.search(line) for form in forms)):
                said.setdefault(name, {}).setdefault(process[0] if process else "", []).append(float(words[1]))
    return {name: max(map(_TOGETHER[name], ranks.values())) for name, ranks in said.items()}
