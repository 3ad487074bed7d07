"""The mapping from a request to what its model reads: everything, but for what is excused by name."""

import json

import pytest

from llama_serving.contract.usage import Dialect
from llama_serving.guard.asked import Turn, asked_of

MARK = "the marked words"


def asked(request, dialect=Dialect.CHAT):
    return asked_of(request, dialect, lambda tokens: "".join(map(chr, tokens)))


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"place": MARK})}}
WORDS = {
    "a text": (Dialect.CHAT, {"messages": [{"role": "user", "content": MARK}]}),
    "a part": (Dialect.CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": MARK}]}]}),
    "the system": (Dialect.CHAT, {"messages": [{"role": "system", "content": MARK}]}),
    "a tool's result": (Dialect.CHAT, {"messages": [{"role": "tool", "tool_call_id": "c1", "content": MARK}]}),
    "arguments": (Dialect.CHAT, {"messages": [{"role": "assistant", "tool_calls": [CALL]}]}),
    "a name": (Dialect.CHAT, {"messages": [{"role": "user", "name": MARK, "content": "hi"}]}),
    "reasoning": (Dialect.CHAT, {"messages": [{"role": "assistant", "reasoning_content": MARK, "content": "x"}]}),
    "an unknown field": (Dialect.CHAT, {"messages": [{"role": "user", "novelty": {"deep": [MARK]}}]}),
    "an id that is none": (Dialect.CHAT, {"messages": [{"role": "tool", "tool_call_id": MARK, "content": "x"}]}),
    "a type that is none": (Dialect.CHAT, {"messages": [{"role": "user", "content": [{"type": MARK}]}]}),
    "a tool": (Dialect.CHAT, {"messages": [], "tools": [{"type": "function", "function": {"name": "f", "description": MARK}}]}),
    "a document": (Dialect.CHAT, {"messages": [], "documents": [{"title": "t", "text": MARK}]}),
    "an argument of the template": (Dialect.CHAT, {"messages": [], "chat_template_kwargs": {"date_string": MARK}}),
    "a prompt": (Dialect.COMPLETIONS, {"prompt": MARK}),
    "one of several": (Dialect.COMPLETIONS, {"prompt": ["a", MARK]}),
    "tokens": (Dialect.COMPLETIONS, {"prompt": [ord(one) for one in MARK]}),
    "several of tokens": (Dialect.COMPLETIONS, {"prompt": [[97], [ord(one) for one in MARK]]}),
    "a suffix": (Dialect.COMPLETIONS, {"prompt": "a", "suffix": MARK}),
    "Anthropic's system": (Dialect.MESSAGES, {"system": [{"type": "text", "text": MARK}], "messages": []}),
    "Anthropic's tool": (Dialect.MESSAGES, {"messages": [], "tools": [{"name": "f", "input_schema": {"properties": {MARK: {}}}}]}),
    "Anthropic's use of a tool": (
        Dialect.MESSAGES,
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"status": MARK}}]}]},
    ),
    "a name of an argument": (
        Dialect.MESSAGES,
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {MARK: 1}}]}]},
    ),
    "Anthropic's result": (
        Dialect.MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": MARK}]}]}]},
    ),
    "Anthropic's thinking": (Dialect.MESSAGES, {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": MARK}]}]}),
    "instructions": (Dialect.RESPONSES, {"instructions": MARK, "input": "x"}),
    "an input": (Dialect.RESPONSES, {"input": MARK}),
    "an item": (Dialect.RESPONSES, {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": MARK}]}]}),
    "a call": (Dialect.RESPONSES, {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": MARK}]}),
    "an output": (Dialect.RESPONSES, {"input": [{"type": "function_call_output", "call_id": "c", "output": MARK}]}),
    "an item of reasoning": (Dialect.RESPONSES, {"input": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": MARK}]}]}),
}  # fmt: skip


@pytest.mark.parametrize("what", WORDS)
def test_words_are_found_wherever_they_stand(what):
    dialect, request = WORDS[what]
    found = asked(request, dialect)

    assert any(MARK in turn.text for turn in found.turns), found
    assert found.unread is None


@pytest.mark.parametrize(
    ("dialect", "request_", "place"),
    [
        (Dialect.CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "messages[0]"),
        (Dialect.MESSAGES, {"messages": [{"role": "user", "content": [{"type": "image", "source": {"data": "x"}}]}]}, "messages[0]"),
        (Dialect.RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]}, "input[0]"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_named(dialect, request_, place):
    assert asked(request_, dialect).unread.startswith(place)


@pytest.mark.parametrize("prompt", [[97, 1 << 40], [[97], [-1]]])
def test_numbers_of_no_token_are_no_text(prompt):
    assert asked({"prompt": prompt}, Dialect.COMPLETIONS).unread == "prompt"


def test_a_tool_may_call_an_argument_as_it_likes():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"image": {"type": "string"}}}}}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"file": "a.txt", "source": "x"}}

    assert asked({"messages": [], "tools": [tool]}).unread is None
    assert asked({"messages": [{"role": "assistant", "content": [call]}]}, Dialect.MESSAGES).unread is None


def test_sides_alternate():
    found = asked(
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "assistant", "content": "c"},
                {"role": "tool", "content": "d"},
                {"role": "user", "content": "e"},
            ]
        }
    )

    assert found.turns == (Turn("user", "s\n\na"), Turn("assistant", "b\n\nc"), Turn("user", "d\n\ne"))
