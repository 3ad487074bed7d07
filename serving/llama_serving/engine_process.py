"""What vLLM starts its engine's process with, so that vLLM loads there without the collector too. Called by `engine.vllm`.

That process loads six thousand modules, which stay, and the collector would look through those that are there again and again: a
quarter of the CPU of loading them, and of its time. `replicas` does the same for the replica. Python sends a new process the
function that it runs and then its arguments, whose classes bring vLLM: so the function turns the collector off where it arrives.
"""

import gc
import logging
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override

_LOGGER: Final = logging.getLogger("ray.serve")


class Start:
    """vLLM's function of an engine's process, in a wrapper that travels to it.

    Args:
        run: The function; None in a new process, which finds it at vLLM.
    """

    def __init__(self, run: Callable[..., Any] | None = None) -> None:
        self._run = run

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Run the engine in this process, with the collector again."""
        # Here and not above: it is this that takes the time.
        from vllm.v1.engine.core import EngineCoreProc  # noqa: PLC0415

        gc.freeze()
        gc.enable()
        return (self._run or EngineCoreProc.run_engine_core)(*arguments, **named)

    @override
    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Be made by `arrived` in the new process."""
        return arrived, ()


def arrived() -> Start:
    """Turn the collector off in a process that is about to load vLLM; return what turns it on again."""
    gc.disable()
    return Start()


def install(engine: Any) -> None:
    """Let processes of `engine`, vLLM's `EngineCoreProc`, be started by `Start`; leave it as it is if it has no such function."""
    run = getattr(engine, "run_engine_core", None)
    if run is None:
        _LOGGER.warning("vLLM starts its engine by another name: it is loaded with the collector")
    elif not isinstance(run, Start):
        engine.run_engine_core = Start(run)
