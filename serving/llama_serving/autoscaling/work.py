"""What a request costs an engine, in engine seconds: the unit in which load and replicas compare. Called by `policy`.

Requests in slots do not say how loaded an engine is: the number in flight grows as 1 / (1 - load). Work does. It follows from the tokens
of requests and the plan's own model of a step, and is corrected by what the engines are seen to deliver: up within a minute, because a fleet that is
thought sufficient stands over its cliff, and down slowly.
"""

import math
from dataclasses import dataclass

from llama_serving.autoscaling.arrivals import Counted
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.signal import Facts, ReplicaReading

_LENGTHS_SECONDS = 300.0
"""Over how long lengths of requests are averaged; it is a decay, not a window."""
_WORK_SECONDS = 30.0
_EXPECTED_REQUESTS = 10.0
"""Requests that the plan's own lengths count as, beside those that were seen."""
_UP_SECONDS = 20.0
_DOWN_SECONDS = 600.0
_CROWDED_SECONDS = 20.0
"""For so long requests must wait before it is said that the engines deliver what they can."""
_CORRECTION = (0.3, 4.0)
_FILLED = 0.9
"""Share of places or cache of which an engine that has no room makes use: admission keeps some free."""
_VARIATION = 1.0
"""Squared variation of the lengths of prompts while nobody counts their pairs, as of exponential ones."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a request costs; engine seconds.

    Attributes:
        request: A request, in an engine that is as full as it can be.
        prefill: Its prompt.
        prefill_square: Mean square of the latter, in seconds squared.
        stay: How long a request is in an engine that is as full as it can be; 0 if that is not known.
    """

    request: float
    prefill: float
    prefill_square: float
    stay: float = 0.0


def lengths(
    memory: Memory, moved: Counted | None, inside: float, running: float
) -> tuple[float, float, float, float, float]:
    """Return `Memory.lengths` with what was counted since the last decision.

    Prompts are counted when they are computed. So they belong to the requests that were begun: those that wait would make all look short, just
    when it matters. Answers are counted while they are made: one that runs is half of one, on average.

    Args:
        memory: Of before.
        moved: What was counted.
        inside: Requests that wait in engines.
        running: Requests that they compute.
    """
    if moved is None:
        return memory.lengths
    kept = math.exp(-moved.seconds / _LENGTHS_SECONDS)
    begun = moved.accepted - (inside - memory.inside)
    ended = moved.finished + (running - memory.running) / 2
    new = (begun, ended, moved.prompt_tokens, moved.prompt_pairs, moved.generated_tokens)
    first, second, third, fourth, fifth = (old * kept + add for old, add in zip(memory.lengths, new, strict=True))
    return first, second, third, fourth, fifth


def work(facts: Facts, seen: tuple[float, float, float, float, float], slots: float, kv_tokens: float) -> Work:
    """Return what a request costs by the model of a step.

    A step that makes one token for each of n answers takes in the prompts that keep n answers running: so a request costs its tokens, its
    attention, and its share of what a step costs beyond its tokens. n is what slots and cache hold.

    Args:
        facts: The plan's constants; they are priced.
        seen: `Memory.lengths`.
        slots: Requests that one replica computes at once.
        kv_tokens: Tokens that its KV cache holds; 0 if it is not known.
    """
    begun, finished, prompts, pairs, answers = seen
    begun, finished = max(0.0, begun), max(0.0, finished)
    prompt = (prompts + facts.prompt_tokens * _EXPECTED_REQUESTS) / (begun + _EXPECTED_REQUESTS)
    output = max(1.0, (answers + facts.output_tokens * _EXPECTED_REQUESTS) / (finished + _EXPECTED_REQUESTS))
    square = prompt**2 * (1 + _VARIATION)
    if pairs > 0:
        square = (2 * pairs + square * _EXPECTED_REQUESTS) / (finished + _EXPECTED_REQUESTS)
    held = max(1.0, slots)
    if kv_tokens > 0:
        held = max(1.0, min(held, kv_tokens / (prompt + output / 2)))
    tokens = held * (1 + prompt / output)
    prefill = facts.per_token * prompt + facts.per_pair * square / 2
    answer = facts.per_token * output + facts.per_cached_token * output * (prompt + output / 2)
    request = prefill + answer + output / held * _beyond_tokens(facts, tokens)
    variation = max(1.0, square / max(1.0, prompt**2))
    # Little's law: so many are in it, and so long each keeps it busy.
    return Work(request, prefill, prefill**2 * variation, held * request)


def _beyond_tokens(facts: Facts, tokens: float) -> float:
    """Seconds of a step that more tokens in it would not add to."""
    arithmetic, overlap = facts.per_token * tokens, max(1.0, facts.overlap)
    longer, shorter = max(arithmetic, facts.weights), min(arithmetic, facts.weights)
    if longer <= 0:
        return facts.step
    both = longer * math.pow(1 + math.pow(shorter / longer, overlap), 1 / overlap)
    return both - arithmetic + facts.step


def occupancy(replicas: tuple[ReplicaReading, ...], ready: int) -> float:
    """Return the replicas' worth of places and cache that are in use; what cannot be believed counts as the others."""
    if not replicas:
        return 0.0
    shares = (max(replica.kv_usage, replica.running / max(1.0, replica.slots)) for replica in replicas)
    return sum(min(1.0, share) for share in shares) * max(1.0, ready / len(replicas))


def delivered(facts: Facts, memory: Memory, moved: Counted | None, ready: int) -> float:
    """Return `Memory.work`: engine seconds that a replica delivers in a second, by the tokens that were computed."""
    if moved is None or ready != memory.ready or ready == 0:
        return -1.0 if ready != memory.ready else memory.work
    plain = facts.per_token * (moved.prompt_tokens + moved.generated_tokens) + facts.per_pair * moved.prompt_pairs
    begun, finished, prompts, pairs, answers = memory.lengths
    if not pairs:
        plain += facts.per_pair * moved.prompt_tokens * (prompts / max(1.0, begun))
    context = prompts / max(1.0, begun) + answers / max(1.0, finished) / 2
    plain += facts.per_cached_token * moved.generated_tokens * context
    rate = plain / moved.seconds / ready
    if memory.work < 0:
        return rate
    kept = math.exp(-moved.seconds / _WORK_SECONDS)
    return memory.work * kept + rate * (1 - kept)


def corrected(memory: Memory, rate: float, ideal: float, *, crowded: float, full: bool, seconds: float) -> float:
    """Return `Memory.correction`.

    Engines with a queue deliver all they can: if that is less than a second of work in a second, a request costs more than the model
    says. Engines without one show that they can deliver at least what they do.

    Args:
        memory: Of before.
        rate: `delivered`; negative if it is not known.
        ideal: What the model says that a full engine delivers by its tokens, at most 1: the rest of a step is not for tokens.
        crowded: Seconds for which more requests have waited than may.
        full: Whether places or cache of the engines are used up.
        seconds: Since the last decision.
    """
    correction = memory.correction
    if rate <= 0:
        return correction
    at_least, at_most = _CORRECTION
    said = min(max(ideal / rate, at_least), at_most)
    if crowded > _CROWDED_SECONDS and full:
        pace = _UP_SECONDS if said > correction else _DOWN_SECONDS
        return correction + (said - correction) * min(1.0, seconds / pace)
    if said < correction:
        # So much was delivered, and nothing waited.
        return correction + (said - correction) * min(1.0, seconds / _DOWN_SECONDS * 10)
    if correction > 1.0:
        return correction + (1.0 - correction) * min(1.0, seconds / _DOWN_SECONDS / 6)
    return correction


def busy(replicas: tuple[ReplicaReading, ...]) -> bool:
    """Whether the engines have no room, or requests wait in nearly all: prompts may use up an engine whose cache is half empty."""
    if not replicas:
        return False
    queued = sum(replica.waiting >= 1 for replica in replicas)
    return max(queued, occupancy(replicas, len(replicas))) >= _FILLED * len(replicas)
