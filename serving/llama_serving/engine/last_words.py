"""What the processes of an engine logged when they failed. Used by `vllm`.

vLLM runs an engine in processes of its own and tells the one that started them only that it failed: "See root cause above",
which is in a log that ends with the pod (`own_log`).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from llama_serving.engine import own_log

_LONGEST: Final = 2000
"""Characters of what is told."""
_ERROR: Final = re.compile(r"\((?P<process>[^()]* pid=\d+)\) ERROR \S+ \S+ (?P<place>\[[^\]]*\])(?: (?P<text>.*))?")
"""As vLLM begins each line of an error: which process, which place of its code."""
_TRACE: Final = "Traceback (most recent call last):"
_BETWEEN: Final = ("During handling of the above exception", "The above exception was the direct cause")


def since(place: int, descriptor: int = own_log.STANDARD_OUTPUT) -> str:
    """The exception with which the first process failed since a mark; empty if none said so.

    Args:
        place: What `own_log.mark` returned before.
        descriptor: Of the log.
    """
    return last_words(own_log.lines_since(place, descriptor))


def last_words(lines: Iterable[str]) -> str:
    """The exception of the first trace that vLLM logged as an error, without its frames; the last one of a chain first.

    Processes that wait for the first one fail after it, and say less.
    """
    for record in _records(lines):
        if _TRACE in record:
            told = list(_exceptions(record[record.index(_TRACE) :]))
            return "; before that: ".join(reversed(told))[:_LONGEST]
    return ""


def _records(lines: Iterable[str]) -> Iterator[list[str]]:
    """The texts of each error; lines of several processes may be mixed."""
    records: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if (found := _ERROR.fullmatch(line)) is not None:
            records.setdefault((found["process"], found["place"]), []).append(found["text"] or "")
    yield from records.values()


def _exceptions(trace: Iterable[str]) -> Iterator[str]:
    """What stands between the frames of a trace, which are indented, and the next trace."""
    said: list[str] = []
    framed = False
    for line in (*trace, _TRACE):
        if line == _TRACE or line.startswith(_BETWEEN):
            if said:
                yield " ".join(said)
            said, framed = [], True
        elif line.startswith("  ") and framed:
            continue
        elif line.strip():
            # A message of several lines may be indented too: frames end with its first line.
            said.append(line.strip())
            framed = False
