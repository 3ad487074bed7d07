"""Names under which a model is asked for. The operator renders them, the desk and the board of the pods read them."""

from typing import Annotated, Final

from pydantic import Field

MOST_NAME_CHARACTERS: Final = 128
"""Longest name of a model on the endpoint."""

MOST_ALIASES: Final = 16

NAME_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
"""Letters, digits and what may stand in a path without being encoded."""

Alias = Annotated[str, Field(min_length=1, max_length=MOST_NAME_CHARACTERS, pattern=NAME_PATTERN)]
"""Another name of the model on the endpoint."""
