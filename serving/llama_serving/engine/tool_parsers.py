"""Our readers of tool calls, in the place of vLLM's. Called by `engine.vllm` before the engine starts.

vLLM 0.32 reads the calls of Llama in two ways, whole and streamed, and the two differ. Streamed, it loses an answer in JSON that is no
call, and the arguments of a call without any; both ways take an object with a `name` for a call, whatever the name is. Which
texts it reads wrongly stands in tests/serving/frontend/test_frontend.py, so that a newer version that reads them right is noticed.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from typing_extensions import override
from vllm.entrypoints.generate.base.protocol import (
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
    FunctionCall,
    ToolCall,
)
from vllm.renderers.chat_utils import make_tool_call_id
from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager
from vllm.tool_parsers.llama4_pythonic_tool_parser import Llama4PythonicToolParser
from vllm.tool_parsers.llama_tool_parser import Llama3JsonToolParser

from llama_serving.tool_calls.json_calls import JsonCalls
from llama_serving.tool_calls.pieces import Arguments, Begin, Piece, Reader, Text, added_up
from llama_serving.tool_calls.python_calls import PythonCalls


class _Reading(ToolParser):
    """A parser of vLLM around one of our readers."""

    reader_class: ClassVar[type[JsonCalls | PythonCalls]]

    def __init__(self, tokenizer: Any, tools: Any = None) -> None:
        super().__init__(tokenizer, tools)
        self._reader = self._new_reader()
        self._calls = 0

    @property
    def engine_based_streaming(self) -> bool:
        """Whether vLLM asks for the rest at the end of an answer. Where it forces calls by its own form, it needs its own state.

        Without tools nothing is a call: then vLLM hands each part on as it is, and reads none of them by us.
        """
        return bool(self.tools) and not self.supports_required_and_named

    def _new_reader(self) -> Reader:
        names = {tool.function.name if hasattr(tool, "function") else tool.name for tool in self.tools}
        return self.reader_class(names)

    @override
    def extract_tool_calls(self, model_output: str, request: Any) -> ExtractedToolCallInformation:
        """Read a whole answer. One with arguments that are no JSON is a text: nobody could call anything with them."""
        reader = self._new_reader()
        text, calls = added_up([*reader.feed(model_output), *reader.end()])
        if not calls or not all(_is_object(call.arguments) for call in calls):
            return ExtractedToolCallInformation(tools_called=False, tool_calls=[], content=model_output)
        made = [
            ToolCall(type="function", function=FunctionCall(name=call.name, arguments=call.arguments)) for call in calls
        ]
        return ExtractedToolCallInformation(tools_called=True, tool_calls=made, content=text.strip() or None)

    @override
    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> DeltaMessage | None:
        """Read the next part of a streamed answer."""
        return self._delta(self._reader.feed(delta_text))

    def finish_streaming(self) -> DeltaMessage | None:
        """Return what was kept back; vLLM calls this at the end of the answer."""
        return self._delta(self._reader.end())

    @override
    def get_remaining_unstreamed_args(self) -> str:
        """Nothing: all arguments were streamed."""
        return ""

    def _delta(self, pieces: Iterable[Piece]) -> DeltaMessage | None:
        content, calls = "", list[DeltaToolCall]()
        for piece in pieces:
            match piece:
                case Text():
                    content += piece.text
                case Begin():
                    function = DeltaFunctionCall(name=piece.name, arguments="")
                    calls.append(
                        DeltaToolCall(index=self._calls, id=make_tool_call_id(), type="function", function=function)
                    )
                    self._calls += 1
                case Arguments():
                    if not calls or calls[-1].index != self._calls - 1:
                        calls.append(DeltaToolCall(index=self._calls - 1, function=DeltaFunctionCall(arguments="")))
                    function = calls[-1].function
                    function.arguments = (function.arguments or "") + piece.text
        # What is not there is left out: clients take a message with an empty list of calls for one with calls.
        filled = {name: value for name, value in (("content", content), ("tool_calls", calls)) if value}
        return DeltaMessage(**filled) if filled else None


class JsonToolParser(_Reading, Llama3JsonToolParser):
    """Calls of Llama 3.1 to 3.3."""

    reader_class = JsonCalls


class PythonToolParser(_Reading, Llama4PythonicToolParser):
    """Calls of Llama 4."""

    reader_class = PythonCalls


def register() -> None:
    """Give vLLM our parsers under the names of its own."""
    ToolParserManager.register_module("llama3_json", module=JsonToolParser)
    ToolParserManager.register_module("llama4_pythonic", module=PythonToolParser)


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False
