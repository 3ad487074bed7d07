"""Router and events between two moments, compiled: what `llama_operator.simulate.run` and `router` do. Called by `bench.compiled.run`."""

import math

from bench.compiled.engine import accept, advance, in_flight, passed
from bench.compiled.lists import append, compiled, remove
from bench.compiled.state import (
    ACCEPTED,
    CONNECTIONS,
    DECODING,
    DRAINING,
    DRAW,
    DUE,
    END,
    FINISHED,
    FREE,
    GENERATED,
    GONE,
    GONE_AT,
    HELD,
    PAIRS,
    PREFILLING,
    PROMPTED,
    QUEUE,
    QUEUE_FIRST,
    READY,
    REFUSED,
    SAMPLED,
    SAMPLES,
    SERVING,
    STAGE,
    UPCOMING,
    WAITING,
    Floats,
    Limits,
    State,
)


@compiled
def until(state: State, limits: Limits, end: float) -> None:
    """Let happen what happens before `end`."""
    engines, count = len(state.ints), len(state.at)
    while True:
        due, engine = math.inf, -1
        for one in range(engines):
            if state.floats[one, DUE] < due and state.ints[one, STAGE] in (READY, DRAINING):
                due, engine = state.floats[one, DUE], one
        upcoming = state.whole[UPCOMING]
        at = state.at[upcoming] if upcoming < count else math.inf
        if min(due, at) >= end:
            return
        if due <= at:
            ended = advance(state, limits, engine)
            if state.ints[engine, STAGE] == DRAINING:
                if in_flight(state, engine) == 0:
                    state.ints[engine, STAGE], state.floats[engine, GONE_AT] = GONE, due
            elif ended and state.whole[QUEUE] > 0:
                hand_on(state, limits, due)
        else:
            state.whole[UPCOMING] = upcoming + 1
            _arrive(state, limits, upcoming, at)


@compiled
def _arrive(state: State, limits: Limits, request: int, now: float) -> None:
    whole = state.whole
    if whole[QUEUE] == 0:
        engine = _choose(state, limits)
        if engine >= 0:
            if limits.direct and state.ints[engine, WAITING] >= limits.max_queued:
                state.tokens[request, END], state.ended[request] = REFUSED, now
            else:
                accept(state, limits, engine, request, now)
            return
    if whole[QUEUE] >= limits.max_queued:
        state.tokens[request, END], state.ended[request] = REFUSED, now
    else:
        append(state.tokens, whole, QUEUE, request)


@compiled
def hand_on(state: State, limits: Limits, now: float) -> None:
    """Hand on what waits in the router, as far as engines take it."""
    whole = state.whole
    while whole[QUEUE] > 0:
        engine = _choose(state, limits)
        if engine < 0:
            return
        request = whole[QUEUE_FIRST]
        remove(state.tokens, whole, QUEUE, request)
        accept(state, limits, engine, request, now)


@compiled
def _drawn(state: State, limits: Limits, below: int) -> int:
    place = state.whole[DRAW]
    state.whole[DRAW] = (place + 1) % len(limits.draws)
    return int(limits.draws[place] * below)


@compiled
def _choose(state: State, limits: Limits) -> int:  # noqa: C901, PLR0912 - calls cost more than lines here
    serving = state.whole[SERVING]
    if serving == 0:
        return -1
    best = -1
    if limits.direct:
        for place in range(serving):
            engine = state.ready[place]
            if best < 0 or state.ints[engine, CONNECTIONS] < state.ints[best, CONNECTIONS]:
                best = engine
        return int(best)
    if serving <= 2:  # noqa: PLR2004 - two are drawn
        for place in range(serving):
            engine = state.ready[place]
            if best < 0 or in_flight(state, engine) < in_flight(state, best):
                best = engine
    else:
        first = _drawn(state, limits, serving)
        second = _drawn(state, limits, serving - 1)
        second += second >= first
        best, other = state.ready[first], state.ready[second]
        if in_flight(state, other) < in_flight(state, best):
            best = other
    if in_flight(state, best) < limits.max_ongoing:
        return int(best)
    free = 0
    for place in range(serving):
        free += in_flight(state, state.ready[place]) < limits.max_ongoing
    if free == 0:
        return -1
    chosen = _drawn(state, limits, free)
    for place in range(serving):
        if in_flight(state, state.ready[place]) < limits.max_ongoing:
            if chosen == 0:
                return int(state.ready[place])
            chosen -= 1
    return -1


@compiled
def sample(state: State, limits: Limits, now: float) -> None:
    """Let each engine that takes requests say what it reports."""
    for place in range(state.whole[SERVING]):
        engine = state.ready[place]
        row = state.ints[engine]
        steps = passed(state, engine, now) if state.floats[engine, DUE] < math.inf else 0
        made = steps * row[DECODING]
        said = state.samples[engine, row[SAMPLED] % SAMPLES]
        said[0] = row[WAITING]
        said[1] = row[PREFILLING] + row[DECODING]
        said[2] = (row[HELD] + made) / limits.kv_tokens
        said[3], said[4], said[5] = row[ACCEPTED], row[FINISHED], row[PROMPTED]
        said[6] = state.floats[engine, PAIRS]
        said[7] = row[GENERATED] + made
        said[8] = now
        row[SAMPLED] += 1


@compiled
def read(state: State, into: Floats) -> int:
    """Write the means of what each engine has reported, and when it did so last; returns how many have."""
    found = 0
    for place in range(state.whole[SERVING]):
        engine = state.ready[place]
        taken = state.ints[engine, SAMPLED]
        if taken == 0:
            continue
        count = min(taken, SAMPLES)
        for one in range(8):
            total = 0.0
            for back in range(count):
                total += state.samples[engine, (taken - count + back) % SAMPLES, one]
            into[found, one] = total / count
        into[found, 8] = state.samples[engine, (taken - 1) % SAMPLES, 8]
        into[found, 9] = engine
        found += 1
    return found


@compiled
def loads(state: State) -> tuple[int, int, int]:
    """Return what waits in engines that take requests, what is in flight in them, and what is in flight in all."""
    waiting = flying = every = 0
    for engine in range(len(state.ints)):
        stage = state.ints[engine, STAGE]
        if stage == FREE or stage == GONE:  # noqa: PLR1714, SIM109 - a set is slow here
            continue
        every += in_flight(state, engine)
        if stage == READY:
            waiting += state.ints[engine, WAITING]
            flying += in_flight(state, engine)
    return waiting, flying, every
