"""Finds what was changed, removed, inserted or reordered in recorded decisions. Pure; called by `cli.license.verify`.

Its own hash binds every line, and `previous` binds it to all lines before it. A removal of lines at the very end shows only
if the last hash is known from elsewhere: from the next term, from the Lease, or from a note.
What signatures add is in `evidence.signatures`.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from llama_operator.evidence import head as heads
from llama_operator.evidence.chain import FORMAT, GENESIS, LONGEST_LINE, canonical, digest
from llama_operator.evidence.signatures import PublicKeys, SignatureCheck, SignatureSummary

TERM_STARTED: Final = "TermStarted"
"""Event of the first line of every term."""
_REMEMBERED: Final = 100_000
"""Number of hashes to which a new term may link: far more than a process writes between its last handover and its end."""
MOST_IN_FLIGHT: Final = 256
"""Upper limit on the lines that a process may have written and not handed over yet: one for each of its workers."""
_MARKS: Final = (FORMAT.encode(), b'"hash":"', b'"previous":"', b'"sequence":', b'"term":"')
"""What every record has, and no other line of the operator."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        line: Number of the line, from 1; the number after the last one if something is missing at the end.
        problem: What is wrong, for people.
    """

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something harmless that a reader should know."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Result of a verification.

    Attributes:
        lines: Lines read.
        records: Lines that are correct by themselves.
        terms: Terms found.
        head: Hash of the last correct line; `GENESIS` if there is none.
        first_time, last_time: When the first and the last of them were written; empty if there is none.
        findings: What is wrong, in the order of the lines.
        notes: What else to know.
        signatures: Who signed.
    """

    lines: int
    records: int
    terms: int
    head: str
    first_time: str
    last_time: str
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    signatures: SignatureSummary

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong, and there is at least one correct line."""
        return not self.findings and self.records > 0


class Verifier:
    """Verifies lines one after the other; its memory does not grow with their number.

    Args:
        after: Hash of the last line of the file before; None if the lines begin with a term.
        most_findings: How many findings to keep: the first ones, which say most.
        keys: Public keys, of which one must have signed each line since signing began; None: signatures are not checked.
    """

    def __init__(self, *, after: str | None = None, most_findings: int = 100, keys: PublicKeys | None = None) -> None:
        self._most = most_findings
        self._previous = after
        self._term: str | None = None
        self._next = 0
        self._lines = 0
        self._records = 0
        self._terms = 0
        self._times = ("", "")
        self._findings: list[Finding] = []
        self._notes: list[Note] = []
        self._hashes: OrderedDict[str, int] = OrderedDict()
        """The latest hashes with their lines."""
        self._starts: list[int] = []
        """Lines with which terms start."""
        self._unread = 0
        """Lines since the last correct one: the next line cannot be compared with them."""
        self._keys = keys
        self._signatures = SignatureCheck(
            keys, self._find_at, lambda line, text: self._notes.append(Note(line, text)), continued=after is not None
        )

    @property
    def lines(self) -> int:
        """Lines taken."""
        return self._lines

    @property
    def full(self) -> bool:
        """Whether it keeps no more findings."""
        return len(self._findings) >= self._most

    def take(self, line: bytes) -> None:
        """Take the next line, with its end."""
        self._lines += 1
        entry, problem = _read(line)
        if entry is None:
            self._find(problem)
            self._unread += 1
            return
        self._place(entry)
        self._signatures.take(self._lines, entry)
        self._unread = 0
        self._records += 1
        time = str(entry.get("time", ""))
        self._times = (self._times[0] or time, time)
        self._remember(entry)

    def done(self, *, head: str | None = None) -> Verified:
        """Return the result after the last line.

        Args:
            head: The last line that there must be, known from elsewhere: its hash, or what the Lease has of it.
        """
        last = self._previous if self._records else None
        signatures = self._signatures.done()
        anchored = None if head is None else self._anchored(head)
        if self._lines == 0:
            self._findings.append(Finding(1, "there are no lines: everything was removed, or nothing was recorded"))
        elif anchored is not None and anchored != last:
            self._check_head(anchored)
        return Verified(
            lines=self._lines,
            records=self._records,
            terms=self._terms,
            head=last or GENESIS,
            first_time=self._times[0],
            last_time=self._times[1],
            findings=tuple(sorted(self._findings, key=lambda item: item.line)),
            notes=tuple(sorted(self._notes, key=lambda item: item.line)),
            signatures=signatures,
        )

    def _anchored(self, text: str) -> str | None:
        """The hash that `text` names as the last one; a finding if a key should have signed that and did not."""
        anchored = heads.read(text)
        problem = ""
        if anchored is None:
            problem = "is neither a hash nor what the operator leaves in its Lease: it was changed"
        elif anchored.signed_by and self._keys is not None:
            fits = self._keys.get(anchored.signed_by)
            if fits is None:
                problem = f"is signed by the key {anchored.signed_by}, which is none of those given"
            elif not fits(anchored.message, anchored.signature):
                problem = f"has a signature that does not fit: the key {anchored.signed_by} did not sign it"
        if problem:
            self._find_at(self._lines + 1, f"the given head {problem}")
        return anchored.hash if anchored else None

    def _check_head(self, head: str) -> None:
        if head not in self._hashes:
            problem = f"the line with the hash {head} is missing: the end was cut off, or the hash is of another log"
            self._findings.append(Finding(self._lines + 1, problem))
            return
        line = self._hashes[head]
        if self._lines - line > MOST_IN_FLIGHT:
            problem = f"{self._lines - line} lines follow the line {line} that the given hash names as the last"
            self._findings.append(Finding(line + 1, problem))
        else:
            self._notes.append(
                Note(line + 1, f"{self._lines - line} lines were written after the given hash was known")
            )

    def _place(self, entry: dict[str, Any]) -> None:
        """Compare with the lines before."""
        if (copied := self._hashes.get(entry["hash"])) is not None:
            self._find(f"is a copy of line {copied}")
        elif entry["sequence"] == 0:
            self._start_term(entry)
        elif entry["term"] != self._term:
            self._begin_in_the_middle(entry)
        else:
            self._continue(entry)
        self._term, self._next, self._previous = entry["term"], entry["sequence"] + 1, entry["hash"]

    def _continue(self, entry: dict[str, Any]) -> None:
        sequence, latest = entry["sequence"], self._next + self._unread
        if sequence > latest:
            self._find(
                f"has number {sequence} where {latest} is due: {sequence - latest} line(s) before it were removed"
            )
        elif sequence < self._next:
            self._find(f"has number {sequence} where {self._next} is due: it was repeated or moved")
        elif sequence == self._next and entry["previous"] != self._previous:
            self._find("does not follow the line before it: one of the two was replaced")

    def _begin_in_the_middle(self, entry: dict[str, Any]) -> None:
        self._terms += 1
        if self._unread:
            return
        if self._term is None and self._previous is not None:
            if entry["previous"] != self._previous:
                self._find("does not follow the line whose hash was given: lines between them are missing")
            return
        hint = "" if self._term else "; give the files before this one first, or their last hash with --after"
        self._find(f"is number {entry['sequence']} of term {entry['term']}: the lines before it are missing{hint}")

    def _start_term(self, entry: dict[str, Any]) -> None:
        self._terms += 1
        previous = entry["previous"]
        if entry.get("event") != TERM_STARTED:
            self._find("is the first of its term, and does not say so")
        if self._previous is None and not self._unread:
            if previous != GENESIS:
                text = f"continues a log whose last hash is {previous}; it is not among these lines"
                self._notes.append(Note(self._lines, text))
        elif previous in self._hashes:
            self._look_behind(self._hashes[previous])
        elif previous != self._previous and not self._unread:
            self._find(
                "starts a chain of its own: it is of another installation, or what was before it was replaced"
                if previous == GENESIS
                else f"follows a line with the hash {previous}, which is missing: lines before it were removed"
            )
        self._starts.append(self._lines)

    def _look_behind(self, linked: int) -> None:
        """Look at lines that the new term does not know: a killed process cannot hand over its last ones."""
        extra = self._lines - 1 - linked - self._unread
        if extra <= 0:
            return
        starts = [line for line in self._starts if line > linked]
        # A process hands over its first line before it decides anything: only that line can be without others.
        longer = any(end - start > 1 for start, end in pairwise([*starts, self._lines]))
        if extra > MOST_IN_FLIGHT or longer:
            self._find(f"follows line {linked}: the {extra} line(s) between them are in no chain, they were inserted")
        else:
            text = f"{extra} line(s) were recorded when their process was killed: the operator did not act on them"
            self._notes.append(Note(linked + 1, text))

    def _remember(self, entry: dict[str, Any]) -> None:
        self._hashes[entry["hash"]] = self._lines
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)

    def _find(self, problem: str) -> None:
        self._find_at(self._lines, problem)

    def _find_at(self, line: int, problem: str) -> None:
        if not self.full:
            self._findings.append(Finding(line, problem))


def verify(
    lines: Iterable[bytes], *, after: str | None = None, head: str | None = None, keys: PublicKeys | None = None
) -> Verified:
    """Verify `lines`, each with its end; see `Verifier`."""
    verifier = Verifier(after=after, keys=keys)
    for line in lines:
        verifier.take(line)
    return verifier.done(head=head)


def split(content: bytes) -> Iterator[bytes]:
    """Yield the lines of `content` with their ends; the last one may have none."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        stop = len(content) if end < 0 else end + 1
        yield content[start:stop]
        start = stop


def is_record(line: bytes) -> bool:
    """Whether a line of a mixed log is a line of evidence, changed or not: two of its five marks are enough."""
    return sum(mark in line for mark in _MARKS) > 1


def _read(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """The record of a line, and what is wrong with the line by itself; no record if its place cannot be checked."""
    if len(line) > LONGEST_LINE:
        return None, f"is longer than {LONGEST_LINE:,} bytes"
    if not line.endswith(b"\n"):
        return None, "has no end: it was cut off"
    try:
        entry = json.loads(line[:-1].decode("ascii"))
        written = canonical(entry) + b"\n" if isinstance(entry, dict) else b""
    except (ValueError, RecursionError) as error:
        return None, f"is not a record: {str(error)[:80] or 'nested too deeply'}"
    if not isinstance(entry, dict) or entry.get("evidence") != FORMAT:
        return None, f"is not a record of the format {FORMAT}"
    if problem := _malformed(entry):
        return None, problem
    if digest(entry) != entry["hash"]:
        return None, "was changed: its hash does not fit its content"
    if written != line:
        return None, "was changed: it is not written as the operator writes records (spaces, order or escapes)"
    return entry, ""


def _malformed(entry: dict[str, Any]) -> str:
    sequence = entry.get("sequence")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 0:
        return "has no number in its term"
    if missing := [name for name in ("term", "previous", "hash") if not isinstance(entry.get(name), str)]:
        return f"lacks {', '.join(missing)}"
    return ""
