"""What `bench.routing` asks: conversations, questions about shared documents, or a recorded trace. Drawn with a seed, or read.

The generated model has one token for each character, so lengths are in both. Whoever asks sends its requests one after the other,
as a person does who waits for each answer.
"""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TENANTS: Final = ("alice", "bob")
LONGEST: Final = 1500
"""Of a prompt, in tokens."""
_TURNS: Final = 5
_TURN: Final = 160
_DOCUMENT: Final = 1100
_QUESTION: Final = 60
_TRACE_BLOCK: Final = 64
"""Tokens that stand for a block of 512 of the trace."""
_TRACE_LINES: Final = 4000
_COMES_BACK: Final = 3
_TEXT: Final = "abcdefghijklmnopqrstuvwxyz     "


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    tenant: str
    messages: tuple[dict[str, str], ...]
    conversation: str | None = None


Asker = tuple[Asked, ...]
"""Requests of which each waits for the answer to the one before."""


def conversations(seed: int, requests: int) -> list[Asker]:
    """Conversations of five turns, each with a beginning of its own, and named by the client."""
    return [
        tuple(_turns(random.Random(f"{seed}/{number}"), TENANTS[number % 2], f"c{seed}-{number}"))  # noqa: S311 - no secret
        for number in range(requests // _TURNS)
    ]


def documents(seed: int, requests: int) -> list[Asker]:
    """Questions about documents that many ask about: each names none, and some documents are asked for more often."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    texts = [_text(draw, _DOCUMENT) for _ in range(max(4, requests // 12))]
    ranks = [1 / (number + 1) for number in range(len(texts))]
    chosen = draw.choices(texts, ranks, k=requests)
    return [
        (Asked(TENANTS[number % 2], (_said("system", text), _said("user", _text(draw, _QUESTION)))),)
        for number, text in enumerate(chosen)
    ]


def trace(file: Path, seed: int, requests: int) -> list[Asker]:
    """Conversations of a trace in Mooncake's form: `hash_ids` names the blocks of 512 tokens with which a prompt begins.

    Blocks become shorter, to fit the model; the seed draws their text. Requests that share the block after the first, which all
    share, are a conversation; those that come back at least twice are taken.
    """
    found: dict[int, list[list[int]]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in itertools.islice(lines, _TRACE_LINES):
            blocks = json.loads(line)["hash_ids"][: LONGEST // _TRACE_BLOCK]
            found.setdefault(blocks[min(1, len(blocks) - 1)], []).append(blocks)
    askers: list[Asker] = []
    for name, prompts in found.items():
        if len(prompts) < _COMES_BACK or sum(map(len, askers)) >= requests:
            continue
        texts = ["".join(_text(random.Random(f"{seed}/{one}"), _TRACE_BLOCK) for one in blocks) for blocks in prompts]  # noqa: S311 - no secret
        asked = [Asked(TENANTS[0], (_said("user", text),), f"t{seed}-{name}") for text in texts]
        askers.append(tuple(asked[: _TURNS * 2]))
    return askers


def body(asked: Asked, model: str) -> dict[str, Any]:
    """The request, as the OpenAI client writes it."""
    return {"messages": asked.messages, "model": model, "max_tokens": 8, "temperature": 0, "ignore_eos": True}


def _turns(draw: random.Random, tenant: str, name: str) -> Iterator[Asked]:
    said = [_said("system", _text(draw, _TURN))]
    for _ in range(_TURNS):
        said.append(_said("user", _text(draw, _TURN)))
        yield Asked(tenant, tuple(said), name)
        said.append(_said("assistant", _text(draw, _TURN // 4)))


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _text(draw: random.Random, length: int) -> str:
    return "".join(draw.choices(_TEXT, k=length))
