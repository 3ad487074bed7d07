"""Seconds of one step of an engine, from the plan's own model of a replica (`decide.plan.performance`).

That model averages over a steady state; a simulation needs each step. The formulas are the same: a step over T tokens, of which
prompts attend to A pairs of tokens and answers read C tokens of the KV cache, takes on one pipeline stage

    ((a T)^p + w(T)^p)^(1/p) + l T + c  +  2 u A  +  k C

a: arithmetic of the matrix products per token. w: reading the weights that T tokens touch. p: how far they overlap. l: bytes of the
all-reduces per token. c: latencies of the all-reduces, and the overhead of a step and of its layers. u: arithmetic of attention
over one pair, twice, because the plan counts P^2 pairs of a prompt and a causal one has P^2 / 2. k: reading one token of the cache, or its
arithmetic if that takes longer. All of it comes from `ReplicaModel`: the part in T is its prefill of one token more or less.

Called by `simulate.engine` for each step; docs/simulate.md says how far it holds.
"""

import math
from dataclasses import dataclass

from llama_operator.decide.plan.performance import ReplicaModel

_LONG = 4096
"""Tokens of context that tell the cost of one token apart from the rounding of floats."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step as a table over its tokens, and two slopes."""

    by_tokens: tuple[float, ...]
    """Seconds of a step over so many tokens, without attention."""
    per_pair: float
    """Seconds for each pair of tokens of which one, of a prompt, attends to the other."""
    per_cached_token: float
    """Seconds for each token of the KV cache that an answer reads."""
    work_per_token: float
    """Seconds that one more token costs a full step: what work of an engine is counted in."""

    def seconds(self, tokens: int, pairs: float, cached: float) -> float:
        """Return the seconds of a step.

        Args:
            tokens: Tokens computed: one for each running answer, and those of prompts.
            pairs: Pairs of tokens of prompts.
            cached: Tokens of the KV cache that running answers read.
        """
        return self.by_tokens[tokens] + self.per_pair * pairs + self.per_cached_token * cached

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest step."""
        return len(self.by_tokens) - 1

    def alone(self, prompt_tokens: int) -> float:
        """Return the seconds until the first token of a prompt that an idle engine gets, in chunks of the largest step."""
        whole, rest = divmod(prompt_tokens, self.most_tokens)
        chunks = whole * self.by_tokens[-1] + (self.by_tokens[rest] if rest else 0.0)
        return chunks + self.per_pair * prompt_tokens**2 / 2

    def work(self, prompt_tokens: float, output_tokens: float) -> float:
        """Return the engine seconds that a request costs a busy engine.

        Its tokens in full steps, its attention, and the cache that its answer reads: the answer grows from the prompt on, so it
        reads the prompt and half of itself on average.
        """
        return (
            self.work_per_token * (prompt_tokens + output_tokens)
            + self.per_pair * prompt_tokens**2 / 2
            + self.per_cached_token * output_tokens * (prompt_tokens + output_tokens / 2)
        )


def step_time(replica: ReplicaModel, most_tokens: int) -> StepTime:
    """Take the plan's model of a replica apart into the cost of steps.

    With pipeline stages, all sequences pass all stages once in what is called a step here: each stage computes a share of them, and
    the stages are busy for `pipeline_balance` of the time.

    Args:
        replica: The model of the replica.
        most_tokens: Tokens of the largest step (`max_num_batched_tokens`).
    """
    stages = replica.sharding.pipeline
    passes = stages / (replica.engine.pipeline_balance if stages > 1 else 1.0)
    # A stage computes its share of the tokens, without context: neither pairs nor the cache are in the table.
    shares = (tokens / stages for tokens in range(1, most_tokens + 1))
    table = (0.0, *(passes * replica.decode_stage_seconds(share, 0.0) for share in shares))
    read = (replica.decode_stage_seconds(1.0, _LONG) - replica.decode_stage_seconds(1.0, 0.0)) / _LONG
    return StepTime(
        by_tokens=table,
        per_pair=2 * _pair_seconds(replica) * passes / stages,
        per_cached_token=read * passes / stages,
        work_per_token=(table[-1] - table[most_tokens // 2]) / (most_tokens - most_tokens // 2),
    )


def _pair_seconds(replica: ReplicaModel) -> float:
    """Seconds of one stage for one pair as the plan counts them: what a prompt costs more than as many single tokens."""
    tokens = _LONG
    together = replica.prefill_stage_seconds(tokens)
    single = replica.decode_stage_seconds(float(tokens), 0.0)
    return (together - single) / math.pow(tokens, 2)
