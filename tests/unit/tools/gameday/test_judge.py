"""What counts as said: in time, still so, never so, once."""

import pytest

from gameday.incident import Says, View, When, condition, event, never, once, single, within
from gameday.judge import Line, Verdict, judge, said


def ready(seconds, status, reason, text=""):
    return Line(View.CONDITION, seconds, "Ready", status, reason, text)


SERVED = ready(-5, "True", "Serving")
FAILED = ready(2, "False", "EngineFailed", "CUDA out of memory")


@pytest.mark.parametrize(
    ("says", "lines", "verdict", "seconds"),
    [
        (condition("Ready", "False", "EngineFailed"), [SERVED, FAILED], Verdict.SAID, 2),
        (condition("Ready", has=("cuda OUT",)), [FAILED], Verdict.SAID, 2),
        (condition("Ready", lacks=("cuda",)), [FAILED], Verdict.MISSING, None),
        (condition("Ready", "False"), [], Verdict.MISSING, None),
        (condition("ModelLoaded", "False"), [FAILED], Verdict.MISSING, None),
        # Still so in the end, counted from since when it is.
        (condition("Ready", "True"), [SERVED], Verdict.SAID, 0),
        (condition("Ready", "True"), [SERVED, FAILED], Verdict.MISSING, None),
        (condition("Ready", "True"), [FAILED, ready(7, "True", "Serving")], Verdict.SAID, 7),
        (condition("Ready", "False"), [FAILED, ready(3, "False", "NoEndpoint")], Verdict.SAID, 2),
        # It may pass, and what was before the cause does not count.
        (once(condition("Ready", "False")), [FAILED, ready(7, "True", "Serving")], Verdict.SAID, 2),
        (once(condition("Ready", "True")), [SERVED, FAILED], Verdict.MISSING, None),
        # Not in time.
        (condition("Ready", "False"), [ready(10.5, "False", "Starting")], Verdict.LATE, 10.5),
        (within(20, condition("Ready", "False")), [ready(10.5, "False", "Starting")], Verdict.SAID, 10.5),
        # Never.
        (never(condition("Ready", "False")), [SERVED, FAILED, ready(7, "True", "Serving")], Verdict.FORBIDDEN, 2),
        (never(condition("Ready", "True")), [SERVED, FAILED], Verdict.SAID, None),
        (never(event("", "Warning")), [Line(View.EVENT, 1, "Ready", "Normal", "", "")], Verdict.SAID, None),
        (never(event("", "Warning")), [Line(View.EVENT, 1, "NotReady", "Warning", "", "")], Verdict.FORBIDDEN, 1),
    ],
)
def test_an_expectation_is_judged(says, lines, verdict, seconds):
    judged = judge(says, lines)
    assert (judged.verdict, judged.seconds) == (verdict, seconds)


def test_what_was_said_between_the_cause_and_its_knowledge_counts_and_took_no_time():
    early = ready(-3, "False", "Starting")
    assert judge(never(condition("Ready", "False")), [early], began=-4).verdict is Verdict.FORBIDDEN
    assert judge(never(condition("Ready", "False")), [early], began=-2).verdict is Verdict.SAID
    assert judge(once(condition("Ready", "False")), [early], began=-4).seconds == 0


def test_words_that_stand_twice_do_not_stand_once():
    says = single("no space", condition("Ready", has=("no space",)))
    assert judge(says, [ready(1, "False", "EngineFailed", "No space left")]).verdict is Verdict.SAID
    twice = ready(1, "False", "EngineFailed", "No space left LlamaServer: No space left")
    assert judge(says, [twice]).verdict is Verdict.MISSING


def test_what_was_said_instead_is_told():
    judged = judge(condition("Ready", "False", "NodesLost"), [SERVED, FAILED])
    assert judged.instead == "Ready False EngineFailed: CUDA out of memory"


def test_late_is_said_and_forbidden_is_not():
    late = judge(condition("Ready", "False"), [ready(50, "False", "Starting")])
    wrong = judge(never(condition("Ready", "False")), [FAILED])
    assert said([late])
    assert not said([late, wrong])


def test_an_expectation_reads_as_a_sentence():
    says = Says(View.CONDITION, "Ready", "False", "NodesLost", ("h100-8-1",), ("yet",), when=When.NEVER)
    assert str(says) == "never condition Ready False NodesLost with 'h100-8-1' without 'yet'"
