"""Asks the Hub whether a token may download a repository at a revision, before a pod waits for a GPU.

Runs as `python -m llama_serving.preflight --repository OWNER/NAME --revision REVISION` in a Job of the tenant's own
namespace, where the token is (docs/access-check.md). It makes the request that a download begins with, by the library that
downloads, and then for the first bytes of a weight file, which come from other hosts. It writes one line, an
`AccessVerdict`, as the container's termination message. The token is never written.

Which answer means what is not documented by the Hub; the rules of `judge` follow `hf_raise_for_status` of
huggingface_hub (`utils/_http.py`) and the messages that people quote in its issues.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from llama_serving import first_bytes
from llama_serving.contract.hub import CHECKPOINT_FILE, HUB_ENDPOINT, TOKEN_VARIABLE, AccessVerdict, HubAccess

_MESSAGE_LIMIT: Final = 1024
_REQUEST_SECONDS: Final = 10.0
_STALL_SECONDS: Final = 45.0
"""How long the first bytes of a weight file may take."""
_STALLED: Final = "Stalled"
"""Code of our own: nothing came, and that took long enough."""
_PAUSES: Final = (1.0, 3.0, 9.0)
"""Seconds before each further try when the Hub gave no usable answer; who started us tries again much later."""

EXIT_CODES: Final = {
    HubAccess.ACCESSIBLE: 0,
    HubAccess.NOT_FOUND: os.EX_NOINPUT,
    HubAccess.OFFLINE: os.EX_TEMPFAIL,
}
"""Exit codes after sysexits.h; every other verdict is `EX_NOPERM`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back of one request.

    Attributes:
        status: HTTP status; None when there was no answer at all.
        code: Header `X-Error-Code`.
        message: Header `X-Error-Message`, or what the network said.
        commit: Commit that the revision is.
    """

    status: int | None
    code: str = ""
    message: str = ""
    commit: str = ""


def judge(answer: Answer, *, with_token: bool) -> HubAccess:
    """Say what an answer of the Hub means."""
    status, code, said = answer.status, answer.code, answer.message.lower()
    if status is None:
        return HubAccess.OFFLINE
    if status < 400:  # noqa: PLR2004 - the first status that is an error
        return HubAccess.ACCESSIBLE
    if status == 401 and not with_token:  # noqa: PLR2004 - unauthorized
        # Gated, private, or not there at all: without a token the Hub does not say which.
        return HubAccess.TOKEN_MISSING
    if code in {"RevisionNotFound", "EntryNotFound", "RepoNotFound"}:
        return HubAccess.NOT_FOUND
    if status == 401:  # noqa: PLR2004 - unauthorized
        return HubAccess.TOKEN_INVALID
    if code == "GatedRepo":
        return _at_the_gate(said)
    if status == 403:  # noqa: PLR2004 - forbidden
        # A fine-grained token needs a permission of its own for gated repositories.
        return HubAccess.TOKEN_INVALID if "token" in said else HubAccess.DENIED
    # Everything else, rate limits and failures of the server above all, says nothing about access.
    return HubAccess.NOT_FOUND if status in {404, 410} else HubAccess.OFFLINE


def _at_the_gate(said: str) -> HubAccess:
    if "awaiting a review" in said:
        return HubAccess.PENDING_REVIEW
    if "rejected" in said:
        return HubAccess.DENIED
    return HubAccess.NOT_ACCEPTED


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        repository: `owner/name` on the Hub.
        revision: Branch, tag or commit there.
        file: One without which the engine cannot load what is in the repository.
        endpoint: Address of the Hub.
    """

    repository: str
    revision: str
    file: str
    endpoint: str


def ask(question: Question, token: str) -> Answer:
    """Ask the Hub for the head of the file, once."""
    # Here and not above: the library reads its settings from the environment when it is imported.
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415

    url = hf_hub_url(question.repository, question.file, revision=question.revision, endpoint=question.endpoint)
    try:
        # False: without a token of our own none is looked for on the disk either.
        metadata = get_hf_file_metadata(url, token=token or False, timeout=_REQUEST_SECONDS)
    except Exception as error:  # noqa: BLE001 - the library's transport differs by version, and its errors have no base
        return _answer_of(error, question)
    return Answer(200, commit=metadata.commit_hash or "")


def ask_for_weights(question: Question, token: str) -> Answer:
    """Ask for the first bytes of a weight file, once; 200 too where the list of files has none, or cannot be had."""
    where = (question.repository, question.revision)
    try:
        file = first_bytes.weight_file(*where, question.endpoint, token)
    except Exception as error:  # noqa: BLE001 - as above
        answer = _answer_of(error, question)
        # Some mirrors have files and no list of them.
        return answer if answer.status in {401, 403} else Answer(200, message=f"the list of files: {answer.message}")
    if file is None:
        return Answer(200)
    try:
        first_bytes.read(*where, file, question.endpoint, token, seconds=_STALL_SECONDS)
    except first_bytes.StalledError as error:
        return Answer(None, _STALLED, str(error))
    except (ImportError, AttributeError, TypeError) as error:
        # Another version of the library than this was written for: the download may work all the same.
        return Answer(200, message=f"weights were not asked for: {type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - as above
        answer = _answer_of(error, question)
        return replace(answer, message=f"{file}: {answer.message}")
    return Answer(200)


def _answer_of(error: Exception, question: Question) -> Answer:
    """What an error of the Hub's library says."""
    response: Any = getattr(error, "response", None)
    if getattr(response, "status_code", None) is None:
        return Answer(None, message=f"{type(error).__name__}: {error}")
    status = int(response.status_code)
    said = response.headers.get("X-Error-Message") or f"HTTP {status}"
    host = urlsplit(str(response.url)).netloc
    if host != urlsplit(question.endpoint).netloc:
        # The gate let us pass: whatever answers there, it is no word about access.
        return Answer(None, message=f"{host}, from where the Hub sends files, answers HTTP {status}: let pods reach it")
    return Answer(status, response.headers.get("X-Error-Code") or "", said)


def check(
    question: Question,
    token: str,
    *,
    ask: Callable[[Question, str], Answer] = ask,
    ask_for_weights: Callable[[Question, str], Answer] = ask_for_weights,
    sleep: Callable[[float], object] = time.sleep,
) -> AccessVerdict:
    """Ask until there is a usable answer, a few times at most."""
    for pause in (*_PAUSES, None):
        answer = ask(question, token)
        if answer.status == 200:  # noqa: PLR2004 - the gate is open
            weights = ask_for_weights(question, token)
            answer = answer if weights.status == 200 and not weights.message else replace(weights, commit=answer.commit)  # noqa: PLR2004
        access = judge(answer, with_token=bool(token))
        if access is not HubAccess.OFFLINE or answer.code == _STALLED or pause is None:
            break
        sleep(pause)
    message = _without(token, answer.message)
    if access is HubAccess.NOT_FOUND and answer.code == "EntryNotFound":
        message = f"the repository has no {question.file}, without which the engine cannot load it"
    return AccessVerdict(
        access=access,
        repository=question.repository,
        revision=question.revision,
        commit=answer.commit[:64],
        message=" ".join(message.split())[:_MESSAGE_LIMIT],
    )


def _without(token: str, text: str) -> str:
    """Leave the token out, should a proxy or a library ever echo it."""
    return text.replace(token, "***") if token else text


def main(argv: Sequence[str] | None = None) -> int:
    """Check, write the verdict, and return the exit code."""
    parser = argparse.ArgumentParser(prog="llama_serving.access_check", description=__doc__, allow_abbrev=False)
    parser.add_argument("--repository", required=True, help="repository on the Hub, OWNER/NAME")
    parser.add_argument("--revision", default="main", help="branch, tag or commit")
    parser.add_argument("--file", default=CHECKPOINT_FILE, help="file that is asked for")
    parser.add_argument("--endpoint", default=HUB_ENDPOINT, help="address of the Hub; the operator's setting")
    parser.add_argument(
        "--termination-log", type=Path, default=Path("/dev/termination-log"), help="file for the verdict"
    )
    arguments = parser.parse_args(argv)
    # Spaces and line ends come from `kubectl create secret --from-file`.
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    question = Question(arguments.repository, arguments.revision, arguments.file, arguments.endpoint)
    verdict = check(question, token)
    line = verdict.model_dump_json(exclude_defaults=True) + "\n"
    arguments.termination_log.write_text(line, encoding="utf-8")
    sys.stdout.write(line)
    return EXIT_CODES.get(verdict.access, os.EX_NOPERM)
