"""The command line of a Job that copies or erases weights: reads the request, writes the log and the verdict.

Called by `__main__`. A verdict is written whatever happens, short of a kill.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from llama_serving.contract.hub import TOKEN_VARIABLE
from llama_serving.contract.weights import (
    CLAIM_FOLDER,
    COPY,
    ERASE,
    MOST_VERDICT_BYTES,
    REQUEST_VARIABLE,
    CopyOutcome,
    CopyRequest,
    CopyVerdict,
    exit_code,
)
from llama_serving.weights import copying, erasing, fetching
from llama_serving.weights.errors import CopyError, without_secrets
from llama_serving.weights.settings import CopySettings
from llama_serving.weights.watched import FETCH

_UMASK: Final = 0o002
"""The volume's group may write what this user writes: a later Job may run as another user of it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is asked, write the verdict, and return the exit code."""
    arguments = _parser().parse_args(argv)
    # Spaces and line ends come from `kubectl create secret --from-file`.
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    os.umask(_UMASK)
    if arguments.verb == FETCH:
        fetching.run(_request(), arguments.claim, token, arguments.settings)
        # Not by a return: threads of a library may still wait for a socket.
        sys.stdout.flush()
        os._exit(0)
    signal.signal(signal.SIGTERM, _stopped)
    started = time.monotonic()
    verdict = _verdict(arguments.verb, arguments.claim, token, arguments.settings)
    verdict = verdict.model_copy(update={"seconds": round(time.monotonic() - started, 1)})
    text = _cut(verdict)
    _say(f"{verdict.verdict}: {verdict.file + ': ' if verdict.file else ''}{verdict.message}")
    arguments.termination_log.write_text(text, encoding="utf-8")
    return exit_code(verdict.verdict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llama_serving.weights", description=__doc__, allow_abbrev=False)
    parser.add_argument("verb", choices=[COPY, ERASE, FETCH], help="what to do; the program itself calls 'fetch'")
    parser.add_argument("--claim", type=Path, default=Path(CLAIM_FOLDER), help="where the claim is mounted")
    parser.add_argument(
        "--termination-log", type=Path, default=Path("/dev/termination-log"), help="file for the verdict"
    )
    parser.add_argument(
        "--settings",
        type=CopySettings.model_validate_json,
        default=CopySettings(),
        help="times and numbers, as JSON",
    )
    return parser


def _verdict(verb: str, root: Path, token: str, settings: CopySettings) -> CopyVerdict:
    try:
        request = _request()
        if verb == ERASE:
            return erasing.erase(request, root, _say)
        return copying.copy(request, root, token, settings, _say)
    except CopyError as error:
        words = without_secrets(error.message, token)
        return CopyVerdict(verdict=error.outcome, message=words, file=error.file[:512] if error.file else None)
    except Exception as error:  # noqa: BLE001 - a pod without a verdict tells nobody anything
        words = without_secrets(f"{type(error).__name__}: {error}", token)
        return CopyVerdict(verdict=CopyOutcome.FAILED, message=words)


def _request() -> CopyRequest:
    text = os.environ.get(REQUEST_VARIABLE)
    if not text:
        raise CopyError(CopyOutcome.FAILED, f"the environment variable {REQUEST_VARIABLE} is not set")
    try:
        return CopyRequest.of_json(text)
    except ValueError as error:
        raise CopyError(
            CopyOutcome.FAILED, f"{REQUEST_VARIABLE} is no request that this image knows: {error}"
        ) from error


def _say(line: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sys.stderr.write(f"{now} {line}\n")
    sys.stderr.flush()


def _stopped(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise CopyError(
        CopyOutcome.FAILED, "the pod was told to stop; the next one goes on from the files that are verified"
    )


def _cut(verdict: CopyVerdict) -> str:
    """The verdict as JSON of one line, with a message as long as fits."""
    while True:
        text = verdict.model_dump_json() + "\n"
        if len(text.encode()) <= MOST_VERDICT_BYTES:
            return text
        verdict = verdict.model_copy(update={"message": verdict.message[: len(verdict.message) // 2]})
