"""What queueing theory and publications know, the simulation finds."""

import csv
import heapq
import math
import os
import random
import statistics
from pathlib import Path

import pytest

from bench.predictions import calibrate
from llama_operator import catalog
from llama_operator.catalog.figures import performance as facts
from llama_operator.decide.plan.memory import Sharding
from llama_operator.decide.plan.performance import replica_model
from llama_operator.simulate.engine import Engine, EngineLimits
from llama_operator.simulate.fixed_server import FixedServer
from llama_operator.simulate.request import Arrival, Request
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import run
from llama_operator.simulate.scalers.known import Fixed
from llama_operator.simulate.step_time import step_time

SERVICE = 0.01
ROOT = Path(__file__).resolve().parents[3]
TRACES = Path(os.environ.get("LLAMA_OPERATOR_TRACES", ROOT / "traces"))


def poisson(servers, share, requests, seed, *, exponential):
    """Arrivals that keep `servers` busy for `share` of the time."""
    chance, now = random.Random(seed), 0.0
    for _ in range(requests):
        now += chance.expovariate(share * servers / SERVICE)
        yield Arrival(now, 1, 1, chance.expovariate(1 / SERVICE) if exponential else SERVICE)


def waits(tiny, servers, arrivals):
    """Seconds before the service of each arrival, in the simulation."""
    limits = PathLimits("Ingress", max_ongoing=1, max_queued=10**9)
    setup = tiny(server=FixedServer, limits=limits)
    record = run(setup, arrivals, Fixed(servers), length=arrivals[-1].at, seed=1, initial=servers)
    return [request.first_token - request.arrival.at for request in record.requests]


def mean_wait(tiny, servers, share, *, exponential):
    return statistics.fmean(
        statistics.fmean(waits(tiny, servers, list(poisson(servers, share, 40_000, seed, exponential=exponential))))
        for seed in range(4)
    )


def by_recursion(servers, arrivals):
    """The same waits by Kiefer's and Wolfowitz's recursion: each arrival gets the server that is free first."""
    free = [0.0] * servers
    for one in arrivals:
        begin = max(one.at, heapq.heappop(free))
        heapq.heappush(free, begin + one.service_seconds)
        yield begin - one.at


def erlang_c(servers, share):
    """Share of the arrivals that have to wait in M/M/c."""
    offered = servers * share
    below = sum(offered**k / math.factorial(k) for k in range(servers))
    all_busy = offered**servers / math.factorial(servers) / (1 - share)
    return all_busy / (below + all_busy)


def erlang_wait(servers, share):
    return erlang_c(servers, share) * SERVICE / (servers * (1 - share))


@pytest.mark.parametrize(("servers", "share"), [(1, 0.5)])
def test_the_wait_of_mmc_is_erlangs_within_two_percent(tiny, servers, share):
    assert mean_wait(tiny, servers, share, exponential=True) == pytest.approx(erlang_wait(servers, share), rel=0.02)


@pytest.mark.parametrize(("servers", "share"), [(4, 0.7), (10, 0.8)])
def test_each_wait_of_mmc_is_that_of_the_recursion_whose_mean_is_erlangs(tiny, servers, share):
    """Under high load means need millions of arrivals: the recursion is cheap, and the simulation follows it one by one."""
    arrivals = list(poisson(servers, share, 10_000, 1, exponential=True))
    assert waits(tiny, servers, arrivals) == pytest.approx(list(by_recursion(servers, arrivals)), abs=1e-9)
    means = (
        statistics.fmean(by_recursion(servers, poisson(servers, share, 60_000, seed, exponential=True)))
        for seed in range(12)
    )
    assert statistics.fmean(means) == pytest.approx(erlang_wait(servers, share), rel=0.02)


@pytest.mark.parametrize("share", [0.7])
def test_the_wait_of_md1_is_that_of_pollaczek_and_khinchine_within_two_percent(tiny, share):
    expected = share * SERVICE / (2 * (1 - share))
    assert mean_wait(tiny, 1, share, exponential=False) == pytest.approx(expected, rel=0.02)


def test_a_step_takes_what_the_plan_says(planned):
    setup = planned()
    speed = setup.speed
    replica = model_of("llama-3.3-70b-instruct", "FP8", "H100-80GB", 2)
    for tokens in (1, 17, 512, 8192):
        assert speed.seconds(tokens, tokens**2 / 2, 0) == pytest.approx(replica.prefill_stage_seconds(tokens), rel=1e-6)
        cached = 1000 * tokens
        assert speed.seconds(tokens, 0, cached) == pytest.approx(replica.decode_stage_seconds(tokens, 1000), rel=1e-6)


def model_of(name, precision, card, tensor, engine=None):
    known = catalog.load()
    model = next(one for one in known.models if one.id == name)
    variant = next(one for one in model.variants if one.precision == precision)
    accelerator = next(one for one in known.accelerators if one.name == card)
    return replica_model(model, variant, accelerator, Sharding(tensor, 1), 8, engine=engine)


def closed_loop(engine, concurrency, prompt, output, seconds):
    """Tokens of answers a second of an engine in which so many requests are always in flight."""
    chance, now, made = random.Random(1), 0.0, 0
    for _ in range(concurrency):
        engine.accept(Request(Arrival(0.0, prompt, chance.randrange(1, output))), 0.0)
    warm = seconds / 4
    while now < seconds:
        now = engine.due
        for _ in engine.advance():
            engine.accept(Request(Arrival(now, prompt, output)), now)
        if now < warm:
            made = engine.read(now).generated_tokens
            began = now
    return (engine.read(now).generated_tokens - made) / (now - began)


RUNS = [run for run in calibrate.read_points().runs if run.source in {"MLPerf", "Measured"}]


@pytest.mark.parametrize("published", RUNS, ids=lambda found: found.name)
def test_rates_of_running_engines_are_met_within_fifteen_percent(published):
    replica = model_of(published.model, published.precision, published.accelerator, published.tensor)
    limits = EngineLimits(10**6, published.concurrency)
    speed = step_time(replica, 8192)
    rate = closed_loop(
        Engine(speed, limits), published.concurrency, published.prompt_tokens, published.output_tokens, 120.0
    )
    assert rate * published.replicas == pytest.approx(published.output_tokens_per_second, rel=0.15)


def splitwise(path):
    """Median seconds to the first token and in all, by tensor size, prompt, batch and answer; Llama 2 70B on H100.

    Answers of more than 512 tokens are left out: the engine ended them early, all of them after about the same time.
    """
    groups = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(int(row[name]) for name in ("tensor_parallel", "prompt_size", "batch_size", "token_size"))
            if (row["model"], row["hardware"]) == ("llama2-70b", "h100-80gb") and key[2] <= 32 and key[3] <= 512:
                groups.setdefault(key, []).append((float(row["prompt_time"]) / 1e3, float(row["e2e_time"]) / 1e3))
    return {key: tuple(map(statistics.median, zip(*rows, strict=True))) for key, rows in groups.items()}


@pytest.mark.traces
def test_the_table_of_splitwise_is_met_within_fifteen_percent():
    path = TRACES / "splitwise_perf_model.csv"
    coefficients = facts.load().engine("vLLM 2023 on H100")
    speeds = {
        tensor: step_time(model_of("llama-2-70b", "FP16", "H100-80GB", tensor, coefficients), 16_384)
        for tensor in (2, 4, 8)
    }
    firsts, wholes = [], []
    table = splitwise(path)
    for (tensor, prompt, batch, output), (first, whole) in table.items():
        engine = Engine(speeds[tensor], EngineLimits(10**7, 256))
        requests = [Request(Arrival(0.0, prompt, output)) for _ in range(batch)]
        for request in requests:
            engine.accept(request, 0.0)
        last = requests[-1]
        while engine.due < math.inf:
            engine.advance()
        firsts.append(abs(last.first_token / first - 1))
        wholes.append(abs(last.ended / whole - 1))
    assert len(table) >= 40
    assert statistics.mean(firsts) < 0.2
    assert statistics.mean(wholes) < 0.15
