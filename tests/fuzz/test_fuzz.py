"""Drawn worlds, specs and things that happen, through the whole reconcile: after every pass everything that must hold, holds.

500 cases with fixed seeds in `make test`; `make fuzz N=20000 SEED=7` runs as many as wanted, in batches with seeds of their own.
A batch that fails prints the command that repeats it. support/fuzzing has what is drawn and what must hold.
"""

import gc
import os
import time

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from support.fuzzing.cases import run_case

BATCH = 100
CASES = int(os.environ.get("LLAMA_OPERATOR_FUZZ_CASES") or 500)
FIRST = int(os.environ.get("LLAMA_OPERATOR_FUZZ_SEED") or 0)
ASKED = "LLAMA_OPERATOR_FUZZ_CASES" in os.environ
SHRUNK = 1000
"""Up to so many cases a failing one is made smaller, which takes minutes. A longer run names it, and goes on."""
STARTED = time.monotonic()


@pytest.fixture(autouse=True)
def few_collections():
    """What a case makes is freed by its reference counts; to look through all that is loaded after each is a fifth of the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize("batch", range(FIRST, FIRST + -(-CASES // BATCH)))
def test_nothing_that_is_read_stops_or_misleads_a_pass(batch, capsys):
    @seed(batch)
    @settings(
        max_examples=min(BATCH, CASES),
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if CASES <= SHRUNK else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def cases(data):
        run_case(data.draw, note)

    try:
        cases()
    except BaseException as error:
        with capsys.disabled():
            print(f"\n==> {type(error).__name__}: {str(error)[:500]}")
            print(f"==> repeat it by: make fuzz SEED={batch} N={BATCH}", flush=True)
        raise
    if ASKED:
        done = (batch - FIRST + 1) * BATCH
        with capsys.disabled():
            print(f"\n==> {done} of {CASES} cases hold, seed {batch}, {time.monotonic() - STARTED:.0f} s", flush=True)
