"""vLLM's frontend without an engine: how it reads tool calls, and how we do; templates, names, and addresses of images.

What vLLM reads wrongly is written down here, so that a version that reads it right is noticed, and ours can go.
"""

import json

import pytest

from llama_serving.contract.usage import DIALECTS

pytestmark = [pytest.mark.serving, pytest.mark.timeout(900)]

WEATHER, TIME = ["get_weather", {"city": "Lima"}], ["get_time", {}]
OURS = {
    "llama3_json: a call": ("", [WEATHER]),
    "llama3_json: a call without arguments": ("", [TIME]),
    "llama3_json: two calls": ("", [WEATHER, TIME]),
    "llama3_json: two calls without a blank": ("", [WEATHER, WEATHER]),
    "llama3_json: two calls with nothing between": ("", [WEATHER, WEATHER]),
    "llama3_json: words before a call": ("I look it up.", [WEATHER]),
    "llama3_json: blanks before a call": ("", [WEATHER]),
    "llama3_json: arguments as a text": ("", [WEATHER]),
    "llama3_json: an answer in JSON": ('{"city": "Lima"}', []),
    "llama3_json: an answer in JSON with a name": ('{"name": "Ada", "age": 36}', []),
    "llama3_json: a tool that nobody offers": ('{"name": "rm", "parameters": {"path": "/"}}', []),
    "llama3_json: an object that never ends": ('{"city": "Li', []),
    "llama3_json: words": ("It is noon.", []),
    "llama4_pythonic: a call": ("", [WEATHER]),
    "llama4_pythonic: a call without arguments": ("", [TIME]),
    "llama4_pythonic: two calls": ("", [TIME, WEATHER]),
    "llama4_pythonic: a word of Python as a name": ("", [["get_weather", {"from": "a"}]]),
    "llama4_pythonic: a line break in a text": ("", [["get_weather", {"city": "a\nb"}]]),
    "llama4_pythonic: a list": ("[1, 2]", []),
    "llama4_pythonic: a link": ("[Lima](https://lima.example)", []),
    "llama4_pythonic: a tool that nobody offers": ("[rm(path='/')]", []),
    "llama4_pythonic: words": ("It is noon.", []),
}
STREAMED = ["streamed by 1", "streamed by 5"]
BOTH = [*STREAMED, "whole"]
WRONG_IN_VLLM = {
    "llama3_json: a call without arguments": STREAMED,
    "llama3_json: two calls": STREAMED,
    "llama3_json: two calls without a blank": STREAMED,
    "llama3_json: two calls with nothing between": BOTH,
    "llama3_json: words before a call": BOTH,
    "llama3_json: blanks before a call": STREAMED,
    "llama3_json: arguments as a text": BOTH,
    "llama3_json: an answer in JSON": STREAMED,
    "llama3_json: an answer in JSON with a name": STREAMED,
    "llama3_json: a tool that nobody offers": BOTH,
    "llama3_json: an object that never ends": STREAMED,
    "llama4_pythonic: a word of Python as a name": BOTH,
    "llama4_pythonic: a line break in a text": BOTH,
    "llama4_pythonic: a list": STREAMED,
    "llama4_pythonic: a link": STREAMED,
    "llama4_pythonic: a tool that nobody offers": BOTH,
}
"""Ways in which vLLM reads a text otherwise than `OURS`."""


def read(outcome):
    try:
        calls = [[name, json.loads(arguments)] for name, arguments in outcome["calls"]]
    except ValueError:
        return "arguments that are no JSON"
    return outcome["text"].strip(), calls


def test_our_readers_are_those_that_vllm_uses(found):
    assert found["registered"] == ["JsonToolParser", "PythonToolParser"]


@pytest.mark.parametrize("case", OURS)
def test_calls_are_read_the_same_whole_and_streamed(found, case):
    for way, outcome in found["ours"][case].items():
        assert read(outcome) == OURS[case], way


def test_without_tools_no_part_of_an_answer_is_kept_back(found):
    assert found["without tools"] == {"llama3_json": True, "llama4_pythonic": True}


def test_what_vllm_reads_wrongly_is_known(found):
    wrong = {
        case: sorted(way for way, outcome in found["vllm"][case].items() if read(outcome) != OURS[case])
        for case in OURS
    }
    assert {case: ways for case, ways in wrong.items() if ways} == WRONG_IN_VLLM


def test_a_template_is_the_checkpoints_or_one_that_is_named_and_a_base_model_has_none(found):
    assert found["templates"] == [True, False, True]


def test_an_answer_has_the_name_that_was_asked_for_and_an_adapter_its_own(found):
    assert found["names"] == ["model", "alias", "adapter"]


def test_routes_that_the_door_lets_in_stay_and_others_go(found):
    before, left = found["routes"]
    assert set(DIALECTS) < set(before)
    assert left == sorted(DIALECTS)


def test_layers_that_have_nothing_to_do_behind_the_door_go_and_others_stay(found):
    before, left = found["layers"]
    assert left == ["GZipMiddleware"]
    # A layer that vLLM or Ray names otherwise would stay, and nobody would notice.
    assert set(before) - set(left) == {
        "CORSMiddleware",
        "PrometheusInstrumentatorMiddleware",
        "ScalingMiddleware",
        "WebSocketMetricsMiddleware",
        "_ResolveLoRAMiddleware",
    }


def test_the_statistics_of_a_step_have_the_names_that_are_read(found):
    assert found["unknown statistics"] == []


def test_without_hosts_nothing_is_fetched(found):
    assert "fetched" not in found["fetching"].values()
    assert all("allowed" in words for words in found["fetching"].values()), found["fetching"]


def test_short_ways_are_those_of_this_vllm(found):
    ways = found["short ways"]
    assert ways["straight"] == sorted(DIALECTS)
    assert ways["unwatched"]
    assert ways["spans"]
    (in_threads, theirs), (in_the_loop, ours) = ways["prompts"]
    assert (in_threads, in_the_loop) == (2, 0)
    assert theirs == ours


@pytest.mark.parametrize("name", ["llama3_json", "llama4_pythonic"])
def test_a_stream_that_is_not_read_is_the_same(found, name):
    assert found["plain parts"][name]
