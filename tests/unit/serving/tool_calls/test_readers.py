"""Texts as Llama models write them, and as they should not, in any number of parts: text and calls are always the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_serving.tool_calls.json_calls import JsonCalls
from llama_serving.tool_calls.pieces import added_up
from llama_serving.tool_calls.python_calls import PythonCalls

NAMES = {"get_weather", "get_time", "move.to"}
LIMA = '{"name": "get_weather", "parameters": {"city": "Lima"}}'
TIME = '{"name": "get_time", "parameters": {}}'
IN_JSON = {
    "one call": (LIMA, "", [("get_weather", {"city": "Lima"})]),
    "arguments in place of parameters": (
        LIMA.replace("parameters", "arguments"),
        "",
        [("get_weather", {"city": "Lima"})],
    ),
    "with its type": ('{"type": "function", ' + LIMA[1:], "", [("get_weather", {"city": "Lima"})]),
    "after the tag": ("<|python_tag|>" + LIMA, "", [("get_weather", {"city": "Lima"})]),
    "after blanks": ("\n  " + LIMA + "\n", "", [("get_weather", {"city": "Lima"})]),
    "no arguments": (TIME, "", [("get_time", {})]),
    "neither arguments nor a word of them": ('{"name": "get_time"}', "", [("get_time", {})]),
    "null for arguments": ('{"name": "get_time", "parameters": null}', "", [("get_time", {})]),
    "None for arguments": ('{"name": "get_time", "parameters": None}', "", [("get_time", {})]),
    "arguments as a text": (
        '{"name": "get_weather", "parameters": "{\\"city\\": \\"Lima\\"}"}',
        "",
        [("get_weather", {"city": "Lima"})],
    ),
    "two with a semicolon": (f"{LIMA}; {TIME}", "", [("get_weather", {"city": "Lima"}), ("get_time", {})]),
    "two with a semicolon and no blank": (f"{LIMA};{TIME}", "", [("get_weather", {"city": "Lima"}), ("get_time", {})]),
    "two with nothing between": (f"{LIMA}{TIME}", "", [("get_weather", {"city": "Lima"}), ("get_time", {})]),
    "two in lines": (f"{TIME}\n{LIMA}", "", [("get_time", {}), ("get_weather", {"city": "Lima"})]),
    "brackets and quotes in a text": (
        '{"name": "get_weather", "parameters": {"city": "a \\"}} ; {\\" b", "days": [1, {"x": "}"}]}}',
        "",
        [("get_weather", {"city": 'a "}} ; {" b', "days": [1, {"x": "}"}]})],
    ),
    "another field after the arguments": (LIMA[:-1] + ', "id": {"x": "}"}}', "", [("get_weather", {"city": "Lima"})]),
    "words before it": ("I look it up.\n" + LIMA, "I look it up.\n", [("get_weather", {"city": "Lima"})]),
    "words after it": (LIMA + " I did it.", "I did it.", [("get_weather", {"city": "Lima"})]),
    "an answer in JSON": ('{"city": "Lima", "days": 3}', '{"city": "Lima", "days": 3}', []),
    "an answer in JSON with a name": ('{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}', []),
    "a tool that nobody offers": (LIMA.replace("get_weather", "rm"), LIMA.replace("get_weather", "rm"), []),
    "code": ("function f() { return 1 }", "function f() { return 1 }", []),
    "an object that never ends": ('{"name": "Ada', '{"name": "Ada', []),
    "a name that is no text": ('{"name": {"a": 1}, "parameters": {}}', '{"name": {"a": 1}, "parameters": {}}', []),
    "only a brace": ("{", "{", []),
    "only the beginning of the tag": ("<|python", "<|python", []),
    "code after the tag": ("<|python_tag|>print(1)", "print(1)", []),
    "nothing": ("", "", []),
    "letters of all kinds": (
        '{"name": "get_weather", "parameters": {"city": "Ñuñoa 東京 \\u00e9"}}',
        "",
        [("get_weather", {"city": "Ñuñoa 東京 é"})],
    ),
}
IN_PYTHON = {
    "one call": ('[get_weather(city="Lima")]', "", [("get_weather", {"city": "Lima"})]),
    "between its tokens": ("<|python_start|>[get_time()]<|python_end|>", "", [("get_time", {})]),
    "no arguments": ("[get_time()]", "", [("get_time", {})]),
    "two": (
        "[get_time(), get_weather(city='Lima', days=3)]",
        "",
        [("get_time", {}), ("get_weather", {"city": "Lima", "days": 3})],
    ),
    "a name with a dot": ("[move.to(x=-1.5, y=+2 )]", "[move.to(x=-1.5, y=+2 )]", []),
    "a negative number": ("[move.to(x=-1.5)]", "", [("move.to", {"x": -1.5})]),
    "values of all kinds": (
        "[get_weather(a=[1, 'x'], b={'k': (1, 2)}, c=None, d=True, e=false, f=null, g={'s'})]",
        "",
        [("get_weather", {"a": [1, "x"], "b": {"k": [1, 2]}, "c": None, "d": True, "e": False, "f": None, "g": ["s"]})],
    ),
    "brackets and quotes in a text": (
        "[get_weather(city='a \\') ], b', note=\"it's\")]",
        "",
        [("get_weather", {"city": "a ') ], b", "note": "it's"})],
    ),
    "a word of Python as a name": (
        "[get_weather(from='a', class=1)]",
        "",
        [("get_weather", {"from": "a", "class": 1})],
    ),
    "a line break in a text": ("[get_weather(city='a\nb')]", "", [("get_weather", {"city": "a\nb"})]),
    "a comma at the end": ("[get_time(),]", "", [("get_time", {})]),
    "words after it": ("[get_time()] Done.", "Done.", [("get_time", {})]),
    "a list": ("[1, 2]", "[1, 2]", []),
    "a link": ("[Lima](https://lima.example)", "[Lima](https://lima.example)", []),
    "a tool that nobody offers": ("[rm(path='/')]", "[rm(path='/')]", []),
    "a value without a name": ("[get_weather('Lima')]", "[get_weather('Lima')]", []),
    "something to compute": ("[get_weather(city=open('x').read())]", "[get_weather(city=open('x').read())]", []),
    "a call that never ends": ("[get_weather(city='Lima'", "[get_weather(city='Lima'", []),
    "words": ("It is noon.", "It is noon.", []),
    "only a bracket": ("[", "[", []),
    "nothing": ("", "", []),
}
READERS = [(JsonCalls, IN_JSON), (PythonCalls, IN_PYTHON)]
CASES = [
    pytest.param(reader, *case, id=f"{reader.__name__}-{name}")
    for reader, cases in READERS
    for name, case in cases.items()
]


def read(reader, parts):
    one = reader(NAMES)
    pieces = [piece for part in parts for piece in one.feed(part)] + one.end()
    return added_up(pieces)


@pytest.mark.parametrize(("reader", "answer", "text", "calls"), CASES)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_text_and_calls_are_the_same_in_parts_of_any_size(reader, answer, text, calls, size):
    found, made = read(reader, [answer[at : at + size] for at in range(0, len(answer), size)])
    assert [(call.name, json.loads(call.arguments)) for call in made] == calls
    assert found == text


@given(data=st.data(), answer=st.text(alphabet="{}[]()\"\\',:;=\n <|>get_timenaparcwh0", max_size=60))
@pytest.mark.parametrize("reader", [JsonCalls, PythonCalls])
def test_no_text_makes_a_reader_fail_and_no_cut_changes_what_it_reads(reader, data, answer):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    parts = [answer[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    assert read(reader, parts) == read(reader, [answer])


def test_arguments_come_as_they_are_written():
    reader = JsonCalls(NAMES)
    begun = reader.feed('{"name": "get_weather", "parameters": {"city": "Li')
    assert added_up(begun)[1][0].arguments == '{"city": "Li'
