"""Reads JSON as engines do. Pure; used wherever a model's files are looked into before an engine reads them.

Python's `json` takes bytes in UTF-16 and with a byte order mark, as some editors save them. What engines read with takes UTF-8 without a mark
only, so a file would pass here and fail there.
"""

import json
from typing import Any


def loaded(content: bytes) -> Any:
    """Parse the content of a file.

    Raises:
        ValueError: If it is no JSON in UTF-8.
        RecursionError: If it is nested too deep.
    """
    return json.loads(content.decode("utf-8"))
