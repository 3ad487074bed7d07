"""Blocks of steps end as single steps would; every request ends once; memory is never given twice."""

import math
import random
from collections import deque

import pytest

from llama_operator.simulate.engine import Engine, EngineLimits
from llama_operator.simulate.request import Arrival, End, Request


class StepByStep:
    """The same scheduler, written as plainly as can be: one step after the other, lists, no closed forms."""

    def __init__(self, speed, limits):
        self.speed, self.limits = speed, limits
        self.waiting, self.running, self.now = deque(), [], 0.0

    def held(self):
        return sum(one["context"] + one["made"] for one in self.running)

    def preempt(self):
        while self.held() + sum(one["decoding"] for one in self.running) > self.limits.kv_tokens:
            one = self.running.pop()
            if one["decoding"]:
                grown = one["made"] + 1
                one["context"], one["left"] = one["context"] + grown, one["left"] - grown
            one |= {"made": 0, "computed": 0, "decoding": False}
            self.waiting.appendleft(one)

    def step(self):
        """Compute one step; False if there is nothing to do."""
        self.preempt()
        answers = [one for one in self.running if one["decoding"]]
        room, chunks = self.speed.most_tokens - len(answers), []
        for one in self.running:
            if not one["decoding"] and room > 0:
                chunk = min(one["context"] - one["computed"], room)
                chunks.append((one, chunk))
                room -= chunk
        while self.waiting and room > 0 and self.fits(self.waiting[0]):
            one = self.waiting.popleft()
            self.running.append(one)
            chunk = min(one["context"], room)
            chunks.append((one, chunk))
            room -= chunk
        if not answers and not chunks:
            return False
        pairs = sum(chunk * (one["computed"] + chunk / 2) for one, chunk in chunks)
        cached = sum(one["context"] + one["made"] for one in answers)
        self.now += self.speed.seconds(len(answers) + sum(chunk for _, chunk in chunks), pairs, cached)
        for one in answers:
            one["made"] += 1
        for one, chunk in chunks:
            one["computed"] += chunk
            if one["computed"] == one["context"]:
                one["decoding"] = True
                one["first"] = min(one["first"], self.now)
        for one in [one for one in self.running if one["decoding"] and one["made"] + 1 >= one["left"]]:
            one["ended"] = self.now
            self.running.remove(one)
        return True

    def fits(self, one):
        running = len(self.running)
        if running >= self.limits.max_num_seqs:
            return False
        return running == 0 or self.held() + one["context"] + running + 1 <= self.limits.kv_tokens


def plainly(speed, limits, arrivals):
    engine, pending = StepByStep(speed, limits), deque(arrivals)
    everything = []
    while True:
        while pending and pending[0].at <= engine.now:
            one = pending.popleft()
            state = {"context": one.prompt_tokens, "left": one.output_tokens, "made": 0, "computed": 0}
            state |= {"decoding": False, "first": math.inf, "ended": math.inf}
            everything.append(state)
            engine.waiting.append(state)
        if not engine.step():
            if not pending:
                return [(one["first"], one["ended"]) for one in everything]
            engine.now = pending[0].at


def in_blocks(speed, limits, arrivals):
    engine = Engine(speed, limits)
    requests = [Request(arrival) for arrival in arrivals]
    for request in requests:
        while engine.due < request.arrival.at:
            engine.advance()
        engine.accept(request, request.arrival.at)
    while engine.due < math.inf:
        engine.advance()
    assert engine.in_flight == 0
    assert engine.read(0.0).kv_usage == 0
    return [(request.first_token, request.ended) for request in requests]


def drawn(seed, count=60, *, rate=20.0, prompt=400, output=60):
    chance, now = random.Random(seed), 0.0
    arrivals = []
    for _ in range(count):
        now += chance.expovariate(rate)
        arrivals.append(Arrival(now, chance.randrange(1, prompt), chance.randrange(1, output)))
    return arrivals


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kv_tokens", [600, 1200, 4000], ids=["a cache that is always full", "a small cache", "room"])
def test_blocks_of_steps_end_as_single_steps_would(tiny, seed, kv_tokens):
    speed = tiny().speed
    limits = EngineLimits(kv_tokens, 8)
    arrivals = drawn(seed)
    expected, found = plainly(speed, limits, arrivals), in_blocks(speed, limits, arrivals)
    assert found == [pytest.approx(times, rel=1e-9) for times in expected]


def test_a_full_cache_pushes_out_the_youngest_which_still_answers(tiny):
    speed = tiny().speed
    alone = in_blocks(speed, EngineLimits(10_000, 8), [Arrival(0.0, 100, 200), Arrival(0.001, 100, 200)])
    tight = in_blocks(speed, EngineLimits(400, 8), [Arrival(0.0, 100, 200), Arrival(0.001, 100, 200)])
    assert tight[0] == pytest.approx(alone[0], rel=0.01)
    assert tight[1][1] > alone[1][1] * 1.2
    assert tight[1][0] == pytest.approx(alone[1][0])


def test_a_request_that_never_fits_is_refused_at_once(tiny):
    engine = Engine(tiny().speed, EngineLimits(300, 8))
    request = Request(Arrival(1.0, 250, 51))
    engine.accept(request, 1.0)
    assert request.end is End.TOO_LONG
    assert engine.due == math.inf


def test_a_request_that_is_longer_than_the_context_is_refused_though_the_cache_would_hold_it(tiny):
    engine = Engine(tiny().speed, EngineLimits(10_000, 8, max_model_length=300))
    longer, whole = Request(Arrival(0.0, 250, 51)), Request(Arrival(0.0, 250, 50))
    for request in (longer, whole):
        engine.accept(request, 0.0)
    assert (longer.end, whole.end, engine.in_flight) == (End.TOO_LONG, None, 1)


def test_readings_between_two_boundaries_are_those_of_the_steps_that_ended(tiny):
    engine = Engine(tiny().speed, EngineLimits(1000, 8))
    engine.accept(Request(Arrival(0.0, 100, 50)), 0.0)
    first = engine.due
    engine.advance()
    assert engine.due > first + 40 * 0.01
    step = engine.read(first).generated_tokens
    assert step == 1
    later = engine.read(first + 0.1005)
    assert later.generated_tokens in {10, 11}
    assert later.kv_usage == pytest.approx((100 + later.generated_tokens - 1) / 1000)
