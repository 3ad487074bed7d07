"""Reads the name of a model: license families, removed safety, answers that train another model. Pure.

Called by `decide.license.lineage` and by the checks. A name only adds duties: nothing is allowed because of a name.
"""

import re
import unicodedata
from collections.abc import Iterable

from llama_operator.catalog import lineage
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
_LLAMA_ALIKE = re.compile(
    r"[l1i|]{2,}[a4]m[a4](?![a-z]{0,3}ric)|(?<![a-z0-9])[l1i|][ ._-]?[l1i|][ ._-]?[a4][ ._-]?m[ ._-]?[a4](?![a-z])"
)
"""The word in one piece, anywhere; or in several pieces that no other letters touch: mail-amazon has it not."""
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "|": "l"})
_BETWEEN_LETTERS = re.compile(r"[^a-z]+")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_LETTERS_AT_END = re.compile(r"[^\W\d_]+$")
_LETTERS_AT_START = re.compile(r"[^\W\d_]+")
_VERSION = re.compile(r"[vV][0-9]")
_SHORTEST_WORD = 3
"""Letters of the shortest word that is written together with another one; fewer are the end or the beginning of a word."""
_ENDINGS = frozenset({"ally", "ness", "ism", "ity", "ing"})
"""Endings that make another word."""
_LABELED = re.compile(r"\s*(license(_name|_link)?|base_model|base-model)\s*(:[a-z]+)?[:=]")


def reduced(name: str) -> str:
    """`name` in lower case, look-alike letters made Latin, every look-alike of the word spelled `llama`.

    Words that have it in them and mean something else, such as names of tools, are left out.
    """
    return lineage.load().other_word.sub(" ", _LLAMA_ALIKE.sub("llama", plain(name)))


def words(name: str) -> str:
    """`name` as people read it: separators are one hyphen, letter case and look-alikes do not count."""
    return "-".join(re.split(r"[ ._-]+", plain(name)))


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
    return tuple(tag for tag in tags if _LABELED.match(plain(tag)))


def word_in(names: Iterable[str], words: Iterable[str]) -> tuple[str, str] | None:
    """The first of `names` that has one of `words` in it, with the word.

    Digits count as the letters they look like, and what stands between letters does not count. The word stands by itself,
    or another word is written together with it: `heretical` and `there-ticket` are no `heretic`.
    """
    for name in names:
        shown = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
        letters = [_letter(character) for character in shown]
        places = [place for place, letter in enumerate(letters) if letter]
        squeezed = "".join(letters)
        for word in words:
            # Overlapping ones too.
            for match in re.finditer(f"(?={_BETWEEN_LETTERS.sub('', word)})", squeezed):
                start, last = places[match.start()], places[match.start() + len(_BETWEEN_LETTERS.sub("", word)) - 1]
                if _is_a_word(shown[:start], shown[start : last + 1], shown[last + 1 :]):
                    return name, word
    return None


def _letter(character: str) -> str:
    """The Latin letter that it is or looks like; empty if there is none."""
    letter = character.casefold().translate(_ALIKE).translate(_LEET)
    return letter if len(letter) == 1 and "a" <= letter <= "z" else ""


def _is_a_word(before: str, word: str, after: str) -> bool:
    """Whether `word`, between `before` and `after`, is one, by itself or in one piece with another word."""
    left, right = _LETTERS_AT_END.search(before), _LETTERS_AT_START.match(after)
    if left and word[0].isupper() and before[-1].islower():
        left = None
    if right and (_VERSION.match(after) or (word[-1].islower() and after[0].isupper())):
        right = None
    if not word.isalnum():
        # Written apart: what touches it belongs to other words.
        return left is None and right is None
    glued_left = left is None or len(left[0]) >= _SHORTEST_WORD
    glued_right = right is None or (len(right[0]) >= _SHORTEST_WORD and right[0].casefold() not in _ENDINGS)
    return glued_left and glued_right


def token_in(texts: Iterable[str], words: Iterable[str]) -> str | None:
    """The first of `texts` that has one of `words` as a word of its own; a capital letter begins a word."""
    wanted = frozenset(words)
    apart = ((text, _CAPITAL.sub(" ", text).casefold()) for text in texts)
    return next((text for text, plainly in apart if wanted & set(_BETWEEN_LETTERS.split(plainly))), None)
