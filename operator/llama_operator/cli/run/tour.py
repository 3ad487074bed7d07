"""The tour of a local run (`make demo`): models, chat, streaming, then a burst that makes queue and replicas move."""

import asyncio
import time
from collections.abc import Callable

import aiohttp
from rich.console import Console

from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.run import chat, status_table
from llama_operator.cli.run.session import LocalSession
from llama_operator.cli.shared.exit_codes import EXIT_FAILED, EXIT_OK
from llama_operator.errors import LlamaOperatorError

_CLIENTS = 24
"""Requests kept in flight during the burst: several times what one replica of the sample takes."""
_RELIEVED = 18
"""Queue at which the second replica is seen to help."""
_BURST_SECONDS = 120.0
"""The burst ends when the second replica serves, or after this."""
_BURST_TOKENS = 200
_BAR = 40


async def tour(session: LocalSession, url: str, model: str, console: Console) -> int:
    """Show what the endpoint can do, as commands that the reader can repeat; returns the exit code."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as http:
        await _models(http, url, console)
        await _chat(http, url, model, console)
        await _stream(http, url, model, console)
        lost = await _burst(session, http, url, model, console)
    status_table.show(console, session.ref, session.status)
    for event in session.status.scaling_history:
        console.print(f"  {event.time:%H:%M:%S}  {event.from_replicas} → {event.to_replicas} replicas: {event.reason}")
    if lost:
        console.print(f"[bold red]✗[/] {lost} requests were lost")
        return EXIT_FAILED
    return EXIT_OK


def _command(console: Console, text: str) -> None:
    # Not folded: it is there to be pasted.
    console.print(f"\n$ {text}", markup=False, style="bold", soft_wrap=True)


async def _models(http: aiohttp.ClientSession, url: str, console: Console) -> None:
    _command(console, f"curl -s {url}/models")
    async with http.get(f"{url}/models") as response:
        found = await response.json()
    for model in found["data"]:
        console.print(f"{model['id']}  owned by {model['owned_by']}", markup=False)


async def _chat(http: aiohttp.ClientSession, url: str, model: str, console: Console) -> None:
    _command(console, chat.curl(url, model))
    began = time.monotonic()
    found = await chat.post(http, f"{url}/chat/completions", chat.body(model, "Hello!"))
    usage = found["usage"]
    console.print(repr(found["choices"][0]["message"]["content"]), markup=False)
    console.print(
        f"{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out, {time.monotonic() - began:.2f} s "
        "(random weights: it proves the path, not the prose)",
        style="dim",
    )


async def _stream(http: aiohttp.ClientSession, url: str, model: str, console: Console) -> None:
    _command(console, chat.curl(url, model, stream=True))
    began, count = time.monotonic(), 0
    first = 0.0
    async for piece in chat.pieces(http, url, model, "Hello!"):
        count += 1
        first = first or time.monotonic() - began
        console.print(repr(piece)[1:-1], end="", markup=False)
    console.print(f"\n{count} pieces, the first after {first:.2f} s", style="dim")


async def _burst(session: LocalSession, http: aiohttp.ClientSession, url: str, model: str, console: Console) -> int:
    """Keep many requests in flight until a second replica serves; returns the number of requests lost."""
    _command(console, f"# {_CLIENTS} clients at once: the queue gets deep, a replica is added")
    ends = asyncio.Event()
    counts = {"answered": 0, "lost": 0}

    async def client() -> None:
        while not ends.is_set():
            try:
                await chat.post(
                    http, f"{url}/chat/completions", chat.body(model, "Tell me more.", max_tokens=_BURST_TOKENS)
                )
                counts["answered"] += 1
            except (aiohttp.ClientError, TimeoutError, LlamaOperatorError):
                counts["lost"] += 1

    clients = [asyncio.create_task(client()) for _ in range(_CLIENTS)]
    try:
        await _watch(
            session, console, lambda status: status.ready_replicas > 1 and (status.queue_depth or 0) <= _RELIEVED
        )
    finally:
        ends.set()
        await asyncio.gather(*clients)
    console.print(f"{counts['answered']} answered, {counts['lost']} lost")
    return counts["lost"]


async def _watch(session: LocalSession, console: Console, done: Callable[[LlamaDeploymentStatus], bool]) -> None:
    began, shown = time.monotonic(), None
    while time.monotonic() - began < _BURST_SECONDS:
        status = await session.next_status()
        depth = status.queue_depth or 0
        line = (depth, status.ready_replicas, status.replicas)
        if line != shown:
            console.print(
                f"  {time.monotonic() - began:4.0f} s  replicas {status.ready_replicas}/{status.replicas}  "
                f"queue {depth:3d} {'█' * min(_BAR, depth)}",
                markup=False,
            )
            shown = line
        if done(status):
            return
