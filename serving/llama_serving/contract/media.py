"""Hosts from which an engine may fetch images that requests name by their address. Fetching is off where none is named.

The operator renders them into the engine's arguments; the desk refuses other addresses, and so does vLLM.
"""

import re
from collections.abc import Collection
from typing import Annotated, Final

from pydantic import Field

MOST_MEDIA_DOMAINS: Final = 32
MEDIA_DOMAIN_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
MediaDomain = Annotated[str, Field(min_length=1, max_length=253, pattern=MEDIA_DOMAIN_PATTERN)]
"""A host by its whole name, in small letters; its subdomains are other hosts."""

NOWHERE: Final = "fetches.nothing.invalid"
"""A host that nobody can have. vLLM fetches from everywhere where its list of hosts is empty."""

_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+)(:[0-9]{1,5})?([/?][!-~]*)?")
"""Without names of users, and without what readers of addresses understand in different ways."""


def is_fetched(address: str, domains: Collection[str]) -> bool:
    """Whether `address` is one of HTTP at one of `domains`."""
    match = _ADDRESS.fullmatch(address)
    return match is not None and "\\" not in address and match[1].lower() in domains


def media_environment(domains: Collection[str]) -> dict[str, str]:
    """Environment of the engine: a host of the list may not send it on to another one."""
    return {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"} if domains else {}
