"""How long requests took: the three histograms of OpenTelemetry's conventions for servers of models. `desk` feeds them.

They stand beside vLLM's own, which know no operation, no adapter and no error. Ray takes one value at a time, so they wait here
until there is time for some of them.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from llama_serving.contract.usage import UsageEvent
from llama_serving.tracing import names
from llama_serving.tracing.pace import Pace

DESCRIPTIONS: Final = {
    names.DURATION: "Time of a request, from its admission to the last byte of its answer.",
    names.FIRST_TOKEN: "Time to the first token of a request that was answered.",
    names.TOKEN_TIME: "Time of a token after the first one, of a request that was answered.",
}
LABELS: Final = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL, names.ERROR)

_FIRST_ERROR: Final = 400
_AT_ONCE: Final = 50
_CAPACITY: Final = 20_000


class Histogram(Protocol):
    """What `ray.util.metrics.Histogram` is."""

    def observe(self, value: float, tags: dict[str, str]) -> None:
        """Take a value."""
        ...


MakeHistogram = Callable[[str, str, tuple[float, ...], tuple[str, ...]], Histogram]
"""Makes a histogram from its name, description, upper bounds of buckets and names of labels."""


class Durations:
    """The three histograms of one replica.

    Args:
        make: Makes a histogram.
    """

    def __init__(self, make: MakeHistogram) -> None:
        labels = tuple(names.in_prometheus(name) for name in LABELS)
        self._labels = labels
        self._histograms = {
            name: make(names.in_prometheus(name), words, names.BUCKETS[name], labels)
            for name, words in DESCRIPTIONS.items()
        }
        # The oldest go first if nobody publishes them.
        self._waiting: deque[tuple[str, float, dict[str, str]]] = deque(maxlen=_CAPACITY)

    def took(self, event: UsageEvent, pace: Pace, *, response_model: str) -> None:
        """Note a request that has ended.

        Args:
            event: Its line of the usage log.
            pace: Of its tokens.
            response_model: Model or adapter that answered.
        """
        data = event.data
        error = names.CANCELLED if data.finish_reason == names.ABORTED else ""
        if data.status >= _FIRST_ERROR:
            error = str(data.status)
        values = (names.OPERATIONS[data.dialect], names.VLLM, data.model, response_model, error)
        labels = dict(zip(self._labels, values, strict=True))
        self._waiting.append((names.DURATION, max(0.0, (event.time - data.started).total_seconds()), labels))
        if error:
            return
        if pace.first_token is not None:
            waited = pace.first_token - data.started.timestamp()
            self._waiting.append((names.FIRST_TOKEN, max(0.0, waited), labels))
        if pace.tokens > 0:
            self._waiting.append((names.TOKEN_TIME, pace.seconds / pace.tokens, labels))

    def publish(self) -> bool:
        """Hand on some values; return whether more wait. The caller lets others run in between."""
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            name, value, labels = self._waiting.popleft()
            self._histograms[name].observe(value, tags=labels)
        return bool(self._waiting)
