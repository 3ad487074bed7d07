"""Keeps the log of a replica open while vLLM configures logging anew, and requests out of it. Used by `vllm` and `server` at the start.

vLLM configures logging by `logging.config.dictConfig`, and Python then closes every handler of the process. Serve's handler forgets its file by
that: nothing more is written to the log of the replica, and a controller of Serve that starts again, which asks each replica where
its log is, takes the failing answer for a broken replica and starts another engine in its place.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from typing import Final

_SERVE: Final = "ray.serve"
_OF_A_REQUEST: Final = "serve_access_log"
"""What Serve says of a line about one request."""


def without_requests() -> None:
    """Write no line for each request: it would go to the disk while the tokens of others wait, and the usage log has one."""
    logging.getLogger(_SERVE).addFilter(lambda record: not getattr(record, _OF_A_REQUEST, False))


@contextmanager
def kept_open() -> Iterator[None]:
    """Give Serve's handlers back the files that they lose meanwhile."""
    handlers = [one for one in logging.getLogger(_SERVE).handlers if isinstance(one, MemoryHandler)]
    files = [one.target for one in handlers]
    try:
        yield
    finally:
        for handler, file in zip(handlers, files, strict=True):
            if handler.target is None:
                handler.setTarget(file)
