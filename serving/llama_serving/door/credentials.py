"""Reads the API key from the headers of a request. `door.application` asks it.

Never from the query: addresses are written into logs on the way.
"""

import re
from enum import StrEnum
from typing import Final

from llama_serving.contract.keys import ApiKey, parse

_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)")


_EMPTY: Final = frozenset((b"", b"bearer"))
"""What a client sends whose variable for this way is empty: no key, and none to refuse beside one that came the other way."""


class NoKey(StrEnum):
    """Why a request has no valid key. For the log only: a client gets the same answer for all of them."""

    MISSING = "it has no key"
    SEVERAL = "it has several keys"
    MALFORMED = "its key has not the form of a key, or a typo"
    UNKNOWN = "its key is not known: it was revoked, or never made here"
    WRONG = "the secret of its key is wrong"
    EXPIRED = "its key has expired"
    REVOKED = "its key was revoked a moment ago"


def key_in(authorization: list[bytes], x_api_key: list[bytes]) -> ApiKey | NoKey:
    """Return the key that a request shows.

    A client may send the same key in both headers. Two different ones are refused, because layers before and behind would
    choose between them differently.

    Args:
        authorization: Values of all headers of that name.
        x_api_key: The same for the header of Anthropic's clients.
    """
    if len(authorization) > 1 or len(x_api_key) > 1:
        return NoKey.SEVERAL
    texts = {value for value in x_api_key if value}
    for value in authorization:
        if value.lower() in _EMPTY:
            continue
        bearer = _BEARER.fullmatch(value)
        if bearer is None:
            return NoKey.MALFORMED
        texts.add(bearer[1])
    if len(texts) > 1:
        return NoKey.SEVERAL
    if not texts:
        return NoKey.MISSING
    return parse(texts.pop().decode("latin-1")) or NoKey.MALFORMED
