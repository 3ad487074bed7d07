r"""Keeps control characters of others away from the terminal, and from a terminal what it cannot show. Used by `cli.main`, and by what prints by another way.

Specs, status, events and engines hold texts of others. An escape sequence in one of them would act on the terminal of
whoever reads it, and a sign that turns the direction of writing would show another text than there is. Also in a file: it is
read on a terminal later.

Where the locale is not UTF-8, signs that its encoding lacks are written as similar ones, and other letters as `\u00e9`, as JSON, YAML and Python do.
"""

import codecs
import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

_ACTS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line end, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing
    "\u2028\u2029"  # line ends that a terminal may follow
    "\ud800-\udfff"  # halves of characters, which cannot be written at all
    "]"
)

_SIMILAR = str.maketrans("×→✗✓…·§─│└█▇▆▅▄▃▂▁▓▒░▚▔⠿", "x>x+~.S-|+##==__..%:./^*")
"""Signs of our own, and one of ASCII for each, so that columns stay columns."""
_ERRORS = "llama_operator.similar"


def _similar(error: UnicodeError) -> tuple[str, int]:
    """Handler of codecs: what is written for letters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_SIMILAR)
    return signs.encode("ascii", "backslashreplace").decode("ascii").replace("\\x", "\\u00"), error.end


codecs.register_error(_ERRORS, _similar)


def acts(text: str) -> bool:
    """Whether `text` has characters that a terminal would act on."""
    return _ACTS.search(text) is not None


def plain(text: str) -> str:
    r"""Return `text` with such characters as `\x1b` or `\u202e`: as JSON, YAML and Python write them."""
    return _ACTS.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - what two digits can say


class _Plain:
    """A stream that writes to another one what is plain, and is in all else that one."""

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner

    def write(self, text: str) -> int:
        """Write; returns the number of characters that were taken."""
        self.inner.write(plain(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """What the other stream has."""
        return getattr(self.inner, name)


@contextlib.contextmanager
def plain_streams() -> Iterator[None]:
    """Make standard output and standard error plain, and able to write what their encoding lacks, for as long as it is entered."""
    before = sys.stdout, sys.stderr
    files = [(one, one.errors) for one in before if isinstance(one, io.TextIOWrapper)]
    for file, _ in files:
        file.reconfigure(errors=_ERRORS)
    sys.stdout, sys.stderr = cast("TextIO", _Plain(before[0])), cast("TextIO", _Plain(before[1]))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for file, errors in files:
            if not file.closed:
                file.reconfigure(errors=errors)


def raw(stream: TextIO) -> TextIO:
    """The stream below, for control sequences of our own; what others wrote must not go there unless it is `plain`."""
    below: TextIO = getattr(stream, "inner", stream)
    return below
