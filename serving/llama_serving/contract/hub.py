"""The Hub, and the verdict of the access check. A pod writes it (`access_check`), the operator reads it."""

from enum import StrEnum

from pydantic import Field

from llama_serving.contract.frozen import Frozen

HUB_ENDPOINT = "https://huggingface.co"
"""Where weights are downloaded from, unless the platform owner names a mirror."""

TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 - a name
"""Environment variable that holds the Hub token in the pod of the access check."""

CHECKPOINT_FILE = "config.json"
"""Every checkpoint that the engine can load has it, and the gate holds for it: unlike README and LICENSE, which the Hub
gives to anybody."""
ADAPTER_FILE = "adapter_config.json"
"""The same of a LoRA adapter."""


class HubAccess(StrEnum):
    """What the Hub says about a token's right to download one repository at one revision."""

    ACCESSIBLE = "Accessible"
    """The files can be downloaded."""
    TOKEN_MISSING = "TokenMissing"  # noqa: S105 - a word
    """The repository asks for a token, and there is none."""
    TOKEN_INVALID = "TokenInvalid"  # noqa: S105 - a word
    """The Hub does not know the token, or the token may not read gated repositories."""
    NOT_ACCEPTED = "NotAccepted"
    """The account behind the token has not asked for access."""
    PENDING_REVIEW = "PendingReview"
    """The account has asked, and the authors of the repository have not answered yet."""
    DENIED = "Denied"
    """The authors refused the account, or the repository is disabled."""
    NOT_FOUND = "NotFound"
    """The token sees no such repository, revision or checkpoint."""
    OFFLINE = "Offline"
    """The Hub gave no usable answer."""


class AccessVerdict(Frozen):
    """The one line that the access check writes as its termination message (`llama_serving.access_check`)."""

    access: HubAccess
    repository: str = Field(max_length=192)
    revision: str = Field(max_length=128)
    """Revision that was checked."""
    commit: str = Field(default="", max_length=64)
    """Commit of the revision, if the Hub said it."""
    message: str = Field(default="", max_length=1024)
    """The words of the Hub, or of the network error."""
