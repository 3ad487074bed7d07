"""Access to gated weights as a decision: Jobs in, what to do out."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, PlanStatus
from llama_operator.api.v1alpha1.weights import SecretKey
from llama_operator.decide import access_check
from llama_operator.decide.access_check import Subject, check_access, hub_revision, pinned
from llama_operator.decide.copies.source import Copy, Role, source_of
from llama_operator.decide.observed import LONG_AGO, AccessCheckFacts, RevisionFacts
from llama_serving.contract.hub import AccessVerdict, HubAccess

REVISION = "chat-01234567"
SECRET = {"tokenSecret": {"name": "hugging-face", "key": "token"}}
REFUSALS = [access for access in HubAccess if access is not HubAccess.ACCESSIBLE]


@pytest.fixture
def gated(known):
    return known.model("llama-3.1-8b").default_variant("BF16")


@pytest.fixture
def ask(observed, known, gated, now):
    """Decides over some Jobs."""

    def call(*checks, variant=None, looked=True, seconds=0, weights=SECRET, there=()):
        found = observed(weights=weights, facts={"access_checks": checks if looked else None})
        found = replace(found, now=now + timedelta(seconds=seconds))
        return check_access(found, REVISION, variant or gated, there)

    return call


@pytest.fixture
def subject(gated):
    return Subject(REVISION, gated.repository, gated.revision, SecretKey(name="hugging-face", key="token"))


@pytest.fixture
def job(subject, now):
    def build(attempt=1, access=None, *, ended=None, **more):
        verdict = None if access is None else AccessVerdict(access=access, repository="o/r", revision="main")
        ended = access is not None if ended is None else ended
        facts = {
            "subject": subject.digest,
            "finished": now if ended else None,
            "verdict": verdict,
            "uid": f"u-{attempt}",
        }
        facts["succeeded"] = access is HubAccess.ACCESSIBLE
        return AccessCheckFacts(name=f"job-{attempt}", attempt=attempt, **(facts | more))

    return build


def test_the_catalog_has_what_these_tests_rest_on(gated):
    assert gated.gated is True


def test_the_first_question_is_put_at_once(ask, subject):
    found = ask()
    assert (found.start, found.reason, found.passed) == ((subject, 1), Reason.ACCESS_CHECKING, False)
    assert found.problem is None


def test_one_question_at_a_time(ask, job):
    found = ask(job())
    assert (found.start, found.reason, found.obsolete) == (None, Reason.ACCESS_CHECKING, ())


def test_a_yes_lets_it_pass(ask, job):
    assert ask(job(1, HubAccess.ACCESSIBLE)).passed
    assert ask(job(1, ended=True, succeeded=True)).passed, "a Job that ended well says so without its pod too"


@pytest.mark.parametrize("access", REFUSALS)
def test_every_no_has_the_reason_of_the_same_name_and_stops(ask, job, access):
    found = ask(job(1, access))
    assert found.reason == access.value
    assert not found.passed
    assert "meta-llama/Llama-3.1-8B-Instruct" in found.message or access is HubAccess.TOKEN_INVALID
    assert (found.problem is None) == (access is HubAccess.OFFLINE)


@pytest.mark.parametrize("access", [HubAccess.TOKEN_MISSING, HubAccess.TOKEN_INVALID])
def test_what_a_token_is_to_blame_for_names_the_field(ask, job, access):
    assert ask(job(1, access)).problem.text.startswith("spec.weights.tokenSecret: ")


@pytest.mark.parametrize(
    ("access", "waits"),
    [
        (None, [30, 60, 120, 240, 480, 900, 900]),
        (HubAccess.OFFLINE, [30, 60, 120, 240, 480, 900, 900]),
        (HubAccess.NOT_ACCEPTED, [60, 120, 240, 480, 900, 900]),
        (HubAccess.PENDING_REVIEW, [60, 120, 240, 480, 900, 900]),
        (HubAccess.TOKEN_MISSING, [60, 120, 240, 480, 900, 900]),
        (HubAccess.DENIED, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (HubAccess.NOT_FOUND, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
    ],
)
def test_the_back_off_of_every_answer(ask, job, access, waits):
    for attempt, wait in enumerate(waits, 1):
        done = job(attempt, access, ended=True)
        assert ask(done).next_check == wait
        assert ask(done, seconds=wait - 1).start is None
        again = ask(done, seconds=wait)
        assert again.start[1] == attempt + 1
        assert again.next_check is None, "the end of the Job wakes"


def test_no_wait_is_longer_than_jobs_are_looked_at():
    assert all(each.most <= access_check.LONGEST_WAIT_SECONDS for each in access_check._BACK_OFF.values())


def test_while_it_is_asked_again_the_last_answer_stands(ask, job):
    last = job(1, HubAccess.NOT_ACCEPTED)
    found = ask(last, job(2), seconds=60)
    assert (found.reason, found.start, found.obsolete) == (Reason.NOT_ACCEPTED, None, ())
    assert found.message == ask(last).message


def test_a_newer_answer_takes_the_place_of_the_older(ask, job):
    old, new = job(1, HubAccess.NOT_ACCEPTED), job(2, HubAccess.PENDING_REVIEW)
    found = ask(old, new)
    assert (found.reason, found.obsolete) == (Reason.PENDING_REVIEW, (old,))


def test_jobs_about_something_else_are_cleared_away(ask, job):
    other = job(7, HubAccess.ACCESSIBLE, subject="another")
    assert ask(other).start[1] == 1
    assert ask(other).obsolete == (other,)
    assert ask(other, job(1)).obsolete == (other,)


def test_a_job_that_is_being_deleted_counts_no_more(ask, job):
    leaving = job(3, HubAccess.DENIED, leaving=True)
    found = ask(leaving)
    assert found.start[1] == 1
    assert found.obsolete == ()


@pytest.mark.parametrize("change", [{"revision": "chat-x"}, {"repository": "a/b"}, {"commit": "v2"}, {"token": None}])
def test_another_question_has_another_digest(subject, change):
    assert replace(subject, **change).digest != subject.digest


def test_a_gated_repository_without_a_token_asks_nobody(ask, job):
    found = ask(job(1), weights={})
    assert (found.reason, found.start) == (Reason.TOKEN_MISSING, None)
    assert found.problem.field == "spec.weights.tokenSecret"
    assert len(found.obsolete) == 1


def test_where_nobody_knows_whether_it_is_gated_it_is_asked_without_a_token(ask, gated):
    found = ask(variant=gated.model_copy(update={"gated": None}), weights={})
    assert found.start[0].token is None


@pytest.mark.parametrize("change", [{"gated": False}, {"repository": None}])
def test_what_is_open_to_all_is_not_asked_about(ask, gated, change):
    found = ask(variant=gated.model_copy(update=change))
    assert (found.reason, found.start, found.passed) == (Reason.NOT_GATED, None, True)


def test_where_nobody_looks_nothing_is_held_up(ask):
    found = ask(looked=False)
    assert (found.reason, found.start, found.passed) == (Reason.ACCESS_NOT_CHECKED, None, True)


@pytest.fixture
def copy(gated):
    """The verified copy of the repository."""
    source = source_of(gated, gated.revision)
    return Copy(Role.MODEL, source, f"llama-weights-{source.id}", owned=True)


def test_of_what_is_copied_already_nobody_is_asked(ask, copy):
    found = ask(there=(copy,))
    assert (found.reason, found.start, found.passed, found.asked) == (Reason.ALREADY_COPIED, None, True, False)
    assert copy.claim in found.message
    assert ask(there=(copy,), weights={}).reason is Reason.ALREADY_COPIED, "without a token too"


@pytest.mark.parametrize("access", [*REFUSALS, None])
def test_a_copy_that_another_deployment_made_makes_a_refusal_pointless(ask, job, copy, access):
    found = ask(job(1, access), there=(copy,))
    assert (found.reason, len(found.obsolete)) == (Reason.ALREADY_COPIED, 1)


def test_a_yes_before_the_copy_stays_what_is_told(ask, job, copy):
    found = ask(job(1, HubAccess.ACCESSIBLE), there=(copy,))
    assert (found.reason, found.obsolete) == (Reason.ACCESSIBLE, ())


def test_a_copy_of_other_weights_answers_nothing(ask, copy):
    other = replace(copy, source=replace(copy.source, commit="1" * 40))
    assert ask(there=(other,)).reason is Reason.ACCESS_CHECKING


def test_where_nobody_looks_a_copy_changes_nothing(ask, copy):
    assert ask(looked=False, there=(copy,)).reason is Reason.ACCESS_NOT_CHECKED


@pytest.mark.parametrize(
    ("looked", "has_copy", "reason"),
    [
        (True, True, Reason.ALREADY_COPIED),
        (True, False, Reason.ACCESS_NOT_CHECKED),
        (False, True, Reason.ACCESS_NOT_CHECKED),
    ],
)
def test_what_runs_is_never_asked_about_again(observed, gated, copy, looked, has_copy, reason):
    around = observed(facts={"access_checks": () if looked else None})
    record = RevisionFacts(REVISION, 1, pinned_plan(gated), {}, {}, {}, copies=(copy,) if has_copy else ())
    assert pinned(around, record, gated).reason is reason
    assert pinned(around, record, gated.model_copy(update={"gated": False})).reason is Reason.NOT_GATED
    found = pinned(around, replace(record, weights_checked_at="2026-03-02T09:30:00Z"), gated)
    assert (found.reason, found.message) == (Reason.ACCESSIBLE, "meta-llama/Llama-3.1-8B-Instruct may be downloaded")
    assert found.passed


def test_a_model_is_asked_about_at_its_commit_where_there_is_one(gated):
    commit = "a" * 40
    variant = gated.model_copy(update={"revision": commit})
    assert hub_revision(variant) == commit
    assert hub_revision(variant.model_copy(update={"revision": None})) == "main"


def pinned_plan(variant):
    numbers = {name: 1 for name, field in ChosenPlan.model_fields.items() if field.annotation is int}
    words = {"model": "llama-3.1-8b", "precision": "BF16", "accelerator": "L4-24GB", "repository": variant.repository}
    return PlanStatus(chosen=ChosenPlan(**numbers | words))


checks = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([None, *HubAccess]), st.booleans(), st.booleans()), max_size=6
)


@given(found=checks, seconds=st.integers(0, 10_000))
def test_whatever_jobs_there_are_only_a_yes_passes_and_at_most_one_is_asked(found, seconds, ask_pure, build):
    jobs = tuple(build(*each, number) for number, each in enumerate(found))
    result = ask_pure(jobs, seconds)
    ours = [job for job in jobs if not job.leaving]
    assert not result.passed or any(job.succeeded for job in ours)
    running = [job for job in ours if job.finished is None]
    assert result.start is None or not [job for job in running if job.attempt >= result.start[1]]
    assert not set(result.obsolete) & {job for job in jobs if job.leaving}


@pytest.fixture(scope="module")
def ask_pure(observed, known):
    model = known.model("llama-3.1-8b")

    def call(jobs, seconds):
        facts = {"access_checks": jobs, "now": LONG_AGO + timedelta(seconds=seconds)}
        return check_access(observed(weights=SECRET, facts=facts), REVISION, model.default_variant("BF16"))

    return call


@pytest.fixture(scope="module")
def build(known):
    variant = known.model("llama-3.1-8b").default_variant("BF16")
    token = SecretKey(name="hugging-face", key="token")
    digest = Subject(REVISION, variant.repository, hub_revision(variant), token).digest

    def make(attempt, access, ended, leaving, number):
        verdict = None if access is None or not ended else AccessVerdict(access=access, repository="o/r", revision="m")
        yes = ended and access is HubAccess.ACCESSIBLE
        finished = LONG_AGO if ended else None
        return AccessCheckFacts(f"job-{number}", digest, attempt, finished, yes, verdict, leaving=leaving)

    return make
