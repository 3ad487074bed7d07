"""Requests to the OpenAI API that a local run serves. Used by `cli.run.command` and `cli.run.tour`."""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import aiohttp

from llama_operator.errors import LlamaOperatorError

_TIMEOUT = aiohttp.ClientTimeout(total=120)
MAX_TOKENS = 24
"""Enough to see an answer; the sample's weights are random, so more says no more."""


def body(model: str, prompt: str, *, stream: bool = False, max_tokens: int = MAX_TOKENS) -> dict[str, Any]:
    """Build the body of a chat completion."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        **({"stream": True} if stream else {}),
    }


def curl(url: str, model: str, *, stream: bool = False, with_key: bool = False) -> str:
    """Build a command that can be pasted into a shell."""
    content = json.dumps(body(model, "Hello!", stream=stream))
    buffered = "-N " if stream else ""
    key = "-H 'Authorization: Bearer KEY' " if with_key else ""
    return f"curl -s {buffered}{url}/chat/completions {key}-H 'Content-Type: application/json' -d '{content}'"


async def answer(url: str, model: str, prompt: str) -> str:
    """Ask once and return the text.

    Raises:
        LlamaOperatorError: If the endpoint refuses, with its own words.
    """
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
        reply = await post(http, f"{url}/chat/completions", body(model, prompt))
    text: str = reply["choices"][0]["message"]["content"]
    return text


async def post(http: aiohttp.ClientSession, url: str, content: dict[str, Any]) -> dict[str, Any]:
    """POST JSON and return the JSON answer; raises LlamaOperatorError for anything but 200."""
    async with http.post(url, json=content) as response:
        if response.status != HTTPStatus.OK:
            raise LlamaOperatorError(f"{url} answered {response.status}: {(await response.text())[:500]}")
        parsed: dict[str, Any] = await response.json()
        return parsed


async def pieces(http: aiohttp.ClientSession, url: str, model: str, prompt: str) -> AsyncIterator[str]:
    """Stream a chat completion, piece by piece."""
    async with http.post(f"{url}/chat/completions", json=body(model, prompt, stream=True)) as response:
        async for line in response.content:
            data = line.decode().removeprefix("data: ").strip()
            if not data or data == "[DONE]":
                continue
            choices = json.loads(data).get("choices") or [{}]
            if piece := choices[0].get("delta", {}).get("content"):
                yield piece
