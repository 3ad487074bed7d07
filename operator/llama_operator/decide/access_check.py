"""May the weights be downloaded? Asked before a revision is made, and so before any GPU. Called by `decide.decision`.

The question is put to the Hub by a Job in the tenant's namespace (`desired.access_check`), which has the tenant's token; this
module reads what came of the Jobs and says whether to wait, to go on, to stop, or to ask again. That it was answered well
is pinned with the revision, so it is not asked again for one that has run. See docs/preflight.md.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import SecretKey
from llama_operator.catalog.models import Variant
from llama_operator.decide.observed import AccessCheckFacts, Observed, RevisionFacts
from llama_operator.decide.problem import Problem
from llama_serving.config import HubAccess

DEFAULT_REVISION = "main"
TOKEN_FIELD = "spec.weights.tokenSecret"  # noqa: S105 - the path of a field


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked, and with whose token."""

    revision: str
    """Revision of the deployment: asking for it anew, by `restartedAt` say, asks the Hub anew."""
    repository: str
    """`owner/name` on the Hub."""
    commit: str
    """Branch, tag or commit there."""
    token: SecretKey | None

    @property
    def digest(self) -> str:
        """Name of the question: equal for equal ones."""
        token = None if self.token is None else [self.token.name, self.token.key]
        text = json.dumps([self.revision, self.repository, self.commit, token])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known about access, and what to do next about it."""

    reason: Reason
    message: str
    """For people; the same from pass to pass as long as nothing changes."""
    start: tuple[Subject, int] | None = None
    """Question to put now, and how often it will have been put with that."""
    obsolete: tuple[AccessCheckFacts, ...] = ()
    """Jobs that nobody needs any more."""
    next_check: float | None = None
    """Seconds until it is asked again."""
    field: str = ""
    """API path of the field to change, where one is to blame."""

    @property
    def passed(self) -> bool:
        """Whether a revision may start."""
        return self.reason in _PASSED

    @property
    def problem(self) -> Problem | None:
        """What a person has to do; None when it passed, or may by waiting."""
        if self.passed or self.reason in _BY_WAITING:
            return None
        return Problem(ConditionType.WEIGHTS_ACCESSIBLE, self.reason, self.message, self.field)


_PASSED = frozenset({Reason.ACCESSIBLE, Reason.NOT_GATED, Reason.ACCESS_NOT_CHECKED})
_BY_WAITING = frozenset({Reason.ACCESS_CHECKING, Reason.ACCESS_CHECK_FAILED, Reason.OFFLINE})


@dataclass(frozen=True, slots=True)
class BackOff:
    """Seconds between two questions: doubled each time, up to a most."""

    first: float
    most: float

    def after(self, attempt: int) -> timedelta:
        """How long to wait after the n-th attempt."""
        return timedelta(seconds=min(self.most, self.first * 2 ** min(attempt - 1, 16)))


_SOON = BackOff(30, 900)
_LATER = BackOff(60, 900)
"""Somebody is at it: a form is filled in, a Secret made. The operator may not watch Secrets, so it asks again."""
_RARELY = BackOff(60, 3600)
"""Waiting alone rarely cures it."""
_BACK_OFF = {
    Reason.TOKEN_MISSING: _LATER,
    Reason.TOKEN_INVALID: _LATER,
    Reason.NOT_ACCEPTED: _LATER,
    Reason.PENDING_REVIEW: _LATER,
    Reason.DENIED: _RARELY,
    Reason.NOT_FOUND: _RARELY,
}

_NOT_CHECKED = Preflight(Reason.ACCESS_NOT_CHECKED, "the Hub was not asked whether the weights may be downloaded")

_LOOK_AGAIN_SECONDS = 30.0
"""Pods are not watched: so old is what status says about why one waits. The end of a Job wakes at once."""

LONGEST_WAIT_SECONDS = 3600
"""A finished Job is looked at for so long."""


def pinned(record: RevisionFacts, variant: Variant | None) -> Preflight:
    """What is known of a revision that was made already; nothing is asked again."""
    chosen = record.plan.chosen
    if record.weights_checked_at:
        return Preflight(Reason.ACCESSIBLE, _accessible(chosen.repository if chosen else ""))
    return _open_to_all(variant) or _NOT_CHECKED


def hub_revision(variant: Variant) -> str:
    """Commit of the Hub that pods download; the default branch where the catalog knows none."""
    return variant.revision or DEFAULT_REVISION


def check_access(observed: Observed, revision: str, variant: Variant) -> Preflight:
    """Say what is known about access to `variant` for a `revision` that is not made yet."""
    free = _open_to_all(variant)
    if free is not None or variant.repository is None:
        return free or _NOT_CHECKED
    if observed.access_checks is None:
        return _NOT_CHECKED
    token = observed.deployment.spec.weights.token_secret
    if token is None and variant.gated:
        return Preflight(
            Reason.TOKEN_MISSING,
            f"{variant.repository} is gated: name the Secret with a Hugging Face token that may read it",
            obsolete=_all(observed.access_checks),
            field=TOKEN_FIELD,
        )
    subject = Subject(revision, variant.repository, hub_revision(variant), token)
    return _from_checks(subject, observed.access_checks, observed.now)


def _open_to_all(variant: Variant | None) -> Preflight | None:
    if variant is None:
        return None
    if variant.repository is None:
        return Preflight(Reason.NOT_GATED, "the weights do not come from the Hub")
    return Preflight(Reason.NOT_GATED, f"{variant.repository} is open to all") if variant.gated is False else None


def _from_checks(subject: Subject, checks: tuple[AccessCheckFacts, ...], now: datetime) -> Preflight:
    ours = sorted(
        (check for check in checks if check.subject == subject.digest and not check.leaving), key=lambda c: c.attempt
    )
    done = [check for check in ours if check.finished is not None]
    if not ours:
        return Preflight(Reason.ACCESS_CHECKING, _checking(subject, ""), start=(subject, 1), obsolete=_all(checks))
    newest, last = ours[-1], done[-1] if done else None
    if last is None:
        return Preflight(
            Reason.ACCESS_CHECKING,
            _checking(subject, newest.detail),
            obsolete=_others(checks, newest),
            next_check=_LOOK_AGAIN_SECONDS,
        )
    found = _found(subject, last)
    if found.passed:
        return Preflight(found.reason, found.message, obsolete=_others(checks, last))
    # While it is asked again, what was answered stands: status moves when the answer does.
    finished = last.finished or now
    due = finished + _BACK_OFF.get(found.reason, _SOON).after(last.attempt)
    again = newest is last and now >= due
    return Preflight(
        found.reason,
        found.message,
        start=(subject, last.attempt + 1) if again else None,
        obsolete=_others(checks, last, newest),
        next_check=(due - now).total_seconds() if newest is last and not again else None,
        field=found.field,
    )


def _found(subject: Subject, check: AccessCheckFacts) -> Preflight:
    """What a finished Job says."""
    verdict, repository = check.verdict, subject.repository
    if check.succeeded or (verdict is not None and verdict.access is HubAccess.ACCESSIBLE):
        return Preflight(Reason.ACCESSIBLE, _accessible(repository))
    if verdict is None:
        how = check.detail or "its pod left no word"
        return Preflight(
            Reason.ACCESS_CHECK_FAILED, f"Job {check.name} ended without an answer, it is tried again: {how}"
        )
    reason = Reason(verdict.access.value)
    message = _ADVICE[verdict.access].format(repository=repository, at=subject.commit)
    said = f"; the Hub: {verdict.message}" if verdict.message else ""
    return Preflight(reason, message + said, field=TOKEN_FIELD if reason in _TOKEN_FAULTS else "")


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


def _all(checks: tuple[AccessCheckFacts, ...]) -> tuple[AccessCheckFacts, ...]:
    return tuple(check for check in checks if not check.leaving)


def _others(checks: tuple[AccessCheckFacts, ...], *kept: AccessCheckFacts) -> tuple[AccessCheckFacts, ...]:
    return tuple(check for check in _all(checks) if check not in kept)
