"""Where the compiled event loop keeps its requests and engines: arrays, since compiled code knows no objects. Made by `bench.compiled.run`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Columns of `State.ints`, one row for each engine.
STEPS, STEP, HELD, CACHED, ACCEPTED, FINISHED, PROMPTED, GENERATED, ORDER = range(9)
WAITING, WAITING_FIRST, WAITING_LAST = 9, 10, 11
PREFILLING, PREFILLING_FIRST, PREFILLING_LAST = 12, 13, 14
DECODING, DECODING_FIRST, DECODING_LAST = 15, 16, 17
ENDS, CHUNKS, STAGE, SAMPLED, CONNECTIONS = 18, 19, 20, 21, 22
INT_COLUMNS = 23
FREE, READY, DRAINING, GONE = range(4)
"""Values of `STAGE`."""

# Columns of `State.floats`, one row for each engine.
DUE, BEGAN, FIRST, RISE, GONE_AT, PAIRS = range(6)
FLOAT_COLUMNS = 6

# Columns of `State.tokens`, one row for each request.
PROMPT, OUTPUT, CONTEXT, COMPUTED, LEFT, JOINED, NEXT, BEFORE, END, RUNNING, WORKER = range(11)
TOKEN_COLUMNS = 11
ANSWERED, REFUSED, TOO_LONG, CUT, PENDING = range(1, 6)
"""Values of `END`; 0 before."""

# Places of `State.whole`.
UPCOMING, QUEUE, QUEUE_FIRST, QUEUE_LAST, SERVING, DRAW, RELOADS = range(7)
WHOLE = 7

SAMPLES, READINGS = 6, 9
"""Of one engine; what one says: waiting, running, cache, accepted, finished, prompt tokens, their pairs, generated tokens, when."""


class Limits(NamedTuple):
    """What does not change in a run."""

    by_tokens: Floats
    per_pair: float
    per_cached_token: float
    kv_tokens: int
    max_num_seqs: int
    longest: int
    direct: bool
    max_ongoing: int
    max_queued: int
    draws: Floats
    """Chance of the router, used again and again."""


class State(NamedTuple):
    """A run between two moments."""

    at: Floats
    """When each request arrives."""
    first_token: Floats
    ended: Floats
    tokens: Ints
    ints: Ints
    floats: Floats
    end_step: Ints
    """Of each engine, a heap: the steps in which answers end, their order, and whose they are."""
    end_order: Ints
    end_request: Ints
    chunk_request: Ints
    """Of each engine: prompts in its step, and how many tokens of each."""
    chunk_tokens: Ints
    samples: Floats
    ready: Ints
    """Engines that take requests, in the order in which they became ready."""
    whole: Ints


def fresh(at: Floats, prompts: Ints, outputs: Ints, engines: int, limits: Limits) -> State:
    """Return the state before the first request, with room for so many engines."""
    count = len(at)
    tokens = np.zeros((count, TOKEN_COLUMNS), dtype=np.int64)
    tokens[:, PROMPT] = tokens[:, CONTEXT] = prompts
    tokens[:, OUTPUT] = tokens[:, LEFT] = outputs
    tokens[:, NEXT] = tokens[:, BEFORE] = -1
    heap = 4 * limits.max_num_seqs + 16
    whole = np.zeros(WHOLE, dtype=np.int64)
    whole[QUEUE_FIRST] = whole[QUEUE_LAST] = -1
    return State(
        at=at,
        first_token=np.full(count, np.inf),
        ended=np.full(count, np.inf),
        tokens=tokens,
        ints=np.zeros((engines, INT_COLUMNS), dtype=np.int64),
        floats=np.zeros((engines, FLOAT_COLUMNS)),
        end_step=np.zeros((engines, heap), dtype=np.int64),
        end_order=np.zeros((engines, heap), dtype=np.int64),
        end_request=np.zeros((engines, heap), dtype=np.int64),
        chunk_request=np.zeros((engines, limits.max_num_seqs + 1), dtype=np.int64),
        chunk_tokens=np.zeros((engines, limits.max_num_seqs + 1), dtype=np.int64),
        samples=np.zeros((engines, SAMPLES, READINGS)),
        ready=np.zeros(engines, dtype=np.int64),
        whole=whole,
    )


def grown(state: State, engines: int) -> State:
    """Return the state with room for so many engines."""
    wider = {}
    for name in (
        "ints",
        "floats",
        "end_step",
        "end_order",
        "end_request",
        "chunk_request",
        "chunk_tokens",
        "samples",
        "ready",
    ):
        old = getattr(state, name)
        new = np.zeros((engines, *old.shape[1:]), dtype=old.dtype)
        new[: len(old)] = old
        wider[name] = new
    return state._replace(**wider)


def new_engine(state: State, engine: int) -> None:
    """Make the row of an engine that has just become ready."""
    state.ints[engine] = 0
    state.ints[engine, [WAITING_FIRST, WAITING_LAST, PREFILLING_FIRST, PREFILLING_LAST]] = -1
    state.ints[engine, [DECODING_FIRST, DECODING_LAST]] = -1
    state.ints[engine, STAGE] = READY
    state.floats[engine] = 0.0
    state.floats[engine, [DUE, GONE_AT]] = np.inf
    state.ready[state.whole[SERVING]] = engine
    state.whole[SERVING] += 1
    reloaded(state)


def reloaded(state: State) -> None:
    """Count connections anew, as a new worker of HAProxy does."""
    state.whole[RELOADS] += 1
    state.ints[:, CONNECTIONS] = 0
