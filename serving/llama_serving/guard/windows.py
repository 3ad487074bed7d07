"""When a growing answer is checked: early and often while it is short, then at even distances. Pure; `answer` uses it.

Each check reads the whole answer so far, so nothing hides in a seam. The guard's prefix cache makes it pay only for what is new.
"""

from typing import Final

_FIRST: Final = (32, 64, 128)
_EVERY: Final = 256


def next_check(tokens: int) -> int:
    """Return the length, in tokens, at which an answer that has `tokens` is checked next."""
    return next((point for point in _FIRST if point > tokens), (tokens // _EVERY + 1) * _EVERY)
