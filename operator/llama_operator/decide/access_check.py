"""May the weights be downloaded? Asked before a revision is made, so before it takes a GPU. Called by `decide.decision`.

A Job in the tenant's namespace (`desired.access_check`) asks the Hub, because the tenant's token is there. This module
reads what the Jobs answered and says whether to wait, to go on, to stop, or to ask again. A successful check is stored
with the revision and not repeated. See docs/access-check.md.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.weights import SecretKey
from llama_operator.catalog.models import Variant
from llama_operator.decide.copies.needed import adapter_source, caches, is_commit, source_is_hub
from llama_operator.decide.copies.source import Copy, CopySource, Role, find_copy, source_of
from llama_operator.decide.observed import AccessCheckFacts, Observed, RevisionFacts
from llama_operator.decide.problem import Problem
from llama_serving.contract.adapters import Repository
from llama_serving.contract.hub import ADAPTER_FILE, HubAccess

DEFAULT_REVISION = "main"
TOKEN_FIELD = "spec.weights.tokenSecret"  # noqa: S105 - the path of a field


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked, and with whose token."""

    revision: str
    """Revision of the deployment: a new one, by `restartedAt` for example, asks the Hub again."""
    repository: str
    """`owner/name` on the Hub."""
    commit: str
    """Branch, tag or commit there."""
    token: SecretKey | None
    file: str | None = None
    """File that is asked for; None for that of a checkpoint."""

    @property
    def digest(self) -> str:
        """Name of the question: equal for equal ones."""
        token = None if self.token is None else [self.token.name, self.token.key]
        # Jobs of before, which asked for checkpoints only, keep their names.
        file = [] if self.file is None else [self.file]
        text = json.dumps([self.revision, self.repository, self.commit, token, *file])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """What is known about access, and what to do next about it."""

    reason: Reason
    message: str
    """For people; the same from pass to pass while nothing changes."""
    start: tuple[Subject, int] | None = None
    """Question to ask now, and the number of this attempt, from 1."""
    obsolete: tuple[AccessCheckFacts, ...] = ()
    """Jobs to delete: no question needs them any more."""
    next_check: float | None = None
    """Seconds until the next attempt."""
    field: str = ""
    """API path of the field to change, if one is to blame."""

    @property
    def asked(self) -> bool:
        """Whether the Hub was asked for it."""
        return self.reason not in _NOT_ASKED

    @property
    def passed(self) -> bool:
        """Whether a revision may start."""
        return self.reason in _PASSED

    @property
    def problem(self) -> Problem | None:
        """What a person has to do; None if the check passed, or if waiting may cure it."""
        if self.passed or self.reason in _BY_WAITING:
            return None
        return Problem(ConditionType.WEIGHTS_ACCESSIBLE, self.reason, self.message, self.field)


_NOT_ASKED = frozenset({Reason.NOT_GATED, Reason.ALREADY_COPIED, Reason.ACCESS_NOT_CHECKED})
_PASSED = frozenset({Reason.ACCESSIBLE, *_NOT_ASKED})
_BY_WAITING = frozenset({Reason.ACCESS_CHECKING, Reason.ACCESS_CHECK_FAILED, Reason.OFFLINE})


@dataclass(frozen=True, slots=True)
class BackOff:
    """Seconds between two attempts: doubled each time, up to `most`."""

    first: float
    most: float

    def after(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, from 1."""
        return min(self.most, self.first * 2.0 ** min(attempt - 1, 16))


SOON = BackOff(30, 900)
LATER = BackOff(60, 900)
"""A person is at work: fills in a form, makes a Secret. The operator may not watch Secrets, so it asks again."""
RARELY = BackOff(60, 3600)
"""Waiting rarely cures it."""
_BACK_OFF = {
    Reason.TOKEN_MISSING: LATER,
    Reason.TOKEN_INVALID: LATER,
    Reason.NOT_ACCEPTED: LATER,
    Reason.PENDING_REVIEW: LATER,
    Reason.DENIED: RARELY,
    Reason.NOT_FOUND: RARELY,
}

_NOT_CHECKED = AccessCheck(Reason.ACCESS_NOT_CHECKED, "the Hub was not asked whether the weights may be downloaded")

_LOOK_AGAIN_SECONDS = 30.0
"""The operator does not watch pods, so this is how old the reason can be for which one waits. The end of a Job is watched."""

LONGEST_WAIT_SECONDS = 3600
"""The answer of a finished Job is needed for at most this time."""


def pinned(observed: Observed, record: RevisionFacts, variant: Variant | None) -> AccessCheck:
    """What is known of a revision that exists already; the Hub is not asked again.

    Args:
        observed: Whether the Hub is asked at all.
        record: The revision as pinned.
        variant: Weights that it serves; None if the catalog no longer has them.
    """
    chosen = record.plan.chosen
    if record.weights_checked_at:
        # Without a repository of its own it was asked for those of its adapters or its guard.
        own = "" if chosen is None else chosen.repository
        return AccessCheck(Reason.ACCESSIBLE, _accessible(own or "what comes from the Hub"))
    model = next((copy for copy in record.copies if copy.role is Role.MODEL), None)
    if (free := _open_to_all(variant)) is not None:
        return free
    return _NOT_CHECKED if model is None or observed.access_checks is None else _already_copied(model)


def hub_revision(variant: Variant) -> str:
    """Commit of the Hub that pods download; the default branch if the catalog knows none."""
    return variant.revision or DEFAULT_REVISION


def seen_commit(observed: Observed, revision: str, variant: Variant) -> str:
    """Commit of a repository that is pinned, or that the access check of a revision saw; empty if none is known."""
    if variant.repository is None or is_commit(variant.revision):
        return variant.revision or ""
    asked = Subject(revision, variant.repository, hub_revision(variant), observed.deployment.spec.weights.token_secret)
    ours = (
        check for check in observed.access_checks or () if check.subject == asked.digest and check.verdict is not None
    )
    return next((check.verdict.commit for check in ours if check.verdict is not None and check.verdict.commit), "")


def check_access(observed: Observed, revision: str, variant: Variant, there: Collection[Copy] = ()) -> AccessCheck:
    """Say what is known about access to the weights of a revision that does not exist yet.

    Args:
        observed: What this pass knows; `access_checks` are the Jobs so far.
        revision: Name of the revision.
        variant: The weights that it would serve.
        there: Copies that are verified: what is in them is not downloaded, so nobody is asked for it.
    """
    free = _open_to_all(variant)
    if free is not None and _lacks_commit(observed, variant):
        # It is open to all, and what is copied has to be named by a commit.
        free = None
    if free is not None or variant.repository is None:
        return free or _NOT_CHECKED
    token = observed.deployment.spec.weights.token_secret
    subject = Subject(revision, variant.repository, hub_revision(variant), token)
    if (copied := _copied(observed, subject, source_of(variant, variant.revision or ""), there)) is not None:
        return copied
    if observed.access_checks is not None and token is None and variant.gated:
        return AccessCheck(
            Reason.TOKEN_MISSING,
            f"{variant.repository} is gated: name the Secret with a Hugging Face token that may read it",
            obsolete=_others(observed.access_checks),
            field=TOKEN_FIELD,
        )
    return _ask(observed, subject)


def _copied(
    observed: Observed, subject: Subject, source: CopySource | None, there: Collection[Copy]
) -> AccessCheck | None:
    """Say that it needs no answer, because it is copied; None if it is not, or if there was a yes before the copy."""
    copy, checks = find_copy(there, source), observed.access_checks
    if copy is None or checks is None:
        return None
    answered = any(check.subject == subject.digest and _says_yes(check) and not check.leaving for check in checks)
    return None if answered else _already_copied(copy, _others(checks))


def _already_copied(copy: Copy, obsolete: tuple[AccessCheckFacts, ...] = ()) -> AccessCheck:
    text = f"{copy.source.words} is in claim {copy.claim}: nothing is downloaded"
    return AccessCheck(Reason.ALREADY_COPIED, text, obsolete=obsolete)


def _lacks_commit(observed: Observed, variant: Variant) -> bool:
    copied = caches(observed.deployment) and observed.access_checks is not None
    return copied and source_is_hub(variant) and not is_commit(variant.revision)


def _check_adapter(observed: Observed, revision: str, source: Repository, there: Collection[Copy]) -> AccessCheck:
    """Say the same about an adapter. Nobody knows whether its repository is gated, so it is asked in any case."""
    token = observed.deployment.spec.weights.token_secret
    subject = Subject(revision, source.repository, source.revision, token, ADAPTER_FILE)
    return _copied(observed, subject, adapter_source(source), there) or _ask(observed, subject)


def _ask(observed: Observed, subject: Subject) -> AccessCheck:
    checks = observed.access_checks
    return _NOT_CHECKED if checks is None else _from_checks(subject, checks, observed)


def check_access_to_all(
    observed: Observed,
    revision: str,
    variants: Iterable[Variant],
    adapters: Iterable[Repository] = (),
    there: Collection[Copy] = (),
) -> AccessCheck:
    """Say the same about all that one revision downloads: of the first that may not be downloaded yet, or of all.

    Args:
        observed: What this pass knows.
        revision: Name of the revision.
        variants: The weights that it would serve, at least one.
        adapters: Repositories of the adapters that it would have. One after another is asked.
        there: Copies that are verified; nothing of them is asked for.
    """
    questions = (
        *(partial(check_access, observed, revision, variant, there) for variant in variants),
        *(partial(_check_adapter, observed, revision, source, there) for source in dict.fromkeys(adapters)),
    )
    passed: list[AccessCheck] = []
    for question in questions:
        found = question()
        # A Job that an earlier answer rests on is needed until all have answered.
        needed = [one for one in found.obsolete if all(one in other.obsolete for other in passed if other.asked)]
        found = replace(found, obsolete=tuple(needed))
        passed.append(found)
        if not found.passed:
            break
    last = passed[-1]
    if not last.passed:
        return last
    # As it is told of the revision later, which knows its model only.
    told = next((one for one in passed if one.reason is Reason.ACCESSIBLE), passed[0])
    return replace(told, obsolete=last.obsolete)


def _open_to_all(variant: Variant | None) -> AccessCheck | None:
    if variant is None:
        return None
    if variant.repository is None:
        return AccessCheck(Reason.NOT_GATED, "the weights do not come from the Hub")
    return AccessCheck(Reason.NOT_GATED, f"{variant.repository} is open to all") if variant.gated is False else None


def _from_checks(subject: Subject, checks: tuple[AccessCheckFacts, ...], observed: Observed) -> AccessCheck:
    ours = sorted(
        (check for check in checks if check.subject == subject.digest and not check.leaving), key=lambda c: c.attempt
    )
    done = [check for check in ours if check.finished is not None]
    if not ours:
        return AccessCheck(Reason.ACCESS_CHECKING, _checking(subject, ""), start=(subject, 1), obsolete=_others(checks))
    newest, last = ours[-1], done[-1] if done else None
    if last is None:
        return AccessCheck(
            Reason.ACCESS_CHECKING,
            _checking(subject, newest.detail),
            obsolete=_others(checks, newest),
            next_check=_LOOK_AGAIN_SECONDS,
        )
    answer = _answer(subject, last)
    if answer.passed:
        return replace(answer, obsolete=_others(checks, last))
    # While a repeated question runs, the last answer stands: status changes when the answer does.
    wait = _BACK_OFF.get(answer.reason, SOON).after(last.attempt)
    left = observed.age(last.finished or observed.now).left(wait)
    again = newest is last and left <= 0
    return replace(
        answer,
        start=(subject, last.attempt + 1) if again else None,
        obsolete=_others(checks, last, newest),
        next_check=left if newest is last and not again else None,
    )


def _says_yes(check: AccessCheckFacts) -> bool:
    return check.succeeded or (check.verdict is not None and check.verdict.access is HubAccess.ACCESSIBLE)


def _answer(subject: Subject, check: AccessCheckFacts) -> AccessCheck:
    """What a finished Job says."""
    verdict, repository = check.verdict, subject.repository
    if _says_yes(check):
        return AccessCheck(Reason.ACCESSIBLE, _accessible(repository))
    if verdict is None:
        how = check.detail or "its pod left no word"
        return AccessCheck(
            Reason.ACCESS_CHECK_FAILED, f"Job {check.name} ended without an answer, it is tried again: {how}"
        )
    reason = Reason(verdict.access.value)
    message = _ADVICE[verdict.access].format(repository=repository, at=subject.commit)
    said = f"; the Hub: {verdict.message}" if verdict.message else ""
    return AccessCheck(reason, message + said, field=TOKEN_FIELD if reason in _TOKEN_FAULTS else "")


_TOKEN_FAULTS = frozenset({Reason.TOKEN_MISSING, Reason.TOKEN_INVALID})
_ADVICE = {
    HubAccess.TOKEN_MISSING: (
        "{repository} wants a token: name a Secret of this namespace that exists and has the key (the Hub also answers "
        "so when there is no such repository)"
    ),
    HubAccess.TOKEN_INVALID: (
        "put a valid token into the Secret, one that may read public gated repositories: "
        "https://huggingface.co/settings/tokens"
    ),
    HubAccess.NOT_ACCEPTED: (
        "log in with the account of the token and ask for access at https://huggingface.co/{repository}"
    ),
    HubAccess.PENDING_REVIEW: "the authors of {repository} have not answered the request for access yet",
    HubAccess.DENIED: (
        "the account of the token may not have {repository}: ask its authors, or use the token of another account"
    ),
    HubAccess.NOT_FOUND: "the token sees nothing to serve in {repository} at {at}",
    HubAccess.OFFLINE: "the Hub gave no usable answer about {repository}, it is asked again",
}


def _accessible(repository: str) -> str:
    return f"{repository} may be downloaded"


def _checking(subject: Subject, detail: str) -> str:
    waits = f"; its pod waits: {detail}" if detail else ""
    return f"asking the Hub for {subject.repository} at {subject.commit}{waits}"


def _others(checks: tuple[AccessCheckFacts, ...], *kept: AccessCheckFacts) -> tuple[AccessCheckFacts, ...]:
    return tuple(check for check in checks if not check.leaving and check not in kept)
