"""Streams that are handed on without being read. That the parts are those of vLLM's parser is asked in tests/serving/frontend."""

from types import SimpleNamespace

import pytest

from llama_serving.engine.loop.plain_parts import without_reading


class Service:
    parser_cls = SimpleNamespace(reasoning_parser_cls=None)

    def _make_parser(self, request, tokenizer, settings):
        return "theirs"


def request(**fields):
    return SimpleNamespace(
        **({"stream": True, "tools": None, "tool_choice": "none", "include_reasoning": True} | fields)
    )


@pytest.mark.parametrize(
    ("asked", "plain"),
    [
        (request(), True),
        (request(tools=[], tool_choice=None), True),
        (request(stream=False), False),
        (request(tools=["a tool"]), False),
        (request(tools=["a tool"], tool_choice="none"), False),
        (request(tool_choice=SimpleNamespace(function="f")), False),
        (request(include_reasoning=False), False),
    ],
)
def test_which_streams_are_not_read(asked, plain):
    service = Service()
    without_reading(service, dict)
    parser = service._make_parser(asked, None, {})
    assert (parser != "theirs") is plain


def test_a_model_that_thinks_is_read():
    service = Service()
    service.parser_cls = SimpleNamespace(reasoning_parser_cls=object)
    without_reading(service, dict)
    assert service._make_parser(request(), None, {}) == "theirs"


def test_parts_are_handed_on():
    service = Service()
    without_reading(service, dict)
    parser = service._make_parser(request(), None, {})
    rest = {"delta_token_ids": [1], "request": None, "prompt_token_ids": [1], "finished": False}
    assert parser.parse_delta(delta_text="Hello", **rest) == {"content": "Hello"}
    assert parser.parse_delta(delta_text="", **rest) is None
    assert parser.reasoning_parser is None


@pytest.mark.parametrize("service", [None, SimpleNamespace(parser_cls=None)])
def test_another_service_stays_as_it_is(service):
    without_reading(service, dict)
    assert not hasattr(service, "_make_parser")
