"""Lays a burst on a real engine beside the same burst in the simulator (`make bench-burst`).

Plain vLLM serves the generated model on this machine's CPU. Closed loops of one to all of its places say what a step takes, and prompts of two
lengths what their tokens add; nothing of the burst is used for that. Then requests arrive by chance, for a while at more than the engine can do, and the
simulator plays the same arrivals on an engine with these steps, and once more with steps that are longer or shorter by as much as
the machine was slower or faster in the burst. Nothing here passes or fails; docs/simulate.md has the figures of a run.
"""

import argparse
import asyncio
import json
import random
import signal
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus

import aiohttp
from rich import box
from rich.console import Console
from rich.table import Table

from bench.serving import SLOTS, Server, plain_vllm
from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.engine import EngineLimits
from llama_operator.simulate.request import Arrival
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import Setup, run
from llama_operator.simulate.scalers.known import Fixed
from llama_operator.simulate.step_time import StepTime

PROMPT, ANSWER = 64, 240
"""Tokens of each request of the burst. With short answers HTTP and the client would be the limit on two cores, and not the engine."""
_LONG_PROMPT = 448
_MOST_TOKENS = 2048
_KV_TOKENS = 1_000_000
"""More than the places need: the cache of the generated model is never full."""
_LOOP_TOKENS, _LOOP_ANSWERS = 96, 6
_PROMPTS = 40
_CONCURRENCY = (1, 2, 4, 8, SLOTS)
_OBJECTIVE = 2.0
_CALM, _BURST = 0.5, 1.6
"""Arrivals, as a share of what the engine can do."""
_PARTS = ((30.0, _CALM), (20.0, _BURST), (50.0, _CALM))
"""Seconds, and the share."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What a burst came to, of the engine or of the simulator; seconds."""

    median: float
    p90: float
    longest: float
    within: float
    """Share of first tokens within two seconds."""
    late_until: float
    """When the last request came whose first token took longer than that."""
    answer: float
    """Median from first to last token."""


async def _stream(
    session: aiohttp.ClientSession, server: Server, prompt: int, answer: int, first_word: int
) -> tuple[float, float]:
    """Seconds to the first and to the last token of one answer; `first_word` sets it apart from what is cached."""
    body = {
        "model": server.model,
        "prompt": [3 + first_word % 200, *(3 + (first_word // 200 + place) % 200 for place in range(prompt - 1))],
        "max_tokens": answer,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }
    began, first = time.perf_counter(), 0.0
    async with session.post(f"{server.url}/v1/completions", json=body) as reply:
        if reply.status != HTTPStatus.OK:
            raise RuntimeError(f"{reply.status}: {await reply.text()}")
        async for _ in reply.content.iter_any():
            first = first or time.perf_counter() - began
    return first, time.perf_counter() - began


async def _steps(session: aiohttp.ClientSession, server: Server, words: Iterator[int]) -> dict[int, float]:
    """Seconds of a step by the answers that run in it."""

    async def loop(answers: int) -> list[float]:
        times = [await _stream(session, server, PROMPT, _LOOP_TOKENS, next(words)) for _ in range(answers)]
        return [(last - first) / (_LOOP_TOKENS - 1) for first, last in times]

    return {
        running: statistics.median(
            step for steps in await asyncio.gather(*(loop(_LOOP_ANSWERS) for _ in range(running))) for step in steps
        )
        for running in _CONCURRENCY
    }


async def _prompt_seconds(session: aiohttp.ClientSession, server: Server, words: Iterator[int], tokens: int) -> float:
    """Median seconds to the first token of prompts that are alone."""
    return statistics.median([(await _stream(session, server, tokens, 1, next(words)))[0] for _ in range(_PROMPTS)])


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured of the engine, in seconds."""

    steps: dict[int, float]
    """A step, by the answers that run in it."""
    per_prompt_token: float
    beside: float
    """What a first token takes beside the engine's steps: the way through HTTP and the tokenizer."""

    def step_time(self) -> StepTime:
        """Return the table of steps: measured ones, straight lines between them, and prompts' tokens beyond the places."""
        known = sorted(self.steps.items())
        table = [0.0]
        for (low, fast), (high, slow) in zip([(0, known[0][1]), *known], known, strict=False):
            table += [fast + (slow - fast) * (tokens - low) / (high - low) for tokens in range(low + 1, high + 1)]
        last = table[-1]
        table += [last + self.per_prompt_token * more for more in range(1, _MOST_TOKENS - SLOTS + 1)]
        return StepTime(tuple(table), 0.0, 0.0, self.per_prompt_token)

    def slower(self, by: float) -> "Speed":
        """The same engine on a machine that takes `by` times as long."""
        return Speed(
            {running: by * step for running, step in self.steps.items()}, by * self.per_prompt_token, self.beside
        )

    @property
    def most(self) -> float:
        """Requests a second that a full engine answers."""
        return 1 / (ANSWER / SLOTS * self.steps[SLOTS] + PROMPT * self.per_prompt_token)


async def calibrated(server: Server, seed: int) -> Speed:
    """Measure what steps and prompts take; each seed has prompts of its own, or those of the last one might be in the engine's cache."""
    words = iter(range(1_000 * seed, 1_000 * (seed + 1)))
    async with aiohttp.ClientSession() as session:
        await _steps(session, server, words)
        steps = await _steps(session, server, words)
        short, long = [await _prompt_seconds(session, server, words, tokens) for tokens in (PROMPT, _LONG_PROMPT)]
    per_token = max(0.0, (long - short) / (_LONG_PROMPT - PROMPT))
    plain = Speed(steps, per_token, 0.0)
    return Speed(steps, per_token, max(0.0, short - plain.step_time().seconds(PROMPT, 0.0, 0.0)))


def burst_of(most: float, seed: int) -> tuple[Arrival, ...]:
    """Draw the arrivals: calm, more than the engine can do, calm."""
    chance, found, began = random.Random(seed), [], 0.0  # noqa: S311 - no secret
    for seconds, share in _PARTS:
        at = began + chance.expovariate(most * share)
        while at < began + seconds:
            found.append(Arrival(at, PROMPT, ANSWER))
            at += chance.expovariate(most * share)
        began += seconds
    return tuple(found)


async def measured(server: Server, arrivals: Iterable[Arrival], seed: int) -> list[tuple[Arrival, float, float]]:
    """Send the requests when they arrive; returns each with the seconds to its first and its last token."""
    # A connection that rests is closed by the server, maybe just when the next request takes it.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        began = time.perf_counter()

        async def one(number: int, arrival: Arrival) -> tuple[Arrival, float, float]:
            await asyncio.sleep(max(0.0, arrival.at - (time.perf_counter() - began)))
            word = 10_000 * (1 + seed % 3) + number
            first, last = await _stream(session, server, arrival.prompt_tokens, arrival.output_tokens, word)
            return arrival, first, last

        return await asyncio.gather(*(one(number, arrival) for number, arrival in enumerate(arrivals)))


def predicted(speed: Speed, arrivals: tuple[Arrival, ...]) -> list[tuple[Arrival, float, float]]:
    """Play the same arrivals in the simulator."""
    setup = Setup(
        speed=speed.step_time(),
        engine=EngineLimits(_KV_TOKENS, SLOTS),
        limits=PathLimits("Direct"),
        bounds=(1, 1),
        cold_start=ColdStart((1.0,)),
        first_token=_OBJECTIVE,
    )
    record = run(setup, arrivals, Fixed(1), length=sum(seconds for seconds, _ in _PARTS), seed=1)
    return [
        (one.arrival, one.first_token - one.arrival.at + speed.beside, one.ended - one.arrival.at + speed.beside)
        for one in record.requests
    ]


def waits(answers: list[tuple[Arrival, float, float]]) -> Waits:
    """Sum up a burst."""
    firsts = sorted(first for _, first, _ in answers)
    return Waits(
        median=statistics.median(firsts),
        p90=firsts[int(0.9 * len(firsts))],
        longest=firsts[-1],
        within=sum(first <= _OBJECTIVE for first in firsts) / len(firsts),
        late_until=max((arrival.at for arrival, first, _ in answers if first > _OBJECTIVE), default=0.0),
        answer=statistics.median(last - first for _, first, last in answers),
    )


async def _compared(server: Server, seeds: int, progress: Console) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for seed in range(1, seeds + 1):
        speed = await calibrated(server, seed)
        arrivals = burst_of(speed.most, seed)
        progress.print(
            f"==> burst {seed} of {seeds}: {len(arrivals)} requests, {speed.most:.1f}/s is the most, a step of {SLOTS} takes {1000 * speed.steps[SLOTS]:.1f} ms"
        )
        real, before = waits(await measured(server, arrivals, seed)), waits(predicted(speed, arrivals))
        # The machine's own speed changes within minutes: the time from token to token says by how much.
        now = speed.slower(real.answer / before.answer)
        found = {"measured": real, "predicted": before, "at its speed": waits(predicted(now, arrivals))}
        rows += [{"burst": seed, "requests": len(arrivals), "of": name, **asdict(one)} for name, one in found.items()]
    return rows


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bursts", type=int, default=3, help="bursts, each after a calibration of its own (3)")
    parser.add_argument("-o", choices=("table", "json"), default="table", help="form of the result")
    options = parser.parse_args()
    # Else a run that is ended from outside leaves its server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with plain_vllm() as server:
        rows = asyncio.run(_compared(server, options.bursts, Console(stderr=True, highlight=False)))
    if options.o == "json":
        print(json.dumps(rows, indent=2))
        return
    table = Table("burst", "requests", "", box=box.SIMPLE_HEAD)
    for name in ("first token, median", "90 %", "longest", "within 2 s", "late until", "answer after it, median"):
        table.add_column(name, justify="right")
    for row in rows:
        seconds = (f"{row[name]:.2f} s" for name in ("median", "p90", "longest"))
        table.add_row(
            *(str(row[name]) for name in ("burst", "requests", "of")),
            *seconds,
            f"{100 * float(str(row['within'])):.1f} %",
            f"{row['late_until']:.0f} s",
            f"{row['answer']:.2f} s",
        )
    Console(width=120).print(
        table, "at its speed: predicted with steps as much longer or shorter as the answers of the burst were", sep=""
    )


if __name__ == "__main__":
    main()
