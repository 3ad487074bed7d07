"""Limits of tenants, and how the guard is used. They are live: the operator renders them into `user_config`, and replicas take them while they run.

`llama_serving.desk` enforces them. Where its ledger is, if several deployments share one, is pinned with a revision; `desk.shared.valkey_bank` reads
that and the credentials, which the operator mounts by name.
"""

from typing import Annotated, Final

from pydantic import Field

from llama_serving.contract.adapters import MOST_ADAPTERS, MOST_ALIASES, Adapter, Alias
from llama_serving.contract.frozen import Frozen, Live
from llama_serving.contract.guard import GuardSettings
from llama_serving.contract.keys import KEY_ID_PATTERN, TenantName
from llama_serving.contract.scaling import ScalingKnobs

ANONYMOUS: Final = "anonymous"
"""Tenant of requests to an endpoint that asks for no key."""


MOST_REVOKED_KEYS: Final = 256
"""Ids of keys in the list of those that were revoked just now."""


class TenantLimits(Live):
    """What one tenant may use of one deployment, all replicas together. None is no limit."""

    name: TenantName
    requests_per_minute: int | None = Field(default=None, ge=1, le=100_000_000)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000_000)
    """Prompt and output tokens together."""
    concurrent_requests: int | None = Field(default=None, ge=1, le=1_000_000)
    tokens_per_day: int | None = Field(default=None, ge=1, le=1_000_000_000_000_000)
    """In a day of UTC."""
    tokens_per_month: int | None = Field(default=None, ge=1, le=1_000_000_000_000_000)
    """In a month of UTC."""
    max_output_tokens: int | None = Field(default=None, ge=1, le=16_777_216)
    """Longest answer that the tenant may ask for."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Lower is served first when the engine is full, as vLLM counts."""


class HouseLimit(Live):
    """The most that a LicensePolicy lets each tenant use in a minute."""

    most: int = Field(ge=1, le=1_000_000_000_000)
    policy: str = Field(max_length=253)
    """Name of the LicensePolicy."""
    tier: str = Field(max_length=63)
    """License tier that it says it for."""


class HouseLimits(Live):
    """House policy, for the words of refusals: the limits of tenants are within it already. None is no limit."""

    requests_per_minute: HouseLimit | None = None
    tokens_per_minute: HouseLimit | None = None


class DeskSettings(Live):
    """What replicas take while they run: `user_config` of the engine's Serve deployment. The desk enforces the limits."""

    tenants: tuple[TenantLimits, ...] = Field(default=(), max_length=256)
    others: TenantLimits | None = None
    """Limits of each tenant that is not listed; None for no limits."""
    max_waiting_requests: int = Field(default=10_000, ge=1, le=1_000_000)
    """Requests that may wait in one engine before the next one is refused with 429."""
    adapters: tuple[Adapter, ...] | None = Field(default=None, max_length=MOST_ADAPTERS)
    """Adapters that replicas shall have loaded; None for a revision without room for any."""
    guard: GuardSettings | None = None
    """How the guard is used, where there is one; None for the default."""
    aliases: tuple[Alias, ...] | None = Field(default=None, max_length=MOST_ALIASES)
    """Further names of the model, in requests and in the list of models; None for none."""
    house: HouseLimits | None = None
    """What house policy allows each tenant; None if it says nothing."""
    revoked_keys: tuple[Annotated[str, Field(pattern=KEY_ID_PATTERN)], ...] | None = Field(
        default=None, max_length=MOST_REVOKED_KEYS
    )
    """Ids of keys that are refused although the mounted folder may still have them; None for none."""
    scaling: ScalingKnobs | None = None
    """How the autoscaling policy weighs cost against latency; None for its default."""


STORE_FOLDER: Final = "/etc/llama/store"
"""Where the Secret with the credentials is mounted: files `username`, `password` and `ca.crt`, each of which may be missing."""

ADDRESS_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}$"


class StoreSettings(Frozen):
    """A Valkey or Redis server of the team that keeps the ledger of several deployments."""

    address: str = Field(min_length=3, max_length=261, pattern=ADDRESS_PATTERN)
    """Host and port."""
    scope: str = Field(min_length=1, max_length=63)
    """What has one ledger: all deployments of a namespace that name this server."""
    tls: bool = False
    folder: str | None = Field(default=None, max_length=1024)
    """Folder with the credentials; None for a server that asks for none."""
