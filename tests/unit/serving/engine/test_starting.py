"""What a replica says of its own start."""

import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from llama_serving.autoscaling import ALL_ENGINES
from llama_serving.config import RequestPath
from llama_serving.contract.routing import Routing
from llama_serving.contract.scaling import EngineCost, ScalingKnobs
from llama_serving.contract.status import ReplicaReport
from llama_serving.engine.autoscaling_report import autoscaling_report, router_choices
from llama_serving.engine.counts import EngineCounts, EngineTotals
from llama_serving.engine.starting import _DURATIONS, Starting, durations

LOG = """\
(EngineCore pid=7) INFO 11-27 10:00:01 [gpu_model_runner.py:5150] Model loading took 35.1 GiB memory and 61.250000 seconds
(EngineCore pid=8) INFO 11-27 10:00:02 [gpu_model_runner.py:5150] Model loading took 35.1 GiB memory and 64.5 seconds
(EngineCore pid=7) INFO 11-27 10:01:01 [monitor.py:53] torch.compile took 42.10 s in total
(EngineCore pid=7) INFO 11-27 10:01:31 [gpu_model_runner.py:6582] Graph capturing finished in 21 secs, took 0.61 GiB
"""
LIBRARY = {
    "weights_seconds": (
        ("v1/worker/gpu_model_runner.py", "Model loading took %s GiB memory and %.6f seconds"),
        ("model_executor/model_loader/default_loader.py", "Loading weights took %.2f seconds"),
    ),
    "compile_seconds": (("compilation/monitor.py", "torch.compile took %.2f s in total"),),
    "graphs_seconds": (("v1/worker/gpu/model_runner.py", "Graph capturing finished in %.0f secs"),),
}


def test_the_slowest_rank_counts():
    assert durations(LOG.splitlines()) == {"weights_seconds": 64.5, "compile_seconds": 42.1, "graphs_seconds": 21.0}


def test_a_rank_captures_graphs_twice_and_both_count():
    # As vLLM 0.32 logged it on one H100 80GB HBM3, 27 November 2026; the second rank is made up.
    log = """\
(EngineCore pid=3516) INFO 11-27 18:38:44 [model_runner.py:424] Model loading took 15.0 GiB memory and 2.402003 seconds
(EngineCore pid=3516) INFO 11-27 18:38:49 [monitor.py:62] [backbone] torch.compile took 3.79 s in total
(EngineCore pid=3516) INFO 11-27 18:38:55 [model_runner.py:1127] Graph capturing finished in 4 secs, took 0.48 GiB
(EngineCore pid=3516) INFO 11-27 18:39:01 [model_runner.py:1127] Graph capturing finished in 5 secs, took 0.30 GiB
(EngineCore pid=3517) INFO 11-27 18:39:01 [model_runner.py:1127] Graph capturing finished in 8 secs, took 0.30 GiB
"""
    assert durations(log.splitlines()) == {"weights_seconds": 2.402003, "compile_seconds": 3.79, "graphs_seconds": 9.0}


@pytest.mark.parametrize("line", ["", "Model loading took long", "torch.compile took -1 s in total"])
def test_what_is_not_logged_is_not_guessed(line):
    assert durations([line]) == {}


@pytest.mark.parametrize("name", _DURATIONS)
def test_vllm_still_has_these_words(name):
    """A reader of logs breaks silently: so the installed library is asked."""
    root = Path(find_spec("vllm").submodule_search_locations[0])
    for (module, words), pattern in zip(LIBRARY[name], _DURATIONS[name], strict=True):
        assert words in (root / module).read_text(encoding="utf-8")
        assert pattern.search(re.sub(r"%(\.\d)?[fs]", "1.5", words))


def test_a_cpu_logs_the_reading_alone():
    line = "(EngineCore pid=9) INFO 11-27 10:00:01 [default_loader.py:502] Loading weights took 0.04 seconds"
    assert durations([line]) == {"weights_seconds": 0.04}


def test_a_start_is_told_once_the_engine_answers():
    times = iter([1000.0, 1090.5])
    starting = Starting(lambda: next(times), host="chat-0")
    assert starting.report(None) is None
    starting.ready()
    told = starting.report(0.25)
    assert (told.host, told.began, told.ready, told.first_token_seconds) == ("chat-0", 1000.0, 1090.5, 0.25)
    said = ReplicaReport(replica="a", waiting=0, running=0, kv_cache_usage=0.0, start=told)
    assert ReplicaReport.model_validate_json(said.model_dump_json()) == said


def test_a_clock_that_was_set_back_makes_no_negative_start():
    times = iter([1000.0, 900.0])
    starting = Starting(lambda: next(times), host="chat-0")
    starting.ready()
    assert starting.report(None).ready == 1000.0


def test_the_first_token_counts_from_the_first_request():
    class Step:
        num_generation_tokens = 0
        finished_requests = ()

    times = iter([5.0, 7.5])
    counts, step = EngineCounts(lambda: next(times)), Step()
    counts.saw(step)
    counts.takes(None)
    counts.takes(None)
    counts.saw(step)
    assert counts.first_token_seconds is None
    step.num_generation_tokens = 1
    counts.saw(step)
    counts.saw(step)
    assert counts.first_token_seconds == 2.5


def test_the_policy_is_told_of_the_plan_and_of_measured_starts():
    load = SimpleNamespace(waiting=0, running=0, kv_usage=0.0, slots=8, kv_cache_tokens=None, totals=EngineTotals())
    told = autoscaling_report(load, EngineCost(cold_start=400.0), ScalingKnobs(price=20.0, cold_start=130.0), 2.0)
    assert told["llama_fact_cold_start_seconds"] == 400.0, "the bins of its memory are cut by it"
    assert told["llama_fact_measured_start_seconds"] == 130.0
    assert told["llama_fact_router_choices"] == 2.0
    before = autoscaling_report(load, EngineCost(cold_start=400.0), ScalingKnobs(price=20.0), 2.0)
    assert "llama_fact_measured_start_seconds" not in before


@pytest.mark.parametrize(
    ("path", "routing", "choices"),
    [
        (RequestPath.INGRESS, None, 2.0),
        (RequestPath.DIRECT, None, ALL_ENGINES),
        (RequestPath.DIRECT, Routing.LEAST_CONNECTIONS, ALL_ENGINES),
        (RequestPath.DIRECT, Routing.CONSISTENT_HASH, 1.0),
        (RequestPath.DIRECT, Routing.PREFIX_AWARE, 1.0),
    ],
)
def test_the_policy_is_told_among_how_many_engines_a_request_may_choose(path, routing, choices):
    assert router_choices(path, routing) == choices
