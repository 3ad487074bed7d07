"""Traces are what their files and shapes say; what cannot be read is said in words."""

import gzip
import json
import math
import os
import statistics
from dataclasses import replace

import pytest

from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.traces.lengths import CONVERSATION
from llama_operator.simulate.traces.named import find
from llama_operator.simulate.traces.shapes import SHAPES


@pytest.mark.parametrize("name", SHAPES)
def test_arrivals_of_a_shape_follow_its_rate(name):
    shape = replace(SHAPES[name], length=1300.0, high=12.0)
    trace = find(f"{name}:length=1300,high=12", 1)
    expected = sum(shape.rate(second + 0.5) for second in range(int(shape.length)))
    assert len(trace.arrivals) == pytest.approx(expected, abs=5 * math.sqrt(expected))
    assert [one.at for one in trace.arrivals] == sorted(one.at for one in trace.arrivals)
    assert trace.arrivals[-1].at < trace.length == shape.length


def test_the_same_seed_draws_the_same_and_lengths_have_the_means_of_their_source():
    text = "steady:length=1500"
    trace = find(text, 1)
    assert trace == find(text, 1)
    assert trace != find(text, 2)
    assert trace.mean_prompt == pytest.approx(1155, rel=0.02)
    assert trace.mean_output == pytest.approx(211, rel=0.02)
    assert len(CONVERSATION.prompt) == len(CONVERSATION.output) == 21


def test_settings_change_a_shape():
    trace = find("step:low=0,high=10,at=50,length=100,prompt=7,output=3", 1)
    assert trace.length == 100
    assert all(one.at >= 50 and (one.prompt_tokens, one.output_tokens) == (7, 3) for one in trace.arrivals)


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.6805900,12,0
"""
MOONCAKE = """{"timestamp": 500, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 3500, "input_length": 10, "output_length": 4, "hash_ids": [0]}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [(AZURE, [(0.0, 374, 44), (4.314579, 396, 109), (5.0, 12, 1)]), (MOONCAKE, [(0.0, 6758, 500), (3.0, 10, 4)])],
    ids=["Azure", "Mooncake"],
)
def test_files_of_others_are_read(tmp_path, text, expected):
    path = tmp_path / "trace"
    path.write_text(text, encoding="utf-8")
    trace = find(str(path), 1)
    found = [(one.at, one.prompt_tokens, one.output_tokens) for one in trace.arrivals]
    assert [at for at, *_ in found] == pytest.approx([at for at, *_ in expected])
    assert [lengths for _, *lengths in found] == [list(lengths) for _, *lengths in expected]


def test_copies_keep_the_length_and_a_share_and_a_window_take_a_part(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(AZURE, encoding="utf-8")
    trace = find(f"{path}:times=4", 1)
    assert len(trace.arrivals) == 12
    assert all(0 <= one.at < trace.length for one in trace.arrivals)
    assert len(find(f"{path}:start=4,length=1", 1).arrivals) == 1


def client(path, rate, windows):
    rows = [f"{600 * at},{rate},1.0,Gamma,1.0,{1 / rate}" for at in range(windows)]
    path.write_text("\n".join([*rows, f"{600 * windows},0,,,,"]) + "\n", encoding="utf-8")


def test_clients_of_servegen_are_drawn_window_by_window_and_add_up(tmp_path):
    client(tmp_path / "a.csv", 2.0, 6)
    client(tmp_path / "b.csv", 4.0, 6)
    one, both = find(f"{tmp_path / 'a.csv'}:length=3600", 1), find(f"{tmp_path}:length=3600", 1)
    assert one.rate == pytest.approx(2.0, rel=0.05)
    assert both.rate == pytest.approx(6.0, rel=0.05)
    assert find(f"{tmp_path}:length=3600,share=0.25", 1).rate == pytest.approx(1.5, rel=0.1)
    gaps = [after.at - before.at for before, after in zip(one.arrivals, one.arrivals[1:], strict=False)]
    assert statistics.stdev(gaps) == pytest.approx(0.5, rel=0.1)


def written(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5.5,ChatGPT,472,18,490,API log\n6,GPT-4,1,2,3,API log\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(BURSTGPT, [(0, 472, 18), (0.5, 1, 2)], id="names of another public trace"),
        pytest.param(
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.25,4,5\n1.5,6,7\n",
            [(0, 4, 5), (1.25, 6, 7)],
            id="Vidur's",
        ),
        pytest.param(
            "output tokens;TIME;input-tokens\n1;0.5;2\n3;1;4\n",
            [(0, 2, 1), (0.5, 4, 3)],
            id="another order, semicolons",
        ),
        pytest.param(
            b"\xef\xbb\xbf" + HEADER.replace("\n", "\r\n").encode() + b"0.5,1,2\r\n1,3,4\r\n",
            [(0, 1, 2), (0.5, 3, 4)],
            id="of a spreadsheet",
        ),
        pytest.param(HEADER + "9.5,1,2\n\n3,3,4\n5,5,6\n", [(0, 3, 4), (2, 5, 6), (6.5, 1, 2)], id="in no order"),
        pytest.param(
            HEADER + "2026-11-30T07:30:00.5Z,1,2\n2026-11-30 08:30:01+01:00,3.0,4\n",
            [(0, 1, 2), (0.5, 3, 4)],
            id="zones",
        ),
        pytest.param(HEADER + "1764000000.5,1,2\n1764000001,3,4\n", [(0, 1, 2), (0.5, 3, 4)], id="seconds since 1970"),
        pytest.param(
            HEADER + "1764000000500,1,2\n1764000001000,3,4\n", [(0, 1, 2), (0.5, 3, 4)], id="milliseconds since 1970"
        ),
        pytest.param(
            HEADER + "1764000000500000,1,2\n1764000001000000,3,4\n",
            [(0, 1, 2), (0.5, 3, 4)],
            id="microseconds since 1970",
        ),
        pytest.param(
            HEADER + "1764000000500000000,1,2\n1764000001000000000,3,4\n",
            [(0, 1, 2), (0.5, 3, 4)],
            id="nanoseconds since 1970",
        ),
        pytest.param(
            '{"timestamp": 1764000000.5, "input_length": 1, "output_length": 2}\n{"timestamp": 1764000001, "input_length": 3, "output_length": 4}\n',
            [(0, 1, 2), (0.5, 3, 4)],
            id="jsonl since 1970",
        ),
    ],
)
def test_lines_are_read_as_their_writers_meant_them(tmp_path, text, expected):
    trace = find(written(tmp_path, text), 1)
    assert [(one.at, one.prompt_tokens, one.output_tokens) for one in trace.arrivals] == [
        (pytest.approx(at, abs=1e-6), prompt, output) for at, prompt, output in expected
    ]


def event(number, started):
    data = {"started": started, "prompt_tokens": 10 * number, "output_tokens": number}
    return json.dumps({"source": "/namespaces/team/llamadeployments/chat", "id": f"req-{number}", "data": data}) + "\n"


def test_the_usage_log_is_a_trace_and_lines_that_were_copied_twice_count_once(tmp_path):
    first, second, third = (event(number, f"2026-11-27T12:00:0{number}Z") for number in (1, 2, 3))
    written(tmp_path, first + second, "logs/llama-usage-a-0.jsonl")
    written(tmp_path, second + third, "logs/another pod/llama-usage-b-0.jsonl")
    found = find(str(tmp_path / "logs"), 1).arrivals
    assert [(one.prompt_tokens, one.output_tokens) for one in found] == [(10, 1), (20, 2), (30, 3)]
    assert [int(one.at) for one in found] == [0, 1, 2]
    assert any(one.at != int(one.at) for one in found), "what is known to the second is spread over it"


def test_a_line_that_was_broken_off_at_the_end_and_events_without_an_id_take_nothing_away(tmp_path):
    nameless = json.dumps({"data": {"started": "2026-11-27T12:00:01Z", "prompt_tokens": 1, "output_tokens": 1}}) + "\n"
    path = written(tmp_path, 2 * nameless + event(2, "2026-11-27T12:00:09Z")[:50], "cut.jsonl")
    assert len(find(path, 1).arrivals) == 2


def test_usage_logs_of_two_deployments_are_not_one_load(tmp_path):
    written(tmp_path, event(1, "2026-11-27T12:00:01Z"), "logs/a.jsonl")
    written(tmp_path, event(2, "2026-11-27T12:00:02Z").replace("/chat", "/code"), "logs/b.jsonl")
    with pytest.raises(InvalidManifestError, match=r"2 deployments .*/chat, .*/code.: give the files of one"):
        find(str(tmp_path / "logs"), 1)


def test_rotated_files_of_a_folder_add_up_and_what_begins_with_a_dot_is_left_out(tmp_path):
    for number, name in ((1, "a.jsonl"), (2, "b/b.jsonl.gz"), (3, "..data/c.jsonl"), (4, ".old.jsonl")):
        text = event(number, f"2026-11-27T12:00:0{number}Z").encode()
        written(tmp_path, gzip.compress(text) if name.endswith("gz") else text, f"logs/{name}")
    assert len(find(str(tmp_path / "logs"), 1).arrivals) == 2
    written(tmp_path, AZURE, "logs/azure.csv")
    with pytest.raises(InvalidManifestError, match="has csv and jsonl in it"):
        find(str(tmp_path / "logs"), 1)


def test_a_client_may_be_packed_and_have_a_mark_at_its_beginning(tmp_path):
    client(tmp_path / "a.csv", 2.0, 2)
    text = (tmp_path / "a.csv").read_bytes()
    marked = written(tmp_path, gzip.compress(b"\xef\xbb\xbf" + text), "a.csv.gz")
    assert len(find(f"{marked}:length=1200", 1).arrivals) > 1000


def test_what_is_no_regular_file_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", "", ":times=2", "x" * 300, f"{'x' * 300}:times=2"):
        with pytest.raises(InvalidManifestError, match="neither a shape nor a file"):
            find(str(name), 1)


def test_a_packed_file_and_a_unit_of_its_own(tmp_path):
    packed = written(tmp_path, gzip.compress(AZURE.encode()), "trace.csv.gz")
    plain = written(tmp_path, AZURE)
    assert find(packed, 1) == find(plain, 1)
    seconds = find(f"{written(tmp_path, MOONCAKE, 'trace.jsonl')}:unit=1", 1)
    assert seconds.length == pytest.approx(3000, abs=1)


def test_lengths_are_drawn_where_lines_have_none(tmp_path):
    path = written(tmp_path, "time\n0.5\n1\n")
    assert {one.prompt_tokens for one in find(f"{path}:prompt=7,output=3", 1).arrivals} == {7}
    assert find(path, 1) != find(path, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(HEADER + "1,2,3\n,4,5\n", "line 3 of trace.csv: TIMESTAMP is empty", id="no time"),
        pytest.param(
            HEADER + "nan,4,5\n", "line 2 of trace.csv: TIMESTAMP 'nan' is no time", id="a time that is no number"
        ),
        pytest.param(HEADER + "inf,4,5\n", "TIMESTAMP 'inf' is no time", id="a time without end"),
        pytest.param(
            HEADER + "1,-4,5\n", "ContextTokens '-4', and is to be a whole number", id="fewer tokens than none"
        ),
        pytest.param(HEADER + "1,4,5.5\n", "GeneratedTokens '5.5'", id="half a token"),
        pytest.param(HEADER + "1,4,1e99\n", "GeneratedTokens '1e99'", id="more tokens than there are"),
        pytest.param(HEADER + "1,4\n", "line 2 of trace.csv has 2 of 3 columns", id="a line that is cut"),
        pytest.param(
            HEADER + "1,4,5\n2026-11-30T07:30:00Z,4,5\n",
            "line 3 of trace.csv has a time of another kind",
            id="times of two kinds",
        ),
        pytest.param(HEADER + "2020-01-01,4,5\n2026-01-01,4,5\n", "lasts 2,192 days", id="years"),
        pytest.param(HEADER, "has no request", id="a header only"),
        pytest.param("", "is empty", id="nothing"),
        pytest.param("time,prompt_tokens\n1,2\n", "no tokens of the answer", id="one length of two"),
        pytest.param("time,total_tokens\n1,2\n", "no tokens of the prompt", id="a length of another name"),
        pytest.param(
            '{"timestamp": 1, "input_length": true, "output_length": 2}\n', "input_length 'True'", id="yes is no length"
        ),
        pytest.param(
            '{"timestamp": NaN, "input_length": 1, "output_length": 2}\n',
            "timestamp 'nan' is no time",
            id="jsonl without a time",
        ),
        pytest.param(
            '{"timestamp": 61.5, "input_length": 1, "output_length": 2}\n',
            "its times have fractions",
            id="seconds or milliseconds",
        ),
        pytest.param('{"timestamp": 1, "deep": ' + "[" * 100_000 + "\n", "nested too deep", id="deep"),
        pytest.param('{"timestamp": 1}\n[1]\n', "line 2 of trace.csv is no object", id="a line of another kind"),
        pytest.param('{"input_length": 1, "output_length": 2}\n', "has no time", id="no name of a time"),
        pytest.param("time,prompt_tokens,output_tokens\n".encode("utf-16"), "no text in UTF-8", id="another coding"),
        pytest.param(
            "0,2,1,Gamma,1.0,0.5\n600,2,1,Weibull,1.0,0\n",
            "line 2 of trace.csv: shape 1.0 and scale 0",
            id="a client that never ends",
        ),
        pytest.param("0,inf,1,Gamma,1.0,0.5\n", "a rate of inf", id="a client without bound"),
        pytest.param("0,2,1,Normal,1.0,0.5\n", "no distribution 'Normal'", id="a client of another kind"),
        pytest.param("0,2,1,Gamma,1.0,0.5\nt\n", "line 2 of trace.csv", id="a client that is cut"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(tmp_path, text, words):
    with pytest.raises(InvalidManifestError) as caught:
        find(written(tmp_path, text), 1)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("triangle", "neither a shape nor a file"),
        ("wave:speed=3", "speed=3"),
        ("wave:low=much", "low=much"),
        ("wave:low=-1", "low=-1"),
        ("wave:low=nan", "low=nan"),
        ("wave:high=inf", "high=inf"),
        ("wave:period=0", "period is to be above 0"),
        ("wave:length=60,length=30", "length is said twice"),
        ("steady:high=0", "has no request"),
        ("steady:high=0.0001,length=4000000", "lasts 46 days"),
        ("wave:high=1e9", "20,000,000"),
        ("{there}", "none of the kinds"),
        ("{broken}", "cannot be read"),
        ("{azure}:times=1.5", "times is to be a whole number"),
        ("{azure}:times=10000000", "20,000,000"),
        ("{azure}:share=2", "share is to be at most 1"),
        ("{azure}:length=0", "length is to be above 0"),
        ("{azure}:prompt=3", "lengths of their own"),
        ("{azure}:unit=1", "its times are dates"),
        ("{client}:unit=1", "ServeGen has seconds"),
        ("{azure}.gz", "neither a shape nor a file"),
        ("{azure}:start=1000", "no request"),
        ("{azure}:high=3", "high=3"),
    ],
)
def test_what_cannot_be_a_trace_is_refused_with_what_is_allowed(tmp_path, text, word):
    files = {"there": "hello\n", "broken": "{not json\n", "azure": AZURE, "client": "0,2,1,Gamma,1.0,0.5\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InvalidManifestError, match="--trace") as caught:
        find(text.format(**{name: tmp_path / name for name in files}), 1)
    assert word in str(caught.value)
