"""Whether this process sends traces, by its variables. Called by `door.installed` and `engine`.

OpenTelemetry's SDK is imported only where it does.
"""

# ruff: noqa: PLC0415 - see above
import os

from llama_serving.contract import tracing
from llama_serving.tracing.request import Traces


def traces() -> Traces | None:
    """Return what begins the traces of this process; None where they are off, or cannot be sent."""
    if not tracing.sends_traces(os.environ):
        return None
    from llama_serving.tracing import exporting

    return exporting.traces()


def engine_arguments() -> dict[str, str]:
    """Return the arguments that make vLLM send its spans; none where traces are off, or cannot be sent.

    An engine that does not understand the variables would not start.
    """
    arguments = tracing.engine_arguments(os.environ)
    if not arguments:
        return {}
    from llama_serving.tracing import exporting

    return arguments if exporting.way_out() is not None else {}


def flush() -> None:
    """Send the last spans before the process ends, for some seconds at most. Blocks."""
    if not tracing.sends_traces(os.environ):
        return
    from llama_serving.tracing import exporting

    out = exporting.way_out()
    if out is not None:
        out.force_flush()
