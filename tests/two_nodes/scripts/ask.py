"""Streams chat answers until /tmp/stop exists, and prints how each ended: JSON, one a line. Runs in a pod of a client.

Arguments: URL, model, streams at once, tokens of each.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import httpx

STOP = Path("/tmp/stop")
DONE = "data: [DONE]"


async def stream(client: httpx.AsyncClient, model: str, tokens: int) -> str:
    """Ask once; says `done`, or what was in its way."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": tokens,
        "stream": True,
        "ignore_eos": True,
    }
    last, count = "", 0
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != httpx.codes.OK:
                return f"{answer.status_code} {(await answer.aread())[:200]!r}"
            async for line in answer.aiter_lines():
                last, count = line or last, count + 1
    except httpx.HTTPError as error:
        return f"{error!r} after {count} lines"
    return "done" if last == DONE else f"cut after {count} lines: {last[:200]}"


async def ask(url: str, model: str, tokens: int) -> None:
    """Ask one after another, each by a connection of its own, as clients do that know nothing of each other."""
    while not STOP.exists():  # noqa: ASYNC240 - in memory
        began = time.time()
        async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
            end = await stream(client, model, tokens)
        print(json.dumps({"began": began, "seconds": time.time() - began, "end": end}), flush=True)
        if end != "done":
            await asyncio.sleep(0.2)


async def main(url: str, model: str, clients: str, tokens: str) -> None:
    """Keep so many streams open."""
    await asyncio.gather(*(ask(url, model, int(tokens)) for _ in range(int(clients))))


asyncio.run(main(*sys.argv[1:]))
