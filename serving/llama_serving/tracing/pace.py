"""How fast a request got its tokens, as the engine knows it. `desk.meter` reads it from vLLM's states, `durations` publishes it.

The outputs of a request that is not streamed come all at its end, so only the engine knows when it made the first token.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Pace:
    """When the first token came, and how long the others took.

    Attributes:
        first_token: When the first token of all was made, in seconds since 1970; None if there was none, or nobody knows.
        seconds: Time from the first token of each sequence to its last one, added up.
        tokens: Tokens after the first one of each sequence, added up.
    """

    first_token: float | None = None
    seconds: float = 0.0
    tokens: int = 0

    def add(self, other: "Pace") -> None:
        """Add what another sequence or call took."""
        if other.first_token is not None:
            self.first_token = min(other.first_token, self.first_token or other.first_token)
        self.seconds += other.seconds
        self.tokens += other.tokens


def pace_of(stats: Any, output_tokens: int) -> Pace:
    """Return the pace of one sequence.

    Args:
        stats: vLLM's `RequestStateStats`; None if it keeps none.
        output_tokens: Tokens that were made.
    """
    latency = getattr(stats, "first_token_latency", 0.0)
    if not latency or not output_tokens:
        return Pace()
    # Two clocks: that of the wall where the request came, and another in the engine, of which only differences mean something.
    decoding = max(0.0, stats.last_token_ts - stats.first_token_ts) if output_tokens > 1 else 0.0
    return Pace(stats.arrival_time + latency, decoding, output_tokens - 1)
