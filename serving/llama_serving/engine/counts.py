"""Counts what an engine took and computed since it started, for the autoscaler. Used by `vllm`, which calls it for each step.

No vLLM is imported here. What is read of it: `add_request` of its client; of the statistics of a step `prompt_token_stats.computed`,
`num_generation_tokens` and of `finished_requests` the lengths of their prompts. Statistics do not name a request whose client has left: so of
the client's `output_processor` its `abort_requests`, `external_req_ids` and `request_states`. An attribute that is missing counts nothing.
"""

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineTotals:
    """Since the engine started: requests taken and ended, tokens of prompts computed, pairs of tokens in them, tokens of answers."""

    accepted: int = 0
    finished: int = 0
    prompt_tokens: int = 0
    prompt_pairs: float = 0.0
    generated_tokens: int = 0


class EngineCounts:
    """The counters of one engine.

    Args:
        clock: Seconds on a clock that only goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accepted = self._finished = self._prompts = self._generated = 0
        self._pairs = 0.0
        self._first_taken: float | None = None
        self.first_token_seconds: float | None = None
        """From the first request to the first token of an answer; None before one."""

    def takes(self, params: Any) -> None:
        """Count a request; one that asks for several answers is as many to the engine."""
        if self._first_taken is None:
            self._first_taken = self._clock()
        self._accepted += max(1, int(getattr(params, "n", 1) or 1))

    def saw(self, step: Any) -> None:
        """Count one step; None for a step without statistics."""
        if step is None:
            return
        self._prompts += int(getattr(getattr(step, "prompt_token_stats", None), "computed", 0))
        self._generated += int(getattr(step, "num_generation_tokens", 0))
        if self.first_token_seconds is None and self._generated and self._first_taken is not None:
            self.first_token_seconds = self._clock() - self._first_taken
        for ended in getattr(step, "finished_requests", ()):
            self.read(int(ended.num_prompt_tokens), int(getattr(ended, "num_cached_tokens", 0)))

    def read(self, prompt: int, cached: int) -> None:
        """Count the pairs of tokens in a prompt of so many, whose first ones were in the prefix cache: looked at, and not computed."""
        self._pairs += (prompt**2 - min(cached, prompt) ** 2) / 2

    def totals(self, *, in_flight: int) -> EngineTotals:
        """Return the counters.

        Args:
            in_flight: Requests that wait or run; what was taken and is not among them has ended, also if its client left.
        """
        self._finished = max(self._finished, self._accepted - in_flight)
        return EngineTotals(self._accepted, self._finished, self._prompts, self._pairs, self._generated)


def watch_requests(client: Any, takes: Callable[[Any], None]) -> None:
    """Have `takes` called with the parameters of each request that vLLM's client is given, before it goes on."""
    add_request = getattr(client, "add_request", None)
    if add_request is None:
        return

    @functools.wraps(add_request)
    async def watched(request_id: str, prompt: Any, params: Any, *arguments: Any, **named: Any) -> Any:
        takes(params)
        return await add_request(request_id, prompt, params, *arguments, **named)

    client.add_request = watched


def watch_cut_off(client: Any, read: Callable[[int, int], None]) -> None:
    """Have `read` called with the length of the prompt, and with what of it was cached, of each request that is cut off after its prompt was read."""
    processor: Any = getattr(client, "output_processor", None)
    abort = getattr(processor, "abort_requests", None)
    states, known = getattr(processor, "request_states", None), getattr(processor, "external_req_ids", None)
    if abort is None or states is None or known is None:
        return

    @functools.wraps(abort)
    def watched(request_ids: Iterable[str], internal: bool) -> Any:
        asked = list(request_ids)
        names = asked if internal else [name for one in asked for name in known.get(one, ())]
        for state in map(states.get, names):
            # Those of several choices of one request are asked for again, each by its name.
            if state is not None and not state.is_prefilling:
                read(int(state.prompt_len), int(state.num_cached_tokens or 0))
        return abort(asked, internal)

    processor.abort_requests = watched
