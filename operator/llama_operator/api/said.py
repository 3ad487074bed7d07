"""Words of other programs, made fit to be repeated: in status, events, logs and records everybody reads them.

Called by `observe` for what KubeRay, Serve, kubelet and scheduler say, and by `status` for how much of it is shown.
"""

import re
from typing import Final

from llama_operator.api.readings import text

CUT: Final = " … "
"""Stands for what was left out of a long text."""
_HIDDEN: Final = "***"

_TERMINAL: Final = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
"""Colors, which Ray writes into its traces, and other characters that are for terminals only."""
_INNER: Final = r"[^()\n]*(?:\([^()\n]*\)[^()\n]*)*"
_PROCESS: Final = re.compile(rf" ?\((?:[\w:.#]+ )?pid=\d+{_INNER}\)|(?<= object) at 0x[0-9a-f]+")
"""Ray's marks of a process: `(pid=1432, ip=10.0.3.7, actor_id=…, repr=<… object at 0x7f8b>)`. They differ with each try."""
_TRACE: Final = re.compile(
    r"Traceback \(most recent call last\):\s*?(?:\n|\Z)"
    r"|^[ \t]+File \"[^\"\n]*\", line \d+[^\n]*(?:\n|\Z)(?:[ \t]{4,}[^\n]*(?:\n|\Z))*",
    re.MULTILINE,
)
"""Where a program of Python was when it failed: pages before the sentence that says why, with numbers that look like answers of
a server (`line 401`). The log has them."""
_PARAMETERS: Final = (
    "x-amz-(?:signature|credential|security-token)",
    "x-goog-(?:signature|credential)",
    "awsaccesskeyid",
    "sig|signature",
    "(?:(?:access|auth|hf|refresh)[_-]?)?token",
    "(?:aws[_-])?secret[_-]access[_-]key",
    "client[_-]secret",
    "api[_-]?key",
    "password|passwd",
)
"""Names of parameters whose values are credentials."""
_SECRETS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        (r"(://)[^/\s:@'\"]+:[^/\s@'\"]+@", rf"\1{_HIDDEN}@"),
        (r"(\bauthorization['\"]?\s*[:=]\s*['\"]?)(?:(?:bearer|basic|token)\s+)?[^\s'\",}]+", rf"\1{_HIDDEN}"),
        (r"(\bbearer\s+)[\w.~+/-]{16,}=*", rf"\1{_HIDDEN}"),
        (rf"(\b(?:{'|'.join(_PARAMETERS)})=)[^&\s'\",;)]+", rf"\1{_HIDDEN}"),
        (r"\b(?:hf|api_org)_[a-z0-9]{16,}", _HIDDEN),
        (r"\bgh[pousr]_[a-z0-9]{20,}", _HIDDEN),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", _HIDDEN),
        (r"\beyJ[\w-]{8,1024}\.[\w-]{1,4096}\.[\w-]+", _HIDDEN),
    )
)
"""Credentials, as they stand in addresses, headers and messages of clients."""


def said(written: object) -> str:
    """What another program said, without credentials, characters for terminals, marks of a process and frames of a trace.

    Empty if it is no text.

    It is the same from try to try, as long as nothing else changes.
    """
    words = _TRACE.sub("", _PROCESS.sub("", _TERMINAL.sub("", text(written))))
    for secret, shown in _SECRETS:
        words = secret.sub(shown, words)
    return words


def shortened(words: str, limit: int) -> str:
    """Return a text of at most `limit` bytes of UTF-8, which is how the API server counts; the longer part is its end.

    A trace names its cause at its end; before the beginning stands what the operator says of it.

    Args:
        words: The text.
        limit: Most bytes, more than a few.
    """
    whole = words.encode(errors="replace")
    if len(whole) <= limit:
        return words
    begin = limit // 4
    end = limit - begin - len(CUT.encode())
    return f"{whole[:begin].decode(errors='ignore')}{CUT}{whole[-end:].decode(errors='ignore')}"
