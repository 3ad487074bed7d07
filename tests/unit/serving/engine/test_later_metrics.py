"""Metrics of vLLM that are recorded a moment after the tokens. That vLLM's statistics have these names is asked in tests/serving/frontend."""

import asyncio
from dataclasses import dataclass, field

import pytest

from llama_serving.engine.later_metrics import LaterMetrics, folded


@dataclass
class Cache:
    queries: int = 0
    hits: int = 0


@dataclass
class State:
    running: int = 0
    prefix_cache_stats: Cache = field(default_factory=Cache)
    spec_decoding_stats: object = None


class Recorder:
    def __init__(self):
        self.recorded, self.said = [], []

    def record(self, state, tokens, images, engine):
        if tokens == "bad":
            raise ValueError("no such bucket")
        self.recorded.append((state, tokens, images, engine))

    def log_engine_initialized(self):
        self.said.append("initialized")


def step(running, tokens="tokens", queries=0, hits=0, engine=0, spec=None):
    return State(running, Cache(queries, hits), spec), tokens, None, engine


def test_the_state_of_the_last_step_stands_for_all_and_what_was_counted_is_added_up():
    steps = [step(1, "a", 10, 3), step(2, "b", 5, 5), step(3, "c", 1, 0)]
    state = State(3, Cache(16, 8))
    assert folded(steps) == [(None, "a", None, 0), (None, "b", None, 0), (state, "c", None, 0)]
    assert steps[2][0].prefix_cache_stats == Cache(1, 0), "others have the same object"


def test_each_engine_has_its_own_last_step():
    assert [
        (state and state.running, engine) for state, _, _, engine in folded([step(1), step(2, engine=1), step(3)])
    ] == [
        (None, 0),
        (2, 1),
        (3, 0),
    ]


def test_a_step_that_counts_more_is_recorded_as_it_is():
    steps = [step(1, queries=4), step(2, queries=2, spec="drafts"), step(3, queries=1)]
    assert [state and state.prefix_cache_stats.queries for state, *_ in folded(steps)] == [None, 2, 5]


def test_a_step_of_which_nothing_is_left_is_left_out():
    assert folded([step(1, None, 2), (None, "b", None, 0), step(3, None, 1)]) == [
        (None, "b", None, 0),
        (State(3, Cache(3)), None, None, 0),
    ]


@pytest.mark.parametrize("tokens", [["a", "b", "c"], ["a", "bad", "c"]])
async def test_a_step_is_recorded_after_what_waits_in_the_loop_and_an_error_harms_nobody(tokens, caplog):
    inner = Recorder()
    metrics = LaterMetrics(inner, seconds=0)
    for one in tokens:
        metrics.record(*step(1, one))
    assert inner.recorded == [], "the tokens of the step go first"
    await asyncio.sleep(0.01)
    assert [one for _, one, _, _ in inner.recorded] == [one for one in tokens if one != "bad"]
    assert caplog.text.count("cannot be recorded") == ("bad" in tokens)
    metrics.record(*step(2, "d"))
    await asyncio.sleep(0.01)
    assert inner.recorded[-1][1] == "d"
    metrics.log_engine_initialized()
    assert inner.said == ["initialized"]
