"""Identity of a license text: the same words have the same hash with any quotes, markup and line ends.

Copies of one license differ in bytes between repositories: a plain SHA-256 gives false mismatches. An edited copy must not
pass for the original. `licenses.files` hashes the files beside the weights; users hash the text that they accept with it
(docs/licenses.md). Pure; imports nothing of ours.
"""

import hashlib
import re
import unicodedata

_PLAIN = str.maketrans(
    {
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2022": "",
        "\u25cf": "",
        "\u00ad": "",
        "\ufeff": "",
    }
)
_CUT_WORD = re.compile(r"(?<=\w)-[ \t]*\r?\n[ \t]*(?=[a-z])")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")
_MARKUP = re.compile(r"[*_`#>|\\]")
_LIST_ITEM = re.compile(r"^[ \t]*[-+][ \t]+", flags=re.MULTILINE)
_SPACE = re.compile(r"\s+")


def normalized(text: str) -> str:
    """Reduce `text` to its words.

    NFKC, straight quotes and hyphens, no Markdown, words joined over line ends, single spaces, lower case.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    joined = _LINK.sub(r"\1 \2", _CUT_WORD.sub("", plain))
    return _SPACE.sub(" ", _LIST_ITEM.sub("", _MARKUP.sub("", joined))).strip().casefold()


def text_hash(text: str) -> str:
    """SHA-256 of the normalized text, 64 hexadecimal digits: what `LicenseAcceptance.spec.textHashes` holds."""
    return hashlib.sha256(normalized(text).encode()).hexdigest()
