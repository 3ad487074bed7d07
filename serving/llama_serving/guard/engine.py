"""The layer around `generate` of vLLM's `AsyncLLM` that lets outputs go through the screening of their request.

`llama_serving.engine.vllm` installs it, outside of the layer that counts tokens: what is held or stopped here is counted there.
"""

from collections.abc import AsyncGenerator
from typing import Any

from llama_serving.guard.screening import CURRENT


def guarded(engine_client: Any) -> Any:
    """Replace `generate` of `engine_client`, and return `engine_client`."""
    generate = engine_client.generate

    def guarded_generate(*arguments: Any, **named: Any) -> AsyncGenerator[Any, None]:
        outputs: AsyncGenerator[Any, None] = generate(*arguments, **named)
        screening = CURRENT.get()
        if screening is None:
            return outputs
        params = named.get("sampling_params") or arguments[1]
        in_parts = getattr(getattr(params, "output_kind", None), "name", "") == "DELTA"
        return screening.screened(outputs, in_parts=in_parts)

    engine_client.generate = guarded_generate
    return engine_client
