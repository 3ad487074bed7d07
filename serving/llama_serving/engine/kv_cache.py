"""Converts the size of the KV cache that vLLM measured into the terms of the plan. Called by `engine`; no vLLM in it."""

import math
from typing import Any


def kv_cache_size(cache_config: Any, max_model_length: int) -> tuple[int | None, float | None]:
    """Return the tokens that the KV cache holds, and how many sequences of the longest length at once.

    Tokens are counted in whole blocks, as a plan counts them. With a single kind of attention that is
    `num_gpu_blocks × block_size`. With several (the chunked layers of Llama 4), a sequence takes blocks for each kind
    from one pool: only vLLM's own concurrency says how many tokens fit. Source: `get_kv_cache_capacity` in vLLM's
    v1/core/kv_cache_utils.py. The line `GPU KV cache size` that vLLM logs cuts the last block to the configured length.

    Args:
        cache_config: vLLM's `CacheConfig`, after the engine has started.
        max_model_length: Longest sequence, in tokens.

    Returns:
        Both None before vLLM has measured anything; only the concurrency None if vLLM does not say it.
    """
    blocks, block_size = cache_config.num_gpu_blocks, cache_config.block_size
    if blocks is None:
        return None, None
    concurrency: float | None = getattr(cache_config, "kv_cache_max_concurrency", None)
    if concurrency is None or not math.isfinite(concurrency):
        return blocks * block_size, None
    return round(concurrency * math.ceil(max_model_length / block_size) * block_size), concurrency
