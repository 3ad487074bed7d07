"""What a decision rests on: the fleet as the replicas and the routers tell it, and what is known of the engine beforehand.

Made by `ray_serve` from what Serve says, and by the simulator. Nothing in it is trusted: see `trust`.
"""

import math
from dataclasses import dataclass

ALL_ENGINES = 1e6
"""`Facts.choices` of a router that looks at all of them. It is a number, because replicas report numbers."""


@dataclass(frozen=True, slots=True)
class ReplicaReading:
    """What one ready replica says about its engine. Counters are since its start.

    Attributes:
        name: The same for as long as the replica lives, and no other's.
        waiting: Requests that wait in it.
        running: Requests that it computes.
        kv_usage: Share of its KV cache in use, 0 to 1.
        slots: Requests that it can compute at once.
        accepted: Requests that the engine took.
        finished: Requests that ended.
        prompt_tokens: Tokens of prompts that were computed, without those from the prefix cache.
        prompt_pairs: Pairs of tokens in these prompts, half the square of the length of each; 0 if nobody counts them.
        generated_tokens: Tokens of answers.
        kv_tokens: Tokens that its KV cache holds; 0 if it does not say.
        reported_at: Second of the report, on the clock of the decision.
    """

    name: str
    waiting: float
    running: float
    kv_usage: float
    slots: float
    accepted: float = 0.0
    finished: float = 0.0
    prompt_tokens: float = 0.0
    prompt_pairs: float = 0.0
    generated_tokens: float = 0.0
    kv_tokens: float = 0.0
    reported_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Signal:
    """The fleet at one instant.

    Attributes:
        queued: Requests that no engine has taken: they wait in routers, or at a proxy while there is no replica.
        replicas: One entry for each ready replica that has ever reported.
        ready: Replicas that serve.
        target: Replicas that were asked for; `target - ready` are starting if positive.
        target_queue_depth: Waiting requests that a replica may have.
        minimum: Lower bound.
        maximum: Upper bound.
    """

    queued: float
    replicas: tuple[ReplicaReading, ...]
    ready: int
    target: int
    target_queue_depth: float
    minimum: int
    maximum: int

    @property
    def starting(self) -> int:
        """Replicas that were asked for and do not serve yet."""
        return max(0, self.target - self.ready)

    def bounded(self, replicas: int) -> int:
        """Return the number of replicas nearest to `replicas` within the bounds."""
        lower = max(0, self.minimum)
        return min(max(replicas, lower), max(lower, self.maximum))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the plan knows of one replica before it has served anything. Times are in seconds; 0 for what is not known.

    A step over T tokens takes ((a T)^p + w^p)^(1/p) + c, and what attention costs on top.

    Attributes:
        per_token: One more token in a full step (a).
        per_pair: One pair of tokens of a prompt.
        per_cached_token: One token of the KV cache that an answer reads.
        weights: Reading the weights once (w).
        step: What a step costs whatever is in it (c).
        overlap: How far arithmetic and reading overlap (p).
        objective: Longest time until the first token.
        cold_start: What a start is expected to take; it never changes.
        measured_start: What starts took in replicas that this policy has not seen; it counts until one was seen.
        prompt_tokens: Tokens of a usual prompt, until real ones were counted.
        output_tokens: Tokens of a usual answer, until real ones were counted.
        choices: Engines among which a router takes the one with the least to do for a request: `ALL_ENGINES`, 2, or 1 if it goes by something else.
    """

    per_token: float = 0.0
    per_pair: float = 0.0
    per_cached_token: float = 0.0
    weights: float = 0.0
    step: float = 0.0
    overlap: float = 1.0
    objective: float = 2.0
    cold_start: float = 120.0
    measured_start: float = 0.0
    prompt_tokens: float = 1155.0
    output_tokens: float = 211.0
    choices: float = 1.0

    @property
    def priced(self) -> bool:
        """Whether the cost of a token is known; if not, work is learned from what the engines hold."""
        return self.per_token > 0


@dataclass(frozen=True, slots=True)
class Knobs:
    """What a user may turn while replicas run.

    Attributes:
        price: What a late request is worth, as a multiple of the engine seconds that a request costs.
        reserve: Replicas beyond the need.
        hold: Seconds for which a need is held after it is gone; None for what the price says.
    """

    price: float = 20.0
    reserve: float = 0.0
    hold: float | None = None
