"""The compiled event loop against the reference, request by request. Here it runs as plain Python: to compile it takes longer than the test."""

import os
import subprocess
import sys

SCRIPT = """
from dataclasses import replace
from bench.compiled.run import COMPILED
from bench.autoscaling.cells import Workload
from bench.autoscaling.loads import trace_of
from bench.autoscaling.setups import setup_for
from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.engine import EngineLimits
from llama_operator.simulate.fleet_view import Wish
from llama_operator.simulate.outcome import REFERENCE, late, outcome
from llama_operator.simulate.router import PathLimits

class Planned:
    name, delays = "planned", None
    def wish(self, view):
        return Wish(3 if 10 <= view.now < 30 else 1)

workload = Workload("comparison", "step:low=3,high=14,at=15,length=45", "burst")
setup, _ = setup_for(workload, 30.0)
# A cache that is too small pushes requests out, a limit of the queue refuses some, and a short drain cuts some.
small = EngineLimits(24_000, 24, 5_000)
setup = replace(setup, engine=small, cold_start=ColdStart((4.0,)), drain=2.0, limits=PathLimits("Direct", 10**6, 40))
trace = trace_of(workload, 1)
one, other = (player.run(setup, trace.arrivals, Planned(), length=trace.length, seed=1, initial=1) for player in (REFERENCE, COMPILED))
assert [request.first_token for request in one.requests] == other.first_token.tolist()
assert [request.ended for request in one.requests] == other.ended.tolist()
assert [request.end for request in one.requests] == [other.end_of(place) for place in range(len(one.requests))]
assert one.seconds == other.seconds and one.changes == other.changes
assert outcome(one, setup) == COMPILED.outcome(other, setup)
assert late(one, setup, 10.0, 5) == COMPILED.late(other, setup, 10.0, 5)
found = outcome(one, setup)
assert found.refused and found.cut and found.within < found.requests, found
print("equal")
"""


def test_the_compiled_loop_is_the_reference_request_by_request():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal", done.stderr
