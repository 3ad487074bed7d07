"""Reads the name of a model: license families, removed safety, answers that train another model. Pure.

Called by `decide.license.lineage` and by the checks. A name only adds duties: nothing is allowed because of a name.
"""

import re
import unicodedata
from collections.abc import Iterable

from llama_operator.catalog.lineage import LineageFacts

_ALIKE = str.maketrans(
    {
        "\u0430": "a",
        "\u03b1": "a",
        "\u0435": "e",
        "\u043e": "o",
        "\u0441": "c",
        "\u043c": "m",
        "\u04cf": "l",
        "\u0456": "i",
        "\u0131": "i",
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "@": "a",
    }
)
_LLAMA_ALIKE = re.compile(r"[l1i|]{2,}[ ._-]?[a4]m[a4](?![a-z]{0,3}ric)")
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "|": "l"})
_BETWEEN_LETTERS = re.compile(r"[^a-z]+")
_LABELED = re.compile(r"^(license|base_model|base-model)(:[a-z]+)?[:=]", flags=re.IGNORECASE)


def reduced(name: str) -> str:
    """`name` in lower case, look-alike letters made Latin, every look-alike of the word spelled `llama`."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(_ALIKE)
    return _LLAMA_ALIKE.sub("llama", plain)


def called_a_llama(name: str) -> bool:
    """Whether the name has the word in it, however it is written."""
    return "llama" in reduced(name)


def families_in(name: str, facts: LineageFacts) -> tuple[tuple[str, ...], bool]:
    """Ids of the license families that the name implies, and whether it is the name of a Llama at all."""
    remaining, families, any_llama = reduced(name), list[str](), False
    for signal in facts.name_signals:
        remaining, hits = signal.compiled.subn(" ", remaining)
        if hits:
            any_llama = True
            families += signal.families
    return tuple(dict.fromkeys(families)), any_llama


def license_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags that name a license or a base model; others, such as `llama` for the architecture, say nothing about it."""
    return tuple(tag for tag in tags if _LABELED.match(tag))


def word_in(names: Iterable[str], words: Iterable[str]) -> tuple[str, str] | None:
    """The first of `names` that has one of `words` in it, with the word; digits count as the letters they look like."""
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold().translate(_ALIKE)
        letters = _BETWEEN_LETTERS.sub("", plain.translate(_LEET))
        for word in words:
            if _BETWEEN_LETTERS.sub("", word) in letters:
                return name, word
    return None


def token_in(texts: Iterable[str], words: Iterable[str]) -> str | None:
    """The first of `texts` that has one of `words` as a word of its own."""
    wanted = frozenset(words)
    return next((text for text in texts if wanted & set(_BETWEEN_LETTERS.split(text.casefold()))), None)
