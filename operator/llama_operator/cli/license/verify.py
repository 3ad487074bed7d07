"""`kubectl llama license verify`: whether recorded decisions are as they were written."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llama_operator.cli.shared import output, terminal
from llama_operator.cli.shared.exit_codes import EXIT_OK, EXIT_TAMPERED
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.evidence.chain import LONGEST_LINE
from llama_operator.evidence.pem import KeyFileError
from llama_operator.evidence.signatures import PublicKeys, SignatureSummary
from llama_operator.evidence.verify import Verified, Verifier, is_record

_HASH = re.compile(r"[0-9a-f]{64}")
_EVERY_LINES = 5_000
_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the command line asks for.

    Attributes:
        paths: Files in the order in which they were written; `-` is standard input.
        after: Hash of the last line before the first file.
        head: Hash of the last line that there must be.
        mixed: Whether lines of other logs stand between the records.
        public_keys: Files with the keys of which one must have signed; none: signatures are not checked.
    """

    paths: tuple[str, ...]
    after: str | None = None
    head: str | None = None
    mixed: bool = False
    public_keys: tuple[str, ...] = ()


def command(options: VerifyOptions, *, as_json: bool) -> int:
    """Verify; returns the exit code: 0 when nothing was changed, 6 when something was.

    Raises:
        InvalidManifestError: If a file cannot be read, or an option is no hash.
    """
    # What starts as JSON is what the Lease says: whether that was changed is a finding, and no wrong argument.
    head = (options.head or "").strip() or options.head
    for flag, value in (("--after", options.after), ("--head", head)):
        if value is not None and not value.startswith("{") and _HASH.fullmatch(value) is None:
            problem = FieldProblem(flag, f"{value!r} is no hash", "give 64 hexadecimal digits in small letters")
            raise InvalidManifestError("the command line", [problem])
    verifier = Verifier(after=options.after, keys=_public_keys(options.public_keys))
    places: list[tuple[str, int]] = []
    for path in options.paths:
        places.append((path, verifier.lines))
        _take(path, verifier, mixed=options.mixed)
    verified = verifier.done(head=head)
    if as_json:
        output.print_json(document(verified, places))
    else:
        _print(verified, places)
    return EXIT_OK if verified.intact else EXIT_TAMPERED


def document(verified: Verified, places: list[tuple[str, int]]) -> dict[str, Any]:
    """The outcome as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "intact": verified.intact,
        "lines": verified.lines,
        "records": verified.records,
        "terms": verified.terms,
        "head": verified.head,
        "firstTime": verified.first_time,
        "lastTime": verified.last_time,
        "findings": [_located(finding.line, finding.problem, places) for finding in verified.findings],
        "notes": [_located(note.line, note.text, places) for note in verified.notes],
        "signatures": {
            "checked": verified.signatures.checked,
            "signed": verified.signatures.signed,
            "unsigned": verified.signatures.unsigned,
            "keys": [
                {"key": key, "lines": lines, "given": key in verified.signatures.given}
                for key, lines in verified.signatures.keys.items()
            ],
        },
    }


def _public_keys(paths: Sequence[str]) -> PublicKeys | None:
    if not paths:
        return None
    try:
        from llama_operator.evidence import keys
    except ImportError as error:
        problem = f"needs the library cryptography, which cannot be loaded: {error}"
        cure = "it comes with `pip install 'llama-operator[cli]'`"
        raise InvalidManifestError("the command line", [FieldProblem("--public-key", problem, cure)]) from error
    checks: dict[str, Callable[[bytes, str], bool]] = {}
    for path in paths:
        try:
            checks |= keys.public_keys(Path(path))
        except KeyFileError as error:
            raise InvalidManifestError(path, [FieldProblem("--public-key", str(error))]) from error
    return checks


def _take(path: str, verifier: Verifier, *, mixed: bool) -> None:
    try:
        if path == "-":
            _take_all(sys.stdin.buffer, 0, verifier, mixed=mixed)
            return
        with Path(path).open("rb") as file:
            _take_all(file, Path(path).stat().st_size, verifier, mixed=mixed)
    except OSError as error:
        raise InvalidManifestError(path, [FieldProblem("(file)", f"cannot be read: {error}")]) from error


def _take_all(file: BinaryIO, size: int, verifier: Verifier, *, mixed: bool) -> None:
    show = _progress(size)
    done = 0
    for number, line in enumerate(_lines(file), start=1):
        done += len(line)
        if not mixed or is_record(line):
            verifier.take(line)
        if number % _EVERY_LINES == 0:
            show(done, number)
    show(0, 0)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; a line that is longer than any record comes in pieces, so that memory stays small."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line


def _progress(size: int) -> Callable[[int, int], None]:
    """Tell on a terminal how far it is; `(0, 0)` wipes it away."""
    last, stream = time.monotonic(), terminal.raw(sys.stderr)

    def show(done: int, lines: int) -> None:
        nonlocal last
        if not stream.isatty():
            return
        if lines == 0:
            print("\r\x1b[K", end="", file=stream, flush=True)
        elif time.monotonic() - last >= _EVERY_SECONDS:
            last = time.monotonic()
            share = f"{100 * done // size} %, " if size else ""
            print(f"\r\x1b[K{share}{lines:,} lines", end="", file=stream, flush=True)

    return show


def _located(line: int, text: str, places: list[tuple[str, int]]) -> dict[str, Any]:
    path, before = next(place for place in reversed(places) if place[1] < line)
    return {"file": path, "line": line - before, "text": text}


def _print(verified: Verified, places: list[tuple[str, int]]) -> None:
    from rich.text import Text

    console = output.console()
    for color, items in (
        ("red", [(finding.line, finding.problem) for finding in verified.findings]),
        ("yellow", [(note.line, note.text) for note in verified.notes]),
    ):
        for line, text in items:
            place = _located(line, text, places)
            console.print(Text.assemble((f"{place['file']}:{place['line']}: ", color), text), soft_wrap=True)
    span = f" from {verified.first_time} to {verified.last_time}" if verified.records else ""
    counted = f"{verified.records:,} of {verified.lines:,} lines hold, {verified.terms:,} term(s){span}"
    if verified.intact:
        console.print(Text.assemble(("intact", "bold green"), f": {counted}"), soft_wrap=True)
        console.print(Text(f"last hash: {verified.head}"), soft_wrap=True)
        if verified.signatures.checked:
            console.print(Text(_signed(verified.signatures)), soft_wrap=True)
    else:
        console.print(Text.assemble(("not intact", "bold red"), f": {counted}"), soft_wrap=True)


def _signed(signatures: SignatureSummary) -> str:
    lines = ", ".join(f"{lines:,} by {key}" for key, lines in signatures.keys.items())
    return f"signed: {lines}"


def run(arguments: argparse.Namespace, _connector: object) -> int:
    """Run the command as the command line asks for it; returns the exit code."""
    options = VerifyOptions(
        tuple(arguments.files),
        arguments.after,
        arguments.head,
        mixed=arguments.mixed,
        public_keys=tuple(arguments.public_key),
    )
    return command(options, as_json=arguments.output == "json")
