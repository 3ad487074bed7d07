"""Keeps vLLM's metrics out of the way of tokens: they are recorded a moment later, and gauges once for several steps. `vllm` puts it in.

vLLM records some thirty values for each step of the engine before it hands out the tokens of that step, and Ray's metrics cost more than
those of vLLM's own server. What a gauge said between two looks of anybody is lost either way.

No vLLM is imported here. What is read of a step's statistics: `prefix_cache_stats` with `queries` and `hits`, and the parts in `_OWN`.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any, Final

LATER_SECONDS: Final = 0.05

_OWN: Final = (
    "connector_prefix_cache_stats",
    "spec_decoding_stats",
    "kv_connector_stats",
    "ec_connector_stats",
    "perf_stats",
    "kv_cache_eviction_events",
)
"""Parts of the statistics of a step that count for themselves: a step that has one is recorded as it is."""

_LOGGER = logging.getLogger("ray.serve")


class LaterMetrics:
    """A stat logger of vLLM in front of another one.

    Args:
        inner: Records. Whatever it has but `record` is asked of it at once.
        seconds: How long a step waits at most, on an idle loop.
    """

    def __init__(self, inner: Any, *, seconds: float = LATER_SECONDS) -> None:
        self._inner = inner
        self._seconds = seconds
        self._steps: list[tuple[Any, Any, Any, int]] = []
        self._waits = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        """Take the statistics of a step; vLLM calls this in its event loop."""
        self._steps.append((scheduler_stats, iteration_stats, mm_cache_stats, engine_idx))
        if not self._waits:
            self._waits = True
            asyncio.get_running_loop().call_later(self._seconds, self.flush)

    def flush(self) -> None:
        """Record what was taken."""
        self._waits = False
        steps, self._steps = folded(self._steps), []
        problem: Exception | None = None
        for scheduler_stats, iteration_stats, mm_cache_stats, engine_idx in steps:
            try:
                self._inner.record(scheduler_stats, iteration_stats, mm_cache_stats, engine_idx)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other steps count
                problem = error
        if problem is not None:
            _LOGGER.error("The metrics of a step of the engine cannot be recorded", exc_info=problem)


def folded(steps: list[tuple[Any, Any, Any, int]]) -> list[tuple[Any, Any, Any, int]]:
    """Return the steps with the state of the scheduler in the last one of each engine only, and all that it counted.

    Args:
        steps: Of each the scheduler's statistics, those of the tokens, of the cache of images, and the number of its engine.
    """
    found = list(steps)
    last: dict[int, int] = {}
    for place, (scheduler, *others, engine) in enumerate(steps):
        if scheduler is None or any(getattr(scheduler, part, None) for part in _OWN):
            continue
        if engine in last:
            before, *rest = found[last[engine]]
            counted, now = before.prefix_cache_stats, scheduler.prefix_cache_stats
            both = replace(now, queries=counted.queries + now.queries, hits=counted.hits + now.hits)
            found[last[engine]] = (None, *rest)
            found[place] = (replace(scheduler, prefix_cache_stats=both), *others, engine)
        last[engine] = place
    return [step for step in found if any(part is not None for part in step[:3])]
