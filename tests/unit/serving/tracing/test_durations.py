"""The histograms of the conventions for servers of models."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from llama_serving.contract.usage import Dialect, Usage, UsageEvent
from llama_serving.tracing.durations import Durations
from llama_serving.tracing.pace import Pace, pace_of
from support.serving.desks.parts import NOON, Observed

STARTED = NOON.timestamp()


@pytest.fixture
def observed():
    return Observed()


@pytest.fixture
def durations(observed):
    return Durations(observed.make)


def ended(*, seconds=3.0, **data):
    usage = Usage(started=NOON, **({"model": "asked", "dialect": Dialect.CHAT, "status": 200} | data))
    return UsageEvent(source="s", id="one", subject="acme", time=NOON + timedelta(seconds=seconds), data=usage)


def test_a_request_that_was_answered_is_in_all_three(durations, observed):
    durations.took(ended(), Pace(STARTED + 0.5, seconds=2.0, tokens=40), response_model="adapter")
    assert durations.publish() is False
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "vllm",
        "gen_ai_request_model": "asked",
        "gen_ai_response_model": "adapter",
        "error_type": "",
    }
    assert observed.values == [
        ("request_duration", 3.0, labels),
        ("time_to_first_token", 0.5, labels),
        ("time_per_output_token", 0.05, labels),
    ]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"status": 500}, "500"),
        ({"status": 400, "finish_reason": None}, "400"),
        ({"finish_reason": "abort"}, "cancelled"),
        ({"status": 499, "finish_reason": "abort"}, "499"),
    ],
)
def test_one_that_failed_is_only_in_the_first_and_says_why(durations, observed, data, error):
    durations.took(ended(**data), Pace(STARTED + 0.5, seconds=2.0, tokens=40), response_model="m")
    durations.publish()
    assert [(name, labels["error_type"]) for name, _, labels in observed.values] == [("request_duration", error)]


@pytest.mark.parametrize(
    ("pace", "names"),
    [
        (Pace(), {"request_duration"}),
        (Pace(STARTED + 1), {"request_duration", "time_to_first_token"}),
    ],
)
def test_what_is_not_known_is_not_told(durations, observed, pace, names):
    durations.took(ended(dialect=Dialect.COUNT_TOKENS), pace, response_model="m")
    durations.publish()
    assert {name for name, _, _ in observed.values} == names


def test_clocks_that_disagree_make_no_negative_time(durations, observed):
    durations.took(ended(seconds=-1.0), Pace(STARTED - 1.0), response_model="m")
    durations.publish()
    assert [value for _, value, _ in observed.values] == [0.0, 0.0]


def test_many_values_are_handed_on_in_parts_so_that_others_can_run(durations, observed):
    for _ in range(60):
        durations.took(ended(), Pace(), response_model="m")
    assert durations.publish() is True
    assert len(observed.values) == 50
    assert durations.publish() is False
    assert len(observed.values) == 60


def test_the_buckets_are_those_of_the_conventions(durations, observed):
    assert {name: (bounds[0], bounds[-1], len(bounds)) for name, bounds in observed.bounds.items()} == {
        "gen_ai_server_request_duration_seconds": (0.01, 81.92, 14),
        "gen_ai_server_time_to_first_token_seconds": (0.001, 10.0, 16),
        "gen_ai_server_time_per_output_token_seconds": (0.01, 2.5, 13),
    }


def stats(arrival=100.0, latency=0.25, first=7.0, last=9.0):
    return SimpleNamespace(arrival_time=arrival, first_token_latency=latency, first_token_ts=first, last_token_ts=last)


@pytest.mark.parametrize(
    ("given", "tokens", "pace"),
    [
        (stats(), 11, Pace(100.25, 2.0, 10)),
        (stats(), 1, Pace(100.25, 0.0, 0)),
        (stats(latency=0.0), 0, Pace()),
        (None, 11, Pace()),
        # The engine was reset between the two.
        (stats(last=0.0), 3, Pace(100.25, 0.0, 2)),
    ],
)
def test_the_pace_of_a_sequence_is_read_from_what_vllm_keeps_of_it(given, tokens, pace):
    assert pace_of(given, tokens) == pace


def test_paces_add_up_and_the_first_token_of_all_counts():
    whole = Pace()
    for one in (Pace(), Pace(105.0, 1.0, 5), Pace(102.0, 2.0, 6), Pace()):
        whole.add(one)
    assert whole == Pace(102.0, 3.0, 11)
