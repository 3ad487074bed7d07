"""Prompts that are made in the loop, and those that are left to threads. What vLLM's renderer is called is asked in tests/serving/frontend."""

import asyncio
from types import SimpleNamespace

import pytest

from llama_serving.engine.loop.short_prompts import MOST_LETTERS, in_the_loop, is_short

HELLO = {"role": "user", "content": "Hello"}
PLAIN = {"chat_template": "t" * 9000, "tools": None, "add_generation_prompt": True, "tokenize": False}
TOOL = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("conversation", "settings", "short"),
    [
        ([HELLO], PLAIN, True),
        ([HELLO] * 10, PLAIN, True),
        ([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], PLAIN, True),
        ([HELLO, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], PLAIN, True),
        ([HELLO], PLAIN | {"tools": [TOOL]}, True),
        ([HELLO | {"content": "x" * MOST_LETTERS}], PLAIN, False),
        ([HELLO] * 100, PLAIN, False),
        ([HELLO | {"content": [{}] * MOST_LETTERS}], PLAIN, False),
        ([HELLO], PLAIN | {"tools": [TOOL] * 50}, False),
        ([HELLO], PLAIN | {"documents": [{"text": "x" * MOST_LETTERS}]}, False),
        ([HELLO], PLAIN | {"date": object()}, False),
    ],
)
def test_what_is_short(conversation, settings, short):
    assert is_short(conversation, settings) is short


class Renderer:
    """Stands for vLLM's."""

    def __init__(self):
        self.threads, self.limited = [], 0

    async def _apply_chat_template_async(self, model, tokenizer, conversation, **settings):
        self.threads.append("template")
        return f"{model} in a thread"

    async def _render_with_timeout(self, work):
        self.limited += 1
        return await work

    async def _tokenize_prompt_async(self, prompt, params):
        self.threads.append("tokens")
        return self._tokenize_prompt(prompt, params)

    def _tokenize_prompt(self, prompt, params):
        return [len(prompt["prompt"]), params]


def template(model, tokenizer, conversation, **settings):
    if conversation[0]["content"] == "refused":
        raise ValueError("no such role")
    return f"{model} here"


async def asked(renderer, content):
    prompt = await renderer._render_with_timeout(
        renderer._apply_chat_template_async("m", None, [HELLO | {"content": content}], **PLAIN)
    )
    return prompt, await renderer._tokenize_prompt_async({"prompt": content}, "p")


async def test_a_short_prompt_is_made_at_once_and_a_long_one_in_a_thread():
    renderer = Renderer()
    assert in_the_loop(renderer, template)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    assert await asked(renderer, "Hello") == ("m here", [5, "p"])
    assert (turns, renderer.threads, renderer.limited) == (0, [], 0)
    assert await asked(renderer, "x" * 3000) == ("m in a thread", [3000, "p"])
    assert (renderer.threads, renderer.limited) == (["template", "tokens"], 1)
    counting.cancel()


async def test_what_the_template_refuses_is_refused_where_it_is_awaited():
    renderer = Renderer()
    in_the_loop(renderer, template)
    with pytest.raises(ValueError, match="no such role"):
        await asked(renderer, "refused")


async def test_it_can_be_gathered_as_vllm_does():
    renderer = Renderer()
    in_the_loop(renderer, template)
    assert await asyncio.gather(*(asked(renderer, "Hello") for _ in range(3))) == [("m here", [5, "p"])] * 3


def test_a_renderer_that_is_not_known_stays_as_it_is():
    other = SimpleNamespace(_tokenize_prompt=print)
    assert not in_the_loop(other, template)
    assert vars(other) == {"_tokenize_prompt": print}
