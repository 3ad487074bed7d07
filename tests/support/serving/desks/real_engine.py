"""Runs vLLM's own engine with the generated model, and prints what the meter and the engine's counters say of each request.

A process of its own, because an engine needs its environment from the start: see tests/serving/test_usage.py.
"""

import asyncio
import json
import sys

from prometheus_client import REGISTRY
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from llama_serving.desk.meter import CURRENT, Tally, metered
from llama_serving.generated import checkpoint

COUNTERS = {
    "vllm:prompt_tokens_total": "prompt",
    "vllm:prompt_tokens_cached_total": "cached",
    "vllm:generation_tokens_total": "output",
}
CASES = {
    "stream": {"tokens": 60},
    "not streamed": {"tokens": 60, "parts": False},
    "three choices as a stream": {"tokens": 20, "n": 3},
    "three choices, not streamed": {"tokens": 20, "n": 3, "parts": False},
    "a stream that its reader leaves": {"tokens": 400, "leaves_at": 50},
    "a stream that is cut off": {"tokens": 400, "cut_at": 60},
    "not streamed, cut off": {"tokens": 400, "cut_at": 60, "parts": False},
    "three choices, not streamed, cut off": {"tokens": 400, "cut_at": 60, "n": 3, "parts": False},
    "shorter than it asked for": {"tokens": 400, "most": 10},
    "a long prompt": {"tokens": 4, "prompt": 200},
    "the same prompt again": {"tokens": 4, "prompt": 200},
}


class Runs:
    """Requests to one engine, one after the other."""

    def __init__(self, engine):
        self.engine = engine

    async def one(self, name, *, tokens, prompt=None, n=1, parts=True, leaves_at=None, cut_at=None, most=None):
        """Run one request; return what was counted."""

        kind = RequestOutputKind.DELTA if parts else RequestOutputKind.FINAL_ONLY
        params = SamplingParams(max_tokens=tokens, n=n, output_kind=kind, ignore_eos=True)
        length = prompt or 20 + len(name)
        text = {"prompt_token_ids": [(number * 7 + length) % 200 + 5 for number in range(length)]}
        tally, over, before = Tally(most_output_tokens=most), asyncio.Event(), self.counted()

        async def run():
            CURRENT.set(tally)
            got = 0
            try:
                async for output in self.engine.generate(text, params, name):
                    got += sum(len(one.token_ids) for one in output.outputs)
                    if leaves_at is not None and got >= leaves_at:
                        break
            finally:
                await tally.leave(over.set)

        task = asyncio.create_task(run())
        if cut_at is not None:
            await self.made(cut_at)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await over.wait()
        # The engine's counters follow a step later.
        await asyncio.sleep(0.5)
        after = self.counted()
        return {
            "tally": {"prompt": tally.prompt_tokens, "cached": tally.cached_tokens, "output": tally.output_tokens},
            "engine": {name: after[name] - before[name] for name in after},
            "finish_reason": tally.finish_reason,
            "choices": n,
        }

    async def made(self, tokens):
        """Wait until the engine has made so many tokens of a sequence."""
        for _ in range(60_000):
            states = list(self.engine.output_processor.request_states.values())
            if states and states[0].stats.num_generation_tokens >= tokens:
                return
            await asyncio.sleep(0.002)

    @staticmethod
    def counted():
        """The engine's own counters."""

        counts = dict.fromkeys(COUNTERS.values(), 0)
        for metric in REGISTRY.collect():
            for sample in metric.samples:
                if sample.name in COUNTERS:
                    counts[COUNTERS[sample.name]] += int(sample.value)
        return counts


async def main():

    arguments = AsyncEngineArgs(
        model=str(checkpoint.ensure(checkpoint.default_folder())),
        max_model_len=512,
        max_num_seqs=8,
        dtype="bfloat16",
        kv_cache_memory_bytes=64 * 1024**2,
        enforce_eager=True,
        distributed_executor_backend="uni",
    )
    engine = metered(AsyncLLM.from_engine_args(arguments))
    try:
        runs = Runs(engine)
        counted = {name: await runs.one(name, **case) for name, case in CASES.items()}
    finally:
        engine.shutdown()
    sys.stdout.write(json.dumps(counted) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
