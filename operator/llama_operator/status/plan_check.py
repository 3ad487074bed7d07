"""Whether the plan was right: the KV cache that the engines measured, against the one that was planned.

Called by `status.summary`, which shows both numbers, and by `status.conditions`, which judges them. vLLM measures its
memory once, at the start of an engine, so the measurement of a revision stays true while no engine can be asked.
"""

from math import floor

from llama_operator.api import readings
from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, KVCacheStatus
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.plan.memory import MIB, tokens_needed, whole_blocks
from llama_operator.decide.serve_application import arguments

TOLERANCE_PERCENT = 10
"""A plan that is off by more than this was wrong."""

_NOT_MEASURED = (
    "no engine of this revision has said how large its KV cache is: none has started yet, the status endpoint cannot be "
    "reached, or the image of the pods is too old to tell"
)

Judgement = tuple[ConditionStatus, Reason, str]


def compare(observed: Observed, decision: Decision) -> KVCacheStatus | None:
    """Planned and measured KV cache of the revision that the spec asks for; None until both are known.

    A measurement of another revision does not count: while a new one starts, pods of the old one answer.
    """
    if decision.rollout is None or decision.stopped:
        return None
    wanted = decision.rollout.wanted
    before = observed.deployment.status.kv_cache if observed.deployment.status is not None else None
    kept = before if before is not None and before.revision == wanted else None
    record, serving = observed.pinned(wanted), observed.serving
    if record is None or serving is None or serving.identity.revision != wanted or serving.kv_cache_tokens is None:
        # No replica runs or none answers: the last measurement of this revision stands.
        return kept
    planned = planned_tokens(record)
    if record.plan.chosen is None or planned is None:
        return kept
    whole = whole_blocks(record.plan.chosen.max_model_length)
    measured, concurrency = serving.kv_cache_tokens, serving.max_concurrency
    if kept is not None and kept.planned_tokens == planned and abs(measured - kept.measured_tokens) * 100 <= planned:
        # Replicas differ by a few blocks, and which of them has just reported is no reason to write a status.
        return kept
    return KVCacheStatus(
        revision=wanted,
        planned_tokens=planned,
        measured_tokens=measured,
        planned_concurrency=planned // whole,
        measured_concurrency=measured // whole if concurrency is None else floor(concurrency),
    )


def planned_tokens(record: RevisionFacts) -> int | None:
    """KV cache that an engine of this revision should have, in tokens; None for a plan that says nothing of it.

    On a GPU it is what the plan left for it. On a CPU the operator sets its size, and the engine takes that whatever
    memory there is.
    """
    chosen = record.plan.chosen
    if chosen is None or chosen.kv_cache_tokens == 0:
        return None
    mib = set_mib(record)
    if mib is None:
        return chosen.kv_cache_tokens
    bytes_per_token = max(1, round(chosen.kv_cache_bytes_per_gpu / chosen.kv_cache_tokens))
    return min(mib * MIB // bytes_per_token, readings.EXACT)


def set_mib(record: RevisionFacts) -> int | None:
    """Size of the KV cache that the pinned config sets for each rank, in MiB; None where the engine chooses it."""
    engine = readings.mapping(arguments(record.serve_config).get("engine"))
    return readings.whole(engine.get("cpu_kv_cache_mib"))


def judge(found: KVCacheStatus | None, observed: Observed) -> Judgement:
    """Status, reason and message of the condition PlanAccurate."""
    record = observed.pinned(found.revision) if found is not None else None
    chosen = record.plan.chosen if record is not None else None
    if found is None or record is None or chosen is None or found.planned_tokens == 0:
        return ConditionStatus.UNKNOWN, Reason.NOT_MEASURED, _NOT_MEASURED
    off = found.measured_tokens - found.planned_tokens
    numbers = (
        f"the KV cache of a replica holds {found.measured_tokens:,} tokens, {found.planned_tokens:,} were planned "
        f"({_percent(off, found.planned_tokens)})"
    )
    if (mib := set_mib(record)) is not None:
        numbers += f"; its size is set to {mib:,} MiB a rank, so this says nothing of the memory of the machine"
    if abs(off) * 100 <= TOLERANCE_PERCENT * found.planned_tokens:
        return ConditionStatus.TRUE, Reason.KV_CACHE_AS_PLANNED, numbers
    if off > 0:
        gain = f"{found.measured_concurrency:,} instead of {found.planned_concurrency:,} sequences of"
        room = f"{gain} {chosen.max_model_length:,} tokens fit at once, and a longer context or more of them could be asked for"
        return ConditionStatus.FALSE, Reason.KV_CACHE_LARGER_THAN_PLANNED, f"{numbers}: harmless, {room}"
    return ConditionStatus.FALSE, Reason.KV_CACHE_SMALLER_THAN_PLANNED, f"{numbers}: {_harm(found, chosen, observed)}"


def _harm(found: KVCacheStatus, chosen: ChosenPlan, observed: Observed) -> str:
    length, asked = chosen.max_model_length, observed.deployment.spec.context.concurrent_sequences
    held = f"{found.measured_concurrency:,} sequences of {length:,} tokens fit at once"
    if found.measured_tokens >= tokens_needed(length, asked):
        return f"{held}, which still holds the {asked:,} asked for, but requests wait sooner than planned"
    return (
        f"only {held}, {asked:,} are asked for; lower spec.context.maxModelLength or concurrentSequences, raise "
        "spec.engine.gpuMemoryUtilizationPercent, or name a larger spec.parallelism.tensor"
    )


def _percent(off: int, planned: int) -> str:
    if off == 0:
        return "as planned"
    return f"{abs(off) / planned:.1%} {'more' if off > 0 else 'less'}"
