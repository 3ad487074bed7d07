"""Names of OpenTelemetry's conventions, all in one place: of attributes, operations and metrics.

Those for generative models are in development: a new version may rename them. Version 1.44 is the last of the semantic
conventions that lists them; since then they are in a repository of their own, without a version. docs/traces.md says the version too.
"""

from typing import Final

from llama_serving.contract.usage import Dialect

CONVENTIONS: Final = "1.44.0"
"""Version of the semantic conventions that the names are from."""
SCHEMA: Final = f"https://opentelemetry.io/schemas/{CONVENTIONS}"
SCOPE: Final = "llama_serving"
"""Name of the instrumentation."""

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_CHOICES: Final = "gen_ai.request.choice.count"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"

ERROR: Final = "error.type"
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"

TENANT: Final = "llama.tenant"
"""Ours: the conventions have no word for who pays."""
REQUEST_ID: Final = "llama.request.id"
"""Ours: what the client got as `x-request-id`."""

CANCELLED: Final = "cancelled"
"""`error.type` of a request that was cut off: its client left, or its time was over."""
ABORTED: Final = "abort"
"""Why such a request ended, in the words of the engine."""

VLLM: Final = "vllm"
"""Value of `PROVIDER`. The conventions list services of vendors, and allow a word of one's own for others."""

OPERATIONS: Final = {
    Dialect.CHAT: "chat",
    Dialect.MESSAGES: "chat",
    Dialect.RESPONSES: "chat",
    Dialect.COMPLETIONS: "text_completion",
    Dialect.COUNT_TOKENS: "count_tokens",
}
"""Operation of each API. The last one is our own word: it makes no answer."""

DURATION: Final = "gen_ai.server.request.duration"
FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105 - the name of a metric
TOKEN_TIME: Final = "gen_ai.server.time_per_output_token"  # noqa: S105 - the name of a metric

BUCKETS: Final = {
    DURATION: (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    FIRST_TOKEN: (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    TOKEN_TIME: (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
}
"""Upper bounds of the buckets that the conventions give, in seconds."""


def in_prometheus(name: str) -> str:
    """Return a name as Prometheus writes it; that of a histogram of ours with its unit."""
    return name.replace(".", "_") + ("_seconds" if name in BUCKETS else "")
