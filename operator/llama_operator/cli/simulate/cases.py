"""What is played: the requests that an engine takes, and the need within the bounds of each hour. Called by `cli.simulate.command`."""

from dataclasses import replace

from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.need import BIN_SECONDS, Need
from llama_operator.simulate.run import Setup
from llama_operator.simulate.scalers.table import Case
from llama_operator.simulate.traces.trace import Trace


def within_context(trace: Trace, setup: Setup) -> tuple[Trace, int]:
    """Return the trace without requests that no engine takes, and how many these are: they are answered 400, and are no work.

    Raises:
        InvalidManifestError: If none is left.
    """
    longest = setup.engine.longest
    taken = tuple(one for one in trace.arrivals if one.prompt_tokens + one.output_tokens <= longest)
    if not taken:
        problem = f"all {len(trace.arrivals):,} requests have more than {longest:,} tokens"
        raise InvalidManifestError.of(
            "the command line", "--trace", problem, "shorter requests, or spec.context.maxModelLength"
        )
    return replace(trace, arrivals=taken), len(trace.arrivals) - len(taken)


def at_hours(case: Case) -> Case:
    """Return the case with a need that has the fewest replicas of each hour, where the bounds depend on the hour.

    It is searched within the widest bounds, and the fleet is kept within those of the hour: so fewer seem enough than ever ran.
    """
    setup = case.setup
    if setup.bounds_at is None:
        return case
    least = (setup.bounds_now(place * BIN_SECONDS)[0] for place in range(len(case.need.replicas)))
    return replace(case, need=Need(tuple(map(max, case.need.replicas, least)), case.need.attainment))
