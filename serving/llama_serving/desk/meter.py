"""Counts tokens where the engine makes them: a layer around `generate` of vLLM's `AsyncLLM`. `desk` installs it.

Answers cannot be counted: clients leave out the usage, streams are cut, and dialects differ. The engine keeps a state for each
sequence with its numbers. The layer takes hold of the states as soon as the engine has made them, and reads them when the call
ends, however it ends. A request may call the engine several times: the tally of a request adds the calls up.

No vLLM is imported here. What is read of it: `output_processor.external_req_ids` and `.request_states`, and of a state
`prompt_len`, `num_cached_tokens`, `is_prefilling`, `detokenizer.num_output_tokens()`, `stats.num_generation_tokens` and the times
that `pace` names.
"""

import contextlib
import logging
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import Any, Final

from llama_serving.tracing.names import ABORTED
from llama_serving.tracing.pace import Pace, pace_of

_LOGGER = logging.getLogger("ray.serve")
_MARK: Final = "llama_metered"


class Tally:
    """What one request has asked of the engine. Ends once: when the request has ended and no call runs any more.

    Args:
        most_output_tokens: Longest answer of a sequence, whatever the request says; None for what the request says.
    """

    def __init__(self, *, most_output_tokens: int | None = None) -> None:
        self.most_output_tokens = most_output_tokens
        self.prompt_tokens = 0
        """Of the prompts that the engine has read."""
        self.unread_tokens = 0
        """Of prompts that the engine had taken, and not read to their end when their call ended."""
        self.cached_tokens = 0
        self.output_tokens = 0
        self.finish_reason: str | None = None
        self.adapter: str | None = None
        self.pace = Pace()
        self._ended: Callable[[], None] | None = None
        self._calls: dict[Call, weakref.ref[AsyncGenerator[Any, None]]] = {}
        self._has_output = False

    @property
    def is_waiting(self) -> bool:
        """Whether the engine has not answered anything yet."""
        if not self._has_output:
            self._has_output = any(call.has_begun for call in self._calls)
        return not self._has_output

    def opened(self, call: "Call", generator: weakref.ref[AsyncGenerator[Any, None]]) -> None:
        """A call begins."""
        self._calls[call] = generator

    def closed(self, call: "Call") -> None:
        """A call has ended."""
        self.prompt_tokens += call.prompt_tokens
        self.unread_tokens += call.unread_tokens
        self.cached_tokens += call.cached_tokens
        self.output_tokens += call.output_tokens
        self.pace.add(call.pace)
        self.finish_reason = call.finish_reason
        self.adapter = self.adapter or call.adapter
        self._has_output = True
        self._calls.pop(call, None)
        self._end_if_over()

    async def leave(self, ended: Callable[[], None]) -> None:
        """The request has ended: end calls that nobody reads any more, for example because the client has left.

        Args:
            ended: Called once, when no call runs any more.
        """
        self._ended = ended
        for generator in list(self._calls.values()):
            running = generator()
            if running is not None:
                # Whoever reads it at this moment is being cancelled itself, and ends it.
                with contextlib.suppress(RuntimeError):
                    await running.aclose()
        self._end_if_over()

    def _end_if_over(self) -> None:
        if not self._calls and self._ended is not None:
            ended, self._ended = self._ended, None
            ended()


CURRENT: ContextVar[Tally | None] = ContextVar("llama_tally", default=None)
"""The tally of the request that runs. The engine is called in the request's task, or in one that it started."""

OnCall = Callable[["Call"], None]


class Call:
    """One call of the engine.

    Args:
        processor: The engine's output processor; None if it has none that can be read.
        request_id: Id under which the caller knows the call.
        adapter: Name of the LoRA adapter; None for the model itself.
        in_parts: Whether each output holds only what is new.
    """

    def __init__(self, processor: Any, request_id: str, adapter: str | None, *, in_parts: bool) -> None:
        self.adapter = adapter
        self.prompt_tokens = 0
        self.unread_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
        self.finish_reason: str | None = None
        self.pace = Pace()
        self._processor = processor
        self._request_id = request_id
        self._in_parts = in_parts
        self._states: list[Any] = []
        self._last: Any = None
        self._seen: dict[int, int] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the engine has made a token."""
        return self._last is not None or any(not state.is_prefilling for state in self._states)

    def look(self) -> None:
        """Take hold of the engine's states, if it has made them by now: all of a call are made in one turn of the loop."""
        if self._states or self._processor is None:
            return
        ids = self._processor.external_req_ids.get(self._request_id)
        if not ids:
            return
        states = [self._processor.request_states.get(name) for name in ids]
        # Another call may have the same id: a client may send it.
        self._states = [state for state in states if state is not None and not hasattr(state, _MARK)]
        for state in self._states:
            setattr(state, _MARK, True)

    def saw(self, output: Any) -> None:
        """Note an output on its way to the caller."""
        self._last = output
        if not self._states:
            for one in output.outputs:
                before = self._seen.get(one.index, 0) if self._in_parts else 0
                self._seen[one.index] = before + len(one.token_ids)

    def end(self) -> None:
        """Read the numbers."""
        self.finish_reason = self._finish_reason()
        if not self._states:
            self._end_by_outputs()
            return
        begun = [state for state in self._states if not state.is_prefilling]
        prompt = max(state.prompt_len for state in self._states)
        if begun:
            # All choices of a call have one prompt, and the API counts it once.
            self.prompt_tokens = prompt
            self.cached_tokens = min(prompt, *(state.num_cached_tokens or 0 for state in begun))
        else:
            self.unread_tokens = prompt
        for state in begun:
            made = _output_tokens(state)
            self.output_tokens += made
            self.pace.add(pace_of(state.stats, made))
        self._states = []

    def _end_by_outputs(self) -> None:
        if self._last is not None:
            self.prompt_tokens = len(self._last.prompt_token_ids or ())
            self.cached_tokens = self._last.num_cached_tokens or 0
            self.output_tokens = sum(self._seen.values())

    def _finish_reason(self) -> str | None:
        if self._last is None or not self._last.finished:
            return ABORTED
        reasons = [one.finish_reason for one in self._last.outputs if one.finish_reason is not None]
        return reasons[-1] if reasons else None


def metered(engine_client: Any, on_call: OnCall | None = None) -> Any:
    """Count what `engine_client` generates, for the request that asks for it.

    Args:
        engine_client: vLLM's `AsyncLLM`; its attribute `generate` is replaced.
        on_call: Called with each call that has ended, also with those of no request.

    Returns:
        `engine_client`.
    """
    generate = engine_client.generate
    if getattr(generate, _MARK, False):
        return engine_client
    processor = getattr(engine_client, "output_processor", None)
    if not (hasattr(processor, "external_req_ids") and hasattr(processor, "request_states")):
        _LOGGER.error("vLLM's states cannot be read: requests that are cut off are counted by what was sent of them")
        processor = None

    def metered_generate(*arguments: Any, **named: Any) -> AsyncGenerator[Any, None]:
        tally = CURRENT.get()
        params = named.get("sampling_params") or arguments[1]
        if tally is not None and tally.most_output_tokens is not None:
            _bound(params, tally.most_output_tokens)
        call = Call(
            processor,
            named.get("request_id") or arguments[2],
            getattr(named.get("lora_request"), "lora_name", None),
            in_parts=getattr(getattr(params, "output_kind", None), "name", "") == "DELTA",
        )
        myself: list[weakref.ref[AsyncGenerator[Any, None]]] = []

        def opened() -> None:
            if tally is not None:
                tally.opened(call, myself[0])

        def closed() -> None:
            call.end()
            if tally is not None:
                tally.closed(call)
            if on_call is not None:
                on_call(call)

        watched = _watched(generate(*arguments, **named), call, opened, closed)
        myself.append(weakref.ref(watched))
        return watched

    setattr(metered_generate, _MARK, True)
    engine_client.generate = metered_generate
    return engine_client


async def _watched(
    outputs: AsyncGenerator[Any, None], call: Call, opened: Callable[[], None], closed: Callable[[], None]
) -> AsyncGenerator[Any, None]:
    opened()
    try:
        # The states are made within the first step, and gone after it if the request is cut off in it.
        output = await _Watching(outputs.__anext__(), call.look)
        call.saw(output)
        yield output
        async for output in outputs:
            call.saw(output)
            yield output
    except StopAsyncIteration:
        return
    finally:
        try:
            # Ends the request in the engine; from then on its numbers stand still.
            await outputs.aclose()
        finally:
            closed()


class _Watching:
    """An awaitable that looks at something whenever it has to wait."""

    def __init__(self, inner: Awaitable[Any], look: Callable[[], None]) -> None:
        self._inner = inner
        self._look = look

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        try:
            waits_for = steps.send(None)
            while True:
                self._look()
                try:
                    got = yield waits_for
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - handed on: a cancellation belongs to the engine
                    waits_for = steps.throw(error)
                else:
                    waits_for = steps.send(got)
        except StopIteration as end:
            return end.value


def _bound(params: Any, most: int) -> None:
    """Let no sequence become longer than its request has reserved."""
    most = max(1, most)
    if params.max_tokens is None or params.max_tokens > most:
        params.max_tokens = most
        params.min_tokens = min(params.min_tokens, most)


def _output_tokens(state: Any) -> int:
    if state.detokenizer is not None:
        return int(state.detokenizer.num_output_tokens())
    return 0 if state.stats is None else int(state.stats.num_generation_tokens)
