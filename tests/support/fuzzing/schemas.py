"""From an OpenAPI schema of a CRD to a strategy of its values: a field is drawn from the day that its schema has it.

Bounds are drawn more often than what lies between. A hint gives values that mean something in the world of a case, as names of
models that exist; without one a name would hardly ever be one that does.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]
Hint = Callable[[str], st.SearchStrategy[Any] | None]
"""Values for a path of fields, as `spec.model.name`; None where the schema says enough."""

TIMES = (
    "2026-03-02T09:30:00Z",
    "2026-03-02T09:29:59.123456Z",
    "2026-03-02T09:30:00+02:00",
    "1970-01-01T00:00:00Z",
    "2036-03-02T09:30:00Z",
    "9999-12-31T23:59:59Z",
)
_MOST_ITEMS = 3
_LONG = 80


def no_hint(path: str) -> None:
    """Give no values."""


def values(schema: Schema, hint: Hint = no_hint, path: str = "") -> st.SearchStrategy[Any]:
    """Return a strategy of values that the schema allows.

    Args:
        schema: A structural schema.
        hint: Values that mean something.
        path: Where the schema stands.
    """
    plain = _values(schema, hint, path)
    hinted = hint(path)
    # In that order: a failing case shrinks towards what means something.
    return plain if hinted is None else st.one_of(hinted, hinted, hinted, plain)


def _values(schema: Schema, hint: Hint, path: str) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([0, 1, 8000, "http", "50%"])
    match schema.get("type"):
        case "string":
            return _string(schema)
        case "integer":
            return _integer(schema)
        case "number":
            return st.floats(schema.get("minimum", -1e9), schema.get("maximum", 1e9), allow_nan=False)
        case "boolean":
            return st.booleans()
        case "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", _MOST_ITEMS)
            return st.lists(
                values(schema["items"], hint, path),
                min_size=least,
                max_size=min(most, max(least, _MOST_ITEMS)),
                unique_by=_entry_of(schema),
            )
        case _:
            return _object(schema, hint, path)


def _entry_of(schema: Schema) -> Callable[[Any], Any] | None:
    """What the API server lets stand in a list only once; None where it counts nothing."""
    names = schema.get("x-kubernetes-list-map-keys")
    return None if names is None else lambda item: repr([item.get(name) for name in names])


def _object(schema: Schema, hint: Hint, path: str) -> st.SearchStrategy[Any]:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    if not properties:
        below = schema.get("additionalProperties")
        items = values(below, hint, f"{path}.*") if isinstance(below, dict) else st.text(max_size=8)
        return st.dictionaries(st.sampled_from(["llama", "a", "x-y"]), items, max_size=2)
    required = set(schema.get("required", ()))
    parts = {name: values(below, hint, f"{path}.{name}".lstrip(".")) for name, below in properties.items()}
    return st.fixed_dictionaries(
        {name: parts[name] for name in properties if name in required},
        optional={name: parts[name] for name in properties if name not in required},
    )


def _integer(schema: Schema) -> st.SearchStrategy[int]:
    small = schema.get("format") == "int32"
    least = int(schema.get("minimum", -(2**31) if small else -(2**63)))
    most = int(schema.get("maximum", 2**31 - 1 if small else 2**63 - 1))
    edges = sorted(
        {each for each in (schema.get("default"), 0, 1, 2, least, least + 1, most - 1, most) if each is not None}
    )
    return st.one_of(
        st.sampled_from([each for each in edges if least <= each <= most]),
        st.integers(least, min(most, least + 64)),
        st.integers(least, most),
    )


def _string(schema: Schema) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if schema.get("format") == "date-time":
        return st.sampled_from(TIMES)
    pattern = schema.get("pattern")
    if pattern is None:
        longest = _LONG if most is None else most
        short = st.text(_ALPHABET, min_size=least, max_size=min(longest, max(least, 12)))
        return st.one_of(short, st.just("x" * min(longest, 4096)))
    return _matching(pattern, least, most)


_CLASSES = {r"\p{L}": "a-zA-Zé本", r"\p{N}": "0-9٣"}
"""Classes that servers know and Python does not, with some of what is in them."""
_ALPHABET = st.characters(exclude_categories=["Cs"])


@cache
def _matching(pattern: str, least: int, most: int | None) -> st.SearchStrategy[str]:
    for name, letters in _CLASSES.items():
        pattern = pattern.replace(name, letters)
    anchored = pattern.startswith("^") and pattern.endswith("$")
    inner = pattern.removeprefix("^").removesuffix("$")
    drawn = st.from_regex(inner if anchored else pattern, fullmatch=anchored, alphabet=_ALPHABET)
    fits = drawn.filter(lambda text: least <= len(text) and (most is None or len(text) <= most))
    edges = [text for text in _edges(pattern, most) if least <= len(text)]
    return st.one_of(st.sampled_from(edges), fits) if edges else fits


def _edges(pattern: str, most: int | None) -> Iterator[str]:
    """Texts as long as may be, where a plain one matches: limits on what is made of a text are found by them."""
    for letter in ("a", "0"):
        text = letter * (most or 0)
        if text and re.search(pattern, text):
            yield text


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every field below an object by path, sections as well as what is in them."""
    for name, below in (schema.get("properties") or {}).items():
        place = f"{path}.{name}".lstrip(".")
        yield place, below
        yield from nodes(below, place)
