"""One engine, compiled: the same steps as `llama_operator.simulate.engine`, function by function, which says why. Called by `bench.compiled.loop`."""

import math

from bench.compiled.lists import append, compiled, is_live, pop, prepend, push, remove
from bench.compiled.state import (
    ACCEPTED,
    ANSWERED,
    BEGAN,
    CACHED,
    CHUNKS,
    COMPUTED,
    CONNECTIONS,
    CONTEXT,
    DECODING,
    DECODING_LAST,
    DUE,
    END,
    ENDS,
    FINISHED,
    FIRST,
    GENERATED,
    HELD,
    JOINED,
    LEFT,
    NEXT,
    ORDER,
    OUTPUT,
    PAIRS,
    PREFILLING,
    PREFILLING_FIRST,
    PREFILLING_LAST,
    PROMPT,
    PROMPTED,
    RELOADS,
    RISE,
    RUNNING,
    STEP,
    STEPS,
    TOO_LONG,
    WAITING,
    WAITING_FIRST,
    WORKER,
    Limits,
    State,
)


@compiled
def in_flight(state: State, engine: int) -> int:
    """Requests that it has taken and not ended."""
    return int(state.ints[engine, ACCEPTED] - state.ints[engine, FINISHED])


@compiled
def passed(state: State, engine: int, now: float) -> int:
    """Whole steps of the block that have ended by `now`."""
    row = state.floats[engine]
    steps = state.ints[engine, STEPS]
    elapsed = now - row[BEGAN]
    if elapsed < row[FIRST] or steps <= 1:
        return 0
    if row[RISE] <= 0:
        whole = int(elapsed / row[FIRST])
    else:
        linear = row[FIRST] - row[RISE] / 2
        whole = int((math.sqrt(linear * linear + 2 * row[RISE] * elapsed) - linear) / row[RISE])
    return int(min(whole, steps))


@compiled
def _after(state: State, engine: int, steps: int) -> float:
    row = state.floats[engine]
    return float(steps * row[FIRST] + row[RISE] * steps * (steps - 1) / 2)


@compiled
def accept(state: State, limits: Limits, engine: int, request: int, now: float) -> None:
    """Take a request."""
    row, tokens = state.ints[engine], state.tokens
    if tokens[request, PROMPT] + tokens[request, OUTPUT] > limits.longest:
        tokens[request, END], state.ended[request] = TOO_LONG, now
        return
    row[ACCEPTED] += 1
    row[CONNECTIONS] += 1
    tokens[request, WORKER] = state.whole[RELOADS]
    blocked = row[WAITING] > 0
    append(tokens, row, WAITING, request)
    if state.floats[engine, DUE] == math.inf:
        _plan(state, limits, engine, now)
    elif not blocked and row[STEPS] > 1:
        _cut(state, engine, now)


@compiled
def advance(state: State, limits: Limits, engine: int) -> bool:
    """End the block that is due, and begin the next one; returns whether a request was answered."""
    row, tokens = state.ints[engine], state.tokens
    now, steps, answers = state.floats[engine, DUE], row[STEPS], row[DECODING]
    row[STEP] += steps
    row[HELD] += steps * answers
    row[CACHED] += steps * answers
    row[GENERATED] += steps * answers
    for place in range(row[CHUNKS]):
        request, chunk = state.chunk_request[engine, place], state.chunk_tokens[engine, place]
        row[PROMPTED] += chunk
        tokens[request, COMPUTED] += chunk
        if tokens[request, COMPUTED] == tokens[request, CONTEXT]:
            _join(state, engine, request, now)
    ended = _ended(state, engine, now)
    _plan(state, limits, engine, now)
    return ended


@compiled
def _join(state: State, engine: int, request: int, now: float) -> None:
    row, tokens = state.ints[engine], state.tokens
    remove(tokens, row, PREFILLING, request)
    if state.first_token[request] == math.inf:
        state.first_token[request] = now
    tokens[request, JOINED] = row[STEP]
    row[GENERATED] += 1
    row[CACHED] += tokens[request, CONTEXT]
    append(tokens, row, DECODING, request)
    tokens[request, RUNNING] = 1
    row[ORDER] += 1
    push(state, engine, row[STEP] + tokens[request, LEFT] - 1, row[ORDER], request)


@compiled
def _ended(state: State, engine: int, now: float) -> bool:
    row, tokens, some = state.ints[engine], state.tokens, False
    while row[ENDS] > 0 and state.end_step[engine, 0] <= row[STEP]:
        request, live = state.end_request[engine, 0], is_live(state, engine, 0)
        pop(state, engine)
        if not live:
            continue
        remove(tokens, row, DECODING, request)
        tokens[request, RUNNING] = 0
        made = tokens[request, CONTEXT] + row[STEP] - tokens[request, JOINED]
        row[HELD] -= made
        row[CACHED] -= made
        row[FINISHED] += 1
        row[CONNECTIONS] -= tokens[request, WORKER] == state.whole[RELOADS]
        state.floats[engine, PAIRS] += tokens[request, PROMPT] ** 2 / 2
        tokens[request, END], state.ended[request] = ANSWERED, now
        some = True
    return some


@compiled
def _plan(state: State, limits: Limits, engine: int, now: float) -> None:
    row, times = state.ints[engine], state.floats[engine]
    while row[HELD] + row[DECODING] > limits.kv_tokens:
        _preempt(state, engine)
    taken, pairs = _prompts(state, limits, engine)
    times[BEGAN] = now
    answers = row[DECODING]
    if row[CHUNKS] == 0 and answers == 0:
        times[DUE], row[STEPS] = math.inf, 0
        return
    times[FIRST] = limits.by_tokens[answers + taken] + limits.per_pair * pairs + limits.per_cached_token * row[CACHED]
    if row[CHUNKS] > 0:
        row[STEPS], times[RISE] = 1, 0.0
    else:
        times[RISE] = limits.per_cached_token * answers
        until_full = (limits.kv_tokens - row[HELD]) // answers
        row[STEPS] = max(1, min(_next_end(state, engine) - row[STEP], until_full))
    times[DUE] = now + _after(state, engine, row[STEPS])


@compiled
def _prompts(state: State, limits: Limits, engine: int) -> tuple[int, float]:
    row, tokens = state.ints[engine], state.tokens
    row[CHUNKS] = 0
    if row[PREFILLING] == 0 and row[WAITING] == 0:
        return 0, 0.0
    room, pairs, taken = len(limits.by_tokens) - 1 - row[DECODING], 0.0, 0
    request = row[PREFILLING_FIRST]
    while request >= 0 and room > taken:
        computed = tokens[request, COMPUTED]
        chunk = min(tokens[request, CONTEXT] - computed, room - taken)
        _take(state, engine, request, chunk)
        taken += chunk
        pairs += chunk * (computed + chunk / 2)
        request = tokens[request, NEXT]
    while row[WAITING] > 0 and taken < room and _fits(state, limits, engine):
        request = row[WAITING_FIRST]
        remove(tokens, row, WAITING, request)
        append(tokens, row, PREFILLING, request)
        row[HELD] += tokens[request, CONTEXT]
        chunk = min(tokens[request, CONTEXT], room - taken)
        _take(state, engine, request, chunk)
        taken += chunk
        pairs += chunk * chunk / 2
    return taken, pairs


@compiled
def _take(state: State, engine: int, request: int, chunk: int) -> None:
    place = state.ints[engine, CHUNKS]
    state.chunk_request[engine, place], state.chunk_tokens[engine, place] = request, chunk
    state.ints[engine, CHUNKS] = place + 1


@compiled
def _fits(state: State, limits: Limits, engine: int) -> bool:
    row = state.ints[engine]
    running = row[DECODING] + row[PREFILLING]
    if running >= limits.max_num_seqs:
        return False
    context = state.tokens[row[WAITING_FIRST], CONTEXT]
    return bool(row[HELD] + context + running + 1 <= limits.kv_tokens or running == 0)


@compiled
def _preempt(state: State, engine: int) -> None:
    row, tokens = state.ints[engine], state.tokens
    if row[PREFILLING] > 0:
        request = row[PREFILLING_LAST]
        remove(tokens, row, PREFILLING, request)
        row[HELD] -= tokens[request, CONTEXT]
    else:
        request = row[DECODING_LAST]
        remove(tokens, row, DECODING, request)
        tokens[request, RUNNING] = 0
        made = 1 + row[STEP] - tokens[request, JOINED]
        row[HELD] -= tokens[request, CONTEXT] + made - 1
        row[CACHED] -= tokens[request, CONTEXT] + made - 1
        tokens[request, CONTEXT] += made
        tokens[request, LEFT] -= made
    tokens[request, COMPUTED] = 0
    prepend(tokens, row, WAITING, request)


@compiled
def _next_end(state: State, engine: int) -> int:
    while not is_live(state, engine, 0):
        pop(state, engine)
    return int(state.end_step[engine, 0])


@compiled
def _cut(state: State, engine: int, now: float) -> None:
    times = state.floats[engine]
    steps = passed(state, engine, now)
    if times[BEGAN] + _after(state, engine, steps) < now:
        steps += 1
    steps = max(1, steps)
    if steps < state.ints[engine, STEPS]:
        state.ints[engine, STEPS] = steps
        times[DUE] = times[BEGAN] + _after(state, engine, steps)
