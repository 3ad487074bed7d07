"""Leaves out vLLM's span of a request that is not traced. `frontend` puts it in.

vLLM gathers what its span would say for each request that ends, and the sampler then throws nine of ten away; the last tokens of
the step wait for that. The door has decided, and its header says so.

No vLLM is imported here. What is read of it: `output_processor.do_tracing`, which gets what the engine made, with `trace_headers`.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

_PARENT: Final = "traceparent"
_FLAGS: Final = 2
_SAMPLED: Final = 1
_LOGGER = logging.getLogger("ray.serve")


def is_sampled(headers: Mapping[str, str] | None) -> bool:
    """Whether a request with these headers is traced; without a readable parent the sampler of the process decides."""
    parent = (headers or {}).get(_PARENT)
    if parent is None:
        return True
    try:
        return bool(int(parent[-_FLAGS:], 16) & _SAMPLED)
    except ValueError:
        return True


def without_spans(processor: Any) -> None:
    """Let vLLM make spans of sampled requests only.

    Args:
        processor: vLLM's output processor; an attribute is replaced.
    """
    do_tracing = getattr(processor, "do_tracing", None)
    if not callable(do_tracing):
        _LOGGER.warning("vLLM's spans are made in another way than is known here: each request costs the time of one")
        return

    def traced(made: Any, *others: Any) -> None:
        if is_sampled(getattr(made, "trace_headers", None)):
            do_tracing(made, *others)

    processor.do_tracing = traced
