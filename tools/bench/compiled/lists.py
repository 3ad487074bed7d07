"""Queues and heaps in arrays, compiled. Called by `bench.compiled.engine` and `bench.compiled.loop`.

Three lists of an engine and the router's queue share the columns `NEXT` and `BEFORE`: a request is in one of them at most.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

from bench.compiled.state import (
    BEFORE,
    ENDS,
    JOINED,
    LEFT,
    NEXT,
    RUNNING,
    Ints,
    State,
)

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function, and keep the result beside its source."""
    return cast("_Function", njit(cache=True)(function))


@compiled
def append(tokens: Ints, row: Ints, place: int, request: int) -> None:
    """Put a request at the end. `row[place]` is the length, then the first and the last one."""
    last = row[place + 2]
    tokens[request, NEXT], tokens[request, BEFORE] = -1, last
    if last >= 0:
        tokens[last, NEXT] = request
    else:
        row[place + 1] = request
    row[place + 2] = request
    row[place] += 1


@compiled
def prepend(tokens: Ints, row: Ints, place: int, request: int) -> None:
    """Put a request at the head."""
    first = row[place + 1]
    tokens[request, NEXT], tokens[request, BEFORE] = first, -1
    if first >= 0:
        tokens[first, BEFORE] = request
    else:
        row[place + 2] = request
    row[place + 1] = request
    row[place] += 1


@compiled
def remove(tokens: Ints, row: Ints, place: int, request: int) -> None:
    """Take a request out."""
    after, before = tokens[request, NEXT], tokens[request, BEFORE]
    if before >= 0:
        tokens[before, NEXT] = after
    else:
        row[place + 1] = after
    if after >= 0:
        tokens[after, BEFORE] = before
    else:
        row[place + 2] = before
    row[place] -= 1


@compiled
def is_live(state: State, engine: int, place: int) -> bool:
    """Whether the entry of the heap is of a running answer: those of preempted ones stay until they come up."""
    request = state.end_request[engine, place]
    end = state.tokens[request, JOINED] + state.tokens[request, LEFT] - 1
    return bool(state.tokens[request, RUNNING] == 1 and state.end_step[engine, place] == end)


@compiled
def push(state: State, engine: int, step: int, order: int, request: int) -> None:
    """Put an end into the heap."""
    steps, orders, requests = state.end_step[engine], state.end_order[engine], state.end_request[engine]
    count = state.ints[engine, ENDS]
    if count == len(steps):
        kept = 0
        for place in range(count):
            if is_live(state, engine, place):
                steps[kept], orders[kept], requests[kept] = steps[place], orders[place], requests[place]
                kept += 1
        count = kept
        # Sorted is a heap as well; it is short, and this is rare.
        for place in range(1, count):
            _raise(steps, orders, requests, place)
    steps[count], orders[count], requests[count] = step, order, request
    _raise(steps, orders, requests, count)
    state.ints[engine, ENDS] = count + 1


@compiled
def _raise(steps: Ints, orders: Ints, requests: Ints, start: int) -> None:
    place = start
    while place > 0:
        parent = (place - 1) // 2
        if steps[parent] < steps[place] or (steps[parent] == steps[place] and orders[parent] < orders[place]):
            return
        steps[parent], steps[place] = steps[place], steps[parent]
        orders[parent], orders[place] = orders[place], orders[parent]
        requests[parent], requests[place] = requests[place], requests[parent]
        place = parent


@compiled
def pop(state: State, engine: int) -> None:
    """Take the first end out of the heap."""
    steps, orders, requests = state.end_step[engine], state.end_order[engine], state.end_request[engine]
    count = state.ints[engine, ENDS] - 1
    state.ints[engine, ENDS] = count
    steps[0], orders[0], requests[0] = steps[count], orders[count], requests[count]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            return
        other = child + 1
        if other < count and (
            steps[other] < steps[child] or (steps[other] == steps[child] and orders[other] < orders[child])
        ):
            child = other
        if steps[place] < steps[child] or (steps[place] == steps[child] and orders[place] < orders[child]):
            return
        steps[child], steps[place] = steps[place], steps[child]
        orders[child], orders[place] = orders[place], orders[child]
        requests[child], requests[place] = requests[place], requests[child]
        place = child
