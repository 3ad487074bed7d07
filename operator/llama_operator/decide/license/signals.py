"""Reads the name of a model: license families, removed safety, answers that train another model. Pure.

Called by `decide.license.lineage` and by the checks. A name only adds duties: nothing is allowed because of a name.
"""

import re
import unicodedata
from collections.abc import Iterable

from llama_operator.catalog.lineage import LineageFacts

_ALIKE = str.maketrans(
    {
        **dict(
            zip(
                "\u0430\u0432\u0435\u043d\u043a\u043c\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458\u04bb\u04cf\u0501",
                "abehkmopctyxsijhld",
                strict=True,
            )
        ),
        **dict(
            zip(
                "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7",
                "abezhikmnoptyx",
                strict=True,
            )
        ),
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
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_LABELED = re.compile(r"^(license|base_model|base-model)(:[a-z]+)?[:=]", flags=re.IGNORECASE)


def reduced(name: str) -> str:
    """`name` in lower case, look-alike letters made Latin, every look-alike of the word spelled `llama`."""
    return _LLAMA_ALIKE.sub("llama", plain(name))


def plain(name: str) -> str:
    """`name` in lower case, without characters that cannot be seen, look-alike letters made Latin."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", name)).casefold().translate(_ALIKE)


def called_a_llama(name: str) -> bool:
    """Whether the name has the word in it, however it is written."""
    return "llama" in reduced(name)


def families_in(name: str, facts: LineageFacts, declared: Iterable[str] = ()) -> tuple[tuple[str, ...], bool]:
    """Ids of the license families that the name implies, and whether it is the name of a Llama at all.

    Args:
        name: A name or a tag.
        facts: What names say.
        declared: Families of its lineage: `llama3` means any of its generation that is declared.
    """
    known = frozenset(declared)
    remaining, families, any_llama = reduced(name), list[str](), False
    for signal in facts.name_signals:
        remaining, hits = signal.compiled.subn(" ", remaining)
        if hits:
            any_llama = True
            families += () if known & set(signal.or_any_of) else signal.families
    return tuple(dict.fromkeys(families)), any_llama


def license_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags that name a license or a base model; others, such as `llama` for the architecture, say nothing about it."""
    return tuple(tag for tag in tags if _LABELED.match(tag))


def word_in(names: Iterable[str], words: Iterable[str]) -> tuple[str, str] | None:
    """The first of `names` that has one of `words` as a word of its own, with the word.

    Digits count as the letters they look like, and what stands between letters does not count. A word ends where no
    letter follows, where a capital letter does, and beside the word `llama`: `heretical` is not `heretic`.
    """
    for name in names:
        shown = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
        # One letter for each character of `shown`, or none.
        letters = [_letter(character) for character in shown]
        places = [place for place, letter in enumerate(letters) if letter]
        squeezed = "".join(letters)
        for word in words:
            for match in re.finditer(f"(?={_BETWEEN_LETTERS.sub('', word)})", squeezed):
                start, end = places[match.start()], places[match.start() + len(_BETWEEN_LETTERS.sub("", word)) - 1] + 1
                if _begins_a_word(shown, start) and _ends_a_word(shown, end):
                    return name, word
    return None


def _letter(character: str) -> str:
    letter = character.casefold().translate(_ALIKE).translate(_LEET)
    return letter if len(letter) == 1 and "a" <= letter <= "z" else ""


def _begins_a_word(text: str, start: int) -> bool:
    before = text[:start]
    camel = text[start].isupper() and before[-1:].islower()
    return not before[-1:].isalpha() or camel or reduced(before).endswith("llama")


def _ends_a_word(text: str, end: int) -> bool:
    after = text[end:]
    camel = after[:1].isupper() and text[end - 1].islower()
    return not after[:1].isalpha() or camel or reduced(after).startswith("llama")


def token_in(texts: Iterable[str], words: Iterable[str]) -> str | None:
    """The first of `texts` that has one of `words` as a word of its own."""
    wanted = frozenset(words)
    return next((text for text in texts if wanted & set(_BETWEEN_LETTERS.split(text.casefold()))), None)
