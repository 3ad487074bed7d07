"""The engine here keeps its states as vLLM 0.32 does; tests/serving runs the real one."""

import asyncio
from types import SimpleNamespace

import pytest

from llama_serving.desk.meter import CURRENT, Tally, metered
from llama_serving.tracing.pace import Pace
from support.serving.desks.parts import Engine, sampling, until


class Request:
    """A request with a tally, in a task of its own as a server runs it."""

    def __init__(self, run, **tally):
        self.tally, self.ended = Tally(**tally), []
        self._run = run
        self.task = asyncio.create_task(self._serve())

    async def _serve(self):
        CURRENT.set(self.tally)
        try:
            return await self._run()
        finally:
            await self.tally.leave(lambda: self.ended.append(self._numbers()))

    def _numbers(self):
        tally = self.tally
        return tally.prompt_tokens, tally.output_tokens, tally.cached_tokens, tally.finish_reason

    async def over(self):
        await asyncio.gather(self.task, return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.ended


async def read(engine, *, prompt=5, request_id="one", most=None, **params):
    count = 0
    async for output in engine.generate([1] * prompt, sampling(**params), request_id):
        count += sum(len(one.token_ids) for one in output.outputs)
        if most is not None and count >= most:
            break
    return count


@pytest.mark.parametrize("has_states", [True, False])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("n", [1, 3])
async def test_a_finished_request_is_counted_as_the_engine_counts(has_states, stream, n):
    engine = metered(Engine(has_states=has_states, cached=2))
    request = Request(lambda: read(engine, stream=stream, n=n, max_tokens=9))
    assert await request.over() == [(5, 9 * n, 2, "length")]
    assert request.task.result() == 9 * n


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("n", [1, 3])
async def test_a_cancelled_request_is_counted_with_what_the_engine_made(stream, n):
    engine = metered(Engine())
    request = Request(lambda: read(engine, stream=stream, n=n, max_tokens=1000))
    await until(lambda: engine.states and engine.states[0].made >= 20)
    states = engine.states
    request.task.cancel()
    ended = await request.over()
    assert ended == [(5, sum(state.made for state in states), 0, "abort")]
    assert ended[0][1] >= 20 * n
    assert engine.aborted == ["one"]
    assert engine.output_processor.request_states == {}


async def test_a_stream_that_nobody_reads_any_more_is_ended_with_its_request():
    engine = metered(Engine())
    kept = []

    async def run():
        outputs = engine.generate([1] * 5, sampling(1000), "one")
        kept.append(outputs)
        await anext(outputs)
        await anext(outputs)

    request = Request(run)
    assert await request.over() == [(5, 2, 0, "abort")]
    assert engine.aborted == ["one"]


async def test_a_reader_in_another_task_that_is_cancelled_later_is_waited_for():
    engine = metered(Engine())
    readers = []

    async def run():
        # As vLLM does for a request that is not streamed: its handler is cancelled, and not awaited.
        readers.append(asyncio.create_task(read(engine, stream=False, max_tokens=1000)))
        for _ in range(30):
            await asyncio.sleep(0)

    request = Request(run)
    await request.task
    assert request.ended == []
    readers[0].cancel()
    ended = await request.over()
    assert len(ended) == 1
    assert ended[0][1] > 0


async def test_before_the_first_token_nothing_is_used_and_the_prompt_is_told_apart():
    engine = metered(Engine())
    engine.held.clear()
    request = Request(lambda: read(engine))
    for _ in range(10):
        await asyncio.sleep(0)
    assert request.tally.is_waiting
    request.task.cancel()
    assert await request.over() == [(0, 0, 0, "abort")]
    assert request.tally.unread_tokens == 5


async def test_a_request_waits_until_the_engine_has_made_a_token_also_if_it_is_not_streamed():
    engine = metered(Engine())
    request = Request(lambda: read(engine, stream=False, max_tokens=1000))
    assert request.tally.is_waiting
    await until(lambda: engine.states and engine.states[0].made >= 1)
    assert not request.tally.is_waiting
    request.task.cancel()
    await request.over()


async def test_several_calls_of_a_request_add_up():
    engine = metered(Engine(cached=1))

    async def run():
        await asyncio.gather(read(engine, prompt=5, max_tokens=4), read(engine, prompt=7, max_tokens=6))

    assert await Request(run).over() == [(12, 10, 2, "length")]


async def test_two_requests_with_the_same_id_are_told_apart():
    engine = metered(Engine())
    first = Request(lambda: read(engine, prompt=5, max_tokens=8))
    second = Request(lambda: read(engine, prompt=9, max_tokens=3))
    assert (await first.over(), await second.over()) == ([(5, 8, 0, "length")], [(9, 3, 0, "length")])


async def test_no_sequence_becomes_longer_than_was_reserved():
    engine = metered(Engine())
    request = Request(lambda: read(engine, max_tokens=100, min_tokens=50), most_output_tokens=10)
    assert await request.over() == [(5, 10, 0, "length")]


async def test_a_shorter_answer_stays_as_short_as_the_request_says():
    engine = metered(Engine())
    assert await Request(lambda: read(engine, max_tokens=3), most_output_tokens=10).over() == [(5, 3, 0, "length")]


async def test_an_error_of_the_engine_reaches_the_caller_and_ends_the_call():
    class Broken(Engine):
        async def generate(self, *arguments, **named):
            async for output in super().generate(*arguments, **named):
                yield output
                raise ValueError("the engine is dead")

    engine = metered(Broken())
    request = Request(lambda: read(engine))
    assert await request.over() == [(5, 1, 0, "abort")]
    with pytest.raises(ValueError, match="dead"):
        request.task.result()


async def test_a_request_that_never_asks_the_engine_ends_with_nothing():
    async def run():
        return None

    assert await Request(run).over() == [(0, 0, 0, None)]


async def test_calls_of_nobody_are_told_to_who_counts_calls():
    calls = []
    engine = metered(Engine(), calls.append)
    assert metered(engine) is engine
    await read(engine, max_tokens=3)
    assert [(call.prompt_tokens, call.output_tokens) for call in calls] == [(5, 3)]


async def test_the_adapter_is_named():
    engine = metered(Engine())

    async def run():
        async for _ in engine.generate(
            [1], sampling(2), request_id="one", lora_request=SimpleNamespace(lora_name="adapter")
        ):
            pass

    request = Request(run)
    await request.over()
    assert request.tally.adapter == "adapter"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_pace_is_read_when_the_call_ends(stream):
    engine = metered(Engine())
    request = Request(lambda: read(engine, stream=stream, n=2, max_tokens=5))
    await until(lambda: len(engine.states) == 2)
    for number, state in enumerate(engine.states):
        state.stats = SimpleNamespace(
            arrival_time=100.0, first_token_latency=0.5 + number, first_token_ts=1.0, last_token_ts=3.0
        )
    await request.over()
    assert request.tally.pace == Pace(100.5, 4.0, 8)
