"""Every text that a request brings, or an answer can carry, is known: checked, or excused by name.

The fields are those of the installed engine (`support.serving.frontends.engine_models`): one that is new with another version fails here
until somebody has looked at it.
"""

import fnmatch

import pytest

from llama_serving.contract.usage import Dialect
from llama_serving.guard.asked import BEFORE, EXCUSED, TURNS

pytestmark = [pytest.mark.serving, pytest.mark.timeout(900)]

MADE = """
    ChatMessage.content ChatMessage.reasoning ChatMessage.refusal DeltaMessage.content DeltaMessage.reasoning
    FunctionCall.arguments FunctionCall.name DeltaFunctionCall.arguments DeltaFunctionCall.name
    ChatCompletionLogProb.token ChatCompletionLogProbsContent.token
    CompletionResponseChoice.text CompletionResponseStreamChoice.text CompletionLogProbs.tokens CompletionLogProbs.top_logprobs
    AnthropicContentBlock.text AnthropicContentBlock.thinking AnthropicContentBlock.input AnthropicContentBlock.name
    AnthropicDelta.text AnthropicDelta.thinking AnthropicDelta.partial_json
    ResponseOutputText.text ResponseOutputRefusal.refusal Content.text Summary.text PartReasoningText.text Logprob.token
    LogprobTopLogprob.token ResponseFunctionToolCall.arguments ResponseFunctionToolCall.name ResponseReasoningTextDeltaEvent.delta
    ResponseReasoningTextDoneEvent.text ResponsesResponse.output_messages ResponseRawMessageAndToken.message
    ResponseCustomToolCall.input ResponseCustomToolCall.name ResponseCustomToolCallInputDeltaEvent.delta
    ResponseCustomToolCallInputDoneEvent.input Message.*
"""
"""Made of what the engine generates, all of which goes through the screening before any form is made of it."""

ECHOED = """
    ChatCompletionResponse.prompt_text ChatCompletionStreamResponse.prompt_text ChatCompletionResponse.prompt_logprobs
    CompletionResponseChoice.prompt_logprobs *.stop_reason AnthropicDelta.stop_sequence AnthropicMessagesResponse.stop_sequence
    ResponsesResponse.input_messages ResponsesResponse.instructions ResponsesResponse.metadata ResponsesResponse.user
    ResponsePrompt.* ResponseFormatTextJSONSchemaConfig.* ToolChoice*.* FunctionTool.* CustomTool.* NamespaceTool.* Grammar.*
    ToolFunction.* ToolSearchTool.* Reasoning.mode ResponseInput*.* AdditionalTools.* Author.* ChatMessage.role DeltaMessage.role
"""
"""What the client has sent itself, which was checked as such where a model reads it."""

OURS = """
    *.id *.item_id *.call_id *.model *.object *.finish_reason *.system_fingerprint *.routed_experts *.signature
    *.kv_transfer_params *.ec_transfer_params *.previous_response_id *.created_by *.namespace
    PromptTokenUsageInfo.multimodal_tokens AnthropicContentBlock.tool_use_id AnthropicError.* HTTPError.message
    AnthropicStreamEvent.message ResponseReasoningItem.encrypted_content
"""
"""Numbers and words of the engine itself; the refusals among them are the guard's own."""

NEVER = """
    Annotation*.* ChatCompletionAudio.* AcknowledgedSafetyCheck.* PendingSafetyCheck.* Action*.* Click.* DoubleClick.* Drag.* Keypress.*
    Move.* Scroll.* Type.* CallerProgram.* Program.* ProgramOutput.* CodeInterpreter*.* Container*.* ResponseContainerReference.*
    ComparisonFilter.* CompoundFilter.* FileSearchTool.* Filters.* ImageGeneration*.* InlineSkill*.* LocalShell*.* LocalSkill.*
    SkillReference.* Mcp*.* Operation*.* Output.* OutputImage.* OutputLogs.* ResponseApplyPatch*.* ResponseCodeInterpreter*.*
    ResponseCompactionItem.* ResponseComputer*.* ResponseCustomToolCallOutputItem.* ResponseFileSearch*.* ResponseFunctionShell*.*
    ResponseFunctionToolCallOutputItem.* ResponseFunctionWebSearch.* ResponseMcp*.* ResponseToolSearch*.* ResponseWebSearch*.* Result.*
    UserLocation.* AnthropicContentBlock.content AnthropicContentBlock.data AnthropicContentBlock.source AnthropicContentBlock.tool
    AnthropicContentBlock.tool_name
"""
"""Of tools that run on servers, of files, images and sound: no Llama makes them, and this endpoint calls no servers."""


@pytest.fixture
def engine(found):
    """The fields of the installed engine that can hold text."""
    return found["texts"]


def matches(field, kinds):
    return any(fnmatch.fnmatchcase(field, pattern) for kind in kinds for pattern in kind.split())


def test_every_text_of_a_request_is_read_or_excused(engine):
    unknown = {
        dialect: left
        for dialect, fields in engine["requests"].items()
        if (left := set(fields) - set(BEFORE) - {TURNS.get(Dialect(dialect))} - set(EXCUSED))
    }

    assert unknown == {}, "add each to guard/asked.py: to what is read, or to what is excused, with the reason"


def test_every_text_of_an_answer_is_made_by_the_engine_or_excused(engine):
    for dialect, fields in engine["answers"].items():
        assert fields
        assert [field for field in fields if not matches(field, (MADE, ECHOED, OURS, NEVER))] == [], dialect


def test_no_row_is_about_nothing(engine):
    fields = {field for fields in engine["answers"].values() for field in fields}
    rows = [row for kind in (MADE, ECHOED, OURS, NEVER) for row in kind.split()]

    assert [row for row in rows if not fnmatch.filter(fields, row)] == []
