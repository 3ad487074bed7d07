"""Traces are what their files and shapes say; what cannot be read is said in words."""

import math
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


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("triangle", "neither a shape nor a file"),
        ("wave:speed=3", "speed=3"),
        ("wave:low=much", "low=much"),
        ("wave:low=-1", "low=-1"),
        ("{there}", "none of the kinds"),
        ("{broken}", "cannot be read"),
        ("{azure}:start=1000", "no request"),
        ("{azure}:high=3", "high=3"),
    ],
)
def test_what_cannot_be_a_trace_is_refused_with_what_is_allowed(tmp_path, text, word):
    files = {"there": "hello\n", "broken": "{not json\n", "azure": AZURE}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InvalidManifestError, match="--trace") as caught:
        find(text.format(**{name: tmp_path / name for name in files}), 1)
    assert word in str(caught.value)
