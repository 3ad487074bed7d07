"""The usage log: one line of JSON for each request that an engine was asked to serve.

`llama_serving.desk` writes the lines into files of the replica, `kubectl llama usage` reads and sums them. A line is a
CloudEvent 1.0, so that a biller of the team can take it as it is. It counts, and holds nothing of a prompt or an answer.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from llama_serving.contract.frozen import Frozen
from llama_serving.contract.keys import KEY_ID_PATTERN
from llama_serving.contract.status import DeploymentIdentity

USAGE_TYPE: Final = "io.llama-operator.usage.v1"
"""`type` of each line."""

USAGE_FILES: Final = "llama-usage-*.jsonl"
"""Names of the files with lines, as a pattern; in the folder of Ray's logs of each pod with a replica."""

_Tokens = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]


class Dialect(StrEnum):
    """In which API a request was written, named by its path."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"


DIALECTS: Final = {
    "/v1/chat/completions": Dialect.CHAT,
    "/v1/completions": Dialect.COMPLETIONS,
    "/v1/responses": Dialect.RESPONSES,
    "/v1/messages": Dialect.MESSAGES,
    "/v1/messages/count_tokens": Dialect.COUNT_TOKENS,
}
"""Paths that ask an engine for something."""


class _Written(Frozen):
    """Readers ignore fields of a newer version, because pods may be newer than they are."""

    model_config = ConfigDict(extra="ignore")


class Usage(_Written):
    """What one request used, counted where the engine makes the tokens."""

    started: AwareDatetime
    """When the request came; `UsageEvent.time` is when it ended."""
    model: str = Field(min_length=1, max_length=128)
    """Name that the request asked for."""
    adapter: str | None = Field(default=None, max_length=128)
    """Name of the adapter that answered; None for the model itself."""
    dialect: Dialect
    stream: bool = False
    status: int = Field(ge=100, le=599)
    """Status of the answer; 499 if the client left before there was one."""
    finish_reason: str | None = Field(default=None, max_length=32)
    """Why the engine stopped, as vLLM says it (`stop`, `length`), or `abort`; None if no token was asked of it."""
    key_id: str | None = Field(default=None, pattern=KEY_ID_PATTERN)
    prompt_tokens: _Tokens = 0
    """Tokens of the prompts that the engine has read."""
    cached_tokens: _Tokens = 0
    """Those of `prompt_tokens` that the engine had in its cache."""
    output_tokens: _Tokens = 0


class UsageEvent(_Written):
    """One line of the usage log. `id` and `source` together are unique: a line that is read twice counts once."""

    specversion: Literal["1.0"] = "1.0"
    type: Literal["io.llama-operator.usage.v1"] = USAGE_TYPE
    source: str = Field(min_length=1, max_length=256)
    """`usage_source` of the deployment."""
    id: str = Field(min_length=1, max_length=128)
    """Id of the request, which the client got as the header `x-request-id`."""
    subject: str = Field(min_length=1, max_length=63)
    """Name of the tenant."""
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: Usage


def usage_source(identity: DeploymentIdentity) -> str:
    """Return the `source` of the lines of a deployment, all its revisions together."""
    return f"/namespaces/{identity.namespace}/llamadeployments/{identity.name}"
