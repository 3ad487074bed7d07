"""Says which lines are signed by whom, and whether that holds. Pure over records; called by `evidence.verify`.

A signature covers its line and, by `previous`, all lines before it. So lines from before signing began need none, once a
signed line follows them. Lines without one after that point could be from anybody who may write the log and the Lease.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from llama_operator.evidence.chain import GENESIS, signed_content

PublicKeys: TypeAlias = Mapping[str, Callable[[bytes, str], bool]]
"""By fingerprint: whether a signature in base64 fits a message."""
UNSIGNED: Final = ""
"""Stands for a key where there is none."""

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{86}==")


@dataclass(frozen=True, slots=True)
class SignatureSummary:
    """What became of the signatures.

    Attributes:
        checked: Whether public keys were given.
        signed: Lines with a signature; if checked, with one that fits by a key that was given.
        unsigned: Lines without one.
        keys: Lines by fingerprint of the key that they name, in the order of their first lines.
        given: Fingerprints of the keys that were given.
    """

    checked: bool
    signed: int
    unsigned: int
    keys: Mapping[str, int]
    given: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """Lines one after the other that the same is to be said of."""

    problem: str = ""
    first: int = 0
    count: int = 0


class SignatureCheck:
    """Takes records that hold by themselves, one after the other.

    Args:
        keys: Public keys; None: signatures cannot be checked, only whether they are there.
        find: Takes line and problem of a finding.
        note: Takes line and text of a note.
        continued: Whether lines that are not given stand before the first one.
    """

    def __init__(
        self,
        keys: PublicKeys | None,
        find: Callable[[int, str], None],
        note: Callable[[int, str], None],
        *,
        continued: bool = False,
    ) -> None:
        self._keys = keys
        self._find = find
        self._note = note
        self._signed = 0
        self._unsigned = 0
        self._used: dict[str, int] = {}
        self._latest: tuple[str, str] | None = None
        """Term and key of the line before."""
        self._continued = continued
        self._from_the_start = False
        """Whether the first line is the first of all."""
        self._waiting = 0
        """Lines from before signing began; the first line that is signed for certain speaks for them."""
        self._run = _Run()

    def take(self, line: int, record: Mapping[str, Any]) -> None:
        """Take the record of a line."""
        key, signature = record.get("signedBy", UNSIGNED), record.get("signature", UNSIGNED)
        if self._latest is None:
            first = record["sequence"] == 0 and record["previous"] == GENESIS
            self._from_the_start = first and not self._continued
        if not _well_formed(key, signature):
            self._find(line, "has a key without a signature, a signature without a key, or one that is malformed")
            key = UNSIGNED
        self._compare(line, record["term"], key)
        if key == UNSIGNED:
            self._unsigned += 1
            self._unsigned_line(line)
            return
        self._used[key] = self._used.get(key, 0) + 1
        if self._keys is None:
            self._signed += 1
        elif (fits := self._keys.get(key)) is None:
            self._extend(line, f"signed by the key {key}, which is none of those given")
        elif not fits(signed_content({name: value for name, value in record.items() if name != "hash"}), signature):
            self._end_run()
            self._find(line, f"has a signature that does not fit: the key {key} did not sign this line")
        else:
            self._signed += 1
            self._signed_line(line)

    def done(self) -> SignatureSummary:
        """End of the lines."""
        self._end_run()
        if self._waiting:
            self._find(1, f"{_count(self._waiting)} no signature, and no line that a given key signed follows")
        if self._keys is None and self._used:
            lines = sum(self._used.values())
            self._note(1, f"{lines:,} line(s) have signatures that were not checked: give --public-key")
        return SignatureSummary(
            self._keys is not None, self._signed, self._unsigned, dict(self._used), tuple(self._keys or ())
        )

    def _compare(self, line: int, term: str, key: str) -> None:
        """Compare with the line before: one term has one key, and where another begins that is shown."""
        latest, self._latest = self._latest, (term, key)
        if latest is None or latest[1] == key:
            return
        if latest[0] == term:
            self._find(
                line, f"is {_signed_by(key)}, and the line before it, of the same term, is {_signed_by(latest[1])}"
            )
        else:
            again = " again" if key in self._used else ""
            self._note(
                line, f"from here on lines are {_signed_by(key)}{again}; before they were {_signed_by(latest[1])}"
            )

    def _unsigned_line(self, line: int) -> None:
        if self._keys is None:
            return
        if self._from_the_start and not self._used:
            self._waiting += 1
            return
        hint = "" if self._used else "; if signing began later, give the files before this one as well"
        self._extend(line, f"not signed{hint}")

    def _signed_line(self, line: int) -> None:
        self._end_run()
        if self._waiting:
            self._note(
                1, f"{_count(self._waiting)} no signature; that of line {line} covers all that its chain leads back to"
            )
            self._waiting = 0

    def _extend(self, line: int, problem: str) -> None:
        if problem != self._run.problem:
            self._end_run()
            self._run = _Run(problem, line)
        self._run.count += 1

    def _end_run(self) -> None:
        run, self._run = self._run, _Run()
        if run.count == 1:
            self._find(run.first, f"is {run.problem}")
        elif run.count:
            self._find(run.first, f"this line and the {run.count - 1:,} after it are {run.problem}")


def _well_formed(key: object, signature: object) -> bool:
    if key == UNSIGNED and signature == UNSIGNED:
        return True
    if not isinstance(key, str) or not isinstance(signature, str):
        return False
    return bool(_FINGERPRINT.fullmatch(key) and _SIGNATURE.fullmatch(signature))


def _signed_by(key: str) -> str:
    return f"signed by the key {key}" if key else "not signed"


def _count(lines: int) -> str:
    return "this line has" if lines == 1 else f"this line and the {lines - 1:,} after it have"
