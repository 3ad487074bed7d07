"""Lets requests that come in go to the engine before tokens of others are handed out. `frontend` puts it in.

A step of an engine with sixteen sequences makes sixteen parts of streams, and each takes its turn in the loop where requests are
read. Sixteen requests that come together so reach the engine behind the tokens of several steps. Here the tokens of a step wait for
the requests that are on their way at that moment, which is work of this loop in any case, and never longer than `MOST_SECONDS`.

No vLLM is imported here. What is read of it: `add_request` of its client, and `engine_core.get_output_async`, which gives what a
step has made.
"""

import functools
import logging
from typing import Any, Final

from llama_serving.door.loop.ways import MINE, WAYS, Ways

MOST_SECONDS: Final = 0.005
"""Not tuned. It is the most that a token is late for one request."""

_LOGGER = logging.getLogger("ray.serve")


def first_come(client: Any, ways: Ways = WAYS) -> None:
    """Let requests go first.

    Args:
        client: vLLM's client of its engine; two attributes are replaced.
        ways: Of the requests that come in.
    """
    add_request = getattr(client, "add_request", None)
    outputs = getattr(getattr(client, "engine_core", None), "get_output_async", None)
    if not callable(add_request) or not callable(outputs):
        _LOGGER.warning("vLLM hands out tokens in another way than is known here: requests wait for those of others")
        return

    @functools.wraps(add_request)
    async def arrived(*arguments: Any, **named: Any) -> Any:
        try:
            return await add_request(*arguments, **named)
        finally:
            if (way := MINE.get()) is not None:
                way.end()

    @functools.wraps(outputs)
    async def handed_out() -> Any:
        made = await outputs()
        await ways.let_pass(MOST_SECONDS)
        return made

    client.add_request = arrived
    client.engine_core.get_output_async = handed_out
