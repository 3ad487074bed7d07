"""`spec.tenants` and `spec.otherTenants`: what each tenant may use. Part of the `LlamaDeployment` resource.

`decide.bounds` makes live settings of it, and the serving pods enforce them (`llama_serving.contract.tenants`).
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from llama_operator.api.meta import ApiModel
from llama_serving.contract.keys import TenantName

MAX_TENANTS = 256

_Requests = Annotated[int, Field(ge=1, le=100_000_000)]
_Tokens = Annotated[int, Field(ge=1, le=1_000_000_000_000)]
_Budget = Annotated[int, Field(ge=1, le=1_000_000_000_000_000)]


class Limits(ApiModel):
    """What a tenant may use of this deployment, all replicas together. A limit that is left out is none."""

    requests_per_minute: _Requests | None = None
    """Requests that it may send in a minute."""
    tokens_per_minute: _Tokens | None = None
    """Tokens of prompts and answers together that it may use in a minute."""
    concurrent_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests that it may have at once."""
    tokens_per_day: _Budget | None = None
    """Tokens of prompts and answers together that it may use in a day of UTC."""
    tokens_per_month: _Budget | None = None
    """Tokens of prompts and answers together that it may use in a month of UTC."""
    max_output_tokens: Annotated[int, Field(ge=1, le=16_777_216)] | None = None
    """Longest answer that it may ask for, in tokens."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Who is served first when the engines are full: the lower number."""


class TenantSpec(Limits):
    """What one tenant may use of this deployment, all replicas together. A limit that is left out is none."""

    name: TenantName
    """Name of the tenant, as the keys say it; `anonymous` stands for all requests to an endpoint that asks for no key."""


def _each_once(tenants: tuple[TenantSpec, ...]) -> tuple[TenantSpec, ...]:
    """Refuse a repeated name: in the API server the list is a map by name, which has no rule of its own."""
    names = [tenant.name for tenant in tenants]
    if len(set(names)) != len(names):
        raise PydanticCustomError("repeated", "must have each name once; put the limits of a tenant into one entry")
    return tenants


Tenants = Annotated[tuple[TenantSpec, ...], Field(max_length=MAX_TENANTS, strict=False), AfterValidator(_each_once)]
"""Limits by tenant."""
