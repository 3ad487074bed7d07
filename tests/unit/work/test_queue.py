"""The queue's promises, on sequences of events that nobody would think of."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.work.queue import BackOff, Priority, Slots, WorkQueue

KEYS = [Ref(kinds.LLAMA_DEPLOYMENT, namespace, name) for namespace in ("a", "b", "c") for name in ("x", "y", "z")]
A, B = KEYS[0], KEYS[3]


PLENTY = Slots(100)


def queue(*, slots=PLENTY, **back_off):
    return WorkQueue(BackOff(**back_off), chance=lambda: 0.0, slots=slots)


def drain(work, now=0.0):
    taken = []
    while (key := work.take(now)) is not None:
        taken.append(key)
        work.succeeded(key, now)
    return taken


class Promises(RuleBasedStateMachine):
    """A model of what was asked for, beside the queue."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.queue = WorkQueue(BackOff(first=1.0, longest=8.0), chance=lambda: 0.5, slots=Slots(4, kept=2))
        self.running = set()
        self.owed = set()
        """Keys that were added and not given out since."""
        self.turns = []

    @rule(key=st.sampled_from(KEYS), priority=st.sampled_from(Priority))
    def add(self, key, priority):
        self.queue.add(key, priority)
        self.owed.add(key)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def take(self):
        key = self.queue.take(self.now)
        if key is not None:
            assert key not in self.running, "one key runs twice at once"
            self.running.add(key)
            self.owed.discard(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), again=st.sampled_from([None, 0.0, 2.0]))
    def succeed(self, data, again):
        key = data.draw(st.sampled_from(sorted(self.running, key=str)))
        self.running.discard(key)
        self.queue.succeeded(key, self.now, again_after=again)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data):
        key = data.draw(st.sampled_from(sorted(self.running, key=str)))
        self.running.discard(key)
        assert 0 <= self.queue.failed(key, self.now) <= 8
        # A key that failed is owed another pass, whoever asks.
        self.owed.add(key)

    @invariant()
    def counts_what_runs(self):
        assert self.queue.running == len(self.running) <= 4

    @invariant()
    def never_stands_still_without_an_end(self):
        self.take()
        assert self.running or not self.queue.ready or self.queue.next_due(self.now) is not None

    def teardown(self):
        for key in self.running:
            self.queue.succeeded(key, self.now)
        assert self.owed <= set(drain(self.queue, self.now + 100)), "a key was lost"


TestPromises = Promises.TestCase


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(Priority)), max_size=60))
def test_the_urgent_goes_first_and_namespaces_take_turns(asked):
    work = queue()
    highest = {}
    for key, priority in asked:
        work.add(key, priority)
        highest[key] = max(priority, highest.get(key, priority))
    taken = drain(work)
    assert sorted(map(str, taken)) == sorted(map(str, highest))
    new = [key for key in taken if highest[key] is Priority.NEW]
    assert taken[: len(new)] == new
    for priority in Priority:
        in_turns([key for key in taken if highest[key] is priority])
    rest = [highest[key] for key in taken[len(new) :]]
    for first in range(len(rest) - 3):
        if Priority.RECHECK in rest[first:]:
            assert Priority.RECHECK in rest[first : first + 4], "rechecks are starved"
        if Priority.CHANGED in rest[first:]:
            assert Priority.CHANGED in rest[first : first + 2], "a change waits for rechecks"


def in_turns(taken):
    left = Counter(key.namespace for key in taken)
    waiting = dict.fromkeys(left, 0)
    for key in taken:
        left[key.namespace] -= 1
        for namespace in waiting:
            waiting[namespace] = 0 if namespace == key.namespace or not left[namespace] else waiting[namespace] + 1
        assert all(others < len(waiting) for others in waiting.values()), "a namespace was passed over"


def test_a_namespace_with_one_deployment_need_not_wait_for_one_with_a_hundred():
    work = queue()
    crowd = [Ref(kinds.LLAMA_DEPLOYMENT, "crowded", f"d{number}") for number in range(100)]
    for key in crowd:
        work.add(key)
    work.add(B)
    assert drain(work).index(B) == 1


def test_what_a_user_changed_goes_before_what_only_may_have_changed():
    work = queue()
    for key in KEYS[:3]:
        work.add(key)
    work.add(KEYS[2], Priority.CHANGED)
    assert drain(work) == [KEYS[2], KEYS[0], KEYS[1]]


def test_what_is_new_goes_before_what_was_changed_and_is_never_set_back():
    work = queue()
    work.add(KEYS[0], Priority.CHANGED)
    work.add(KEYS[1], Priority.NEW)
    work.add(KEYS[1])
    work.add(KEYS[2], Priority.NEW)
    assert drain(work) == [KEYS[1], KEYS[2], KEYS[0]]


def take_all(work, now=0.0):
    taken = []
    while (key := work.take(now)) is not None:
        taken.append(key)
    return taken


def test_places_are_kept_for_what_is_new():
    work = queue(slots=Slots(4, kept=2))
    for key in KEYS:
        work.add(key)
    assert len(take_all(work)) == 2
    work.add(KEYS[8], Priority.NEW)
    work.add(KEYS[7], Priority.NEW)
    assert take_all(work) == [KEYS[8], KEYS[7]]


def test_while_something_new_runs_background_passes_run_one_at_a_time():
    work = queue(slots=Slots(4))
    for key in KEYS[1:]:
        work.add(key, Priority.CHANGED)
    work.add(KEYS[0], Priority.NEW)
    new, other = take_all(work)
    assert new == KEYS[0]
    assert take_all(work, 1.5) == []
    work.succeeded(other, 1.5)
    (other,) = take_all(work, 1.5)
    work.succeeded(new, 1.6)
    assert len(take_all(work, 1.6)) == 3


def test_while_something_new_waits_no_second_background_pass_starts():
    work = queue(slots=Slots(2, patience=100))
    for key in KEYS[:3]:
        work.add(key, Priority.NEW)
    for key in KEYS[3:6]:
        work.add(key, Priority.CHANGED)
    running = take_all(work)
    started = list(running)
    while running:
        assert sum(key in KEYS[3:6] for key in running) <= 1 or not set(KEYS[:3]) - set(started)
        work.succeeded(running.pop(0), 0)
        for key in take_all(work):
            running.append(key)
            started.append(key)
    assert started[:3] == KEYS[:3]
    assert set(started) == set(KEYS[:6])


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_however_many_new_ones_come_changes_and_rechecks_have_their_turns(workers):
    work = queue(slots=Slots(workers, kept=workers // 2))
    for key in KEYS[:6]:
        work.add(key, Priority.CHANGED)
    for key in KEYS[6:]:
        work.add(key)
    started = []
    for tick in range(200):
        for number in range(2 * workers):
            work.add(Ref(kinds.LLAMA_DEPLOYMENT, "crowded", f"d{tick}-{number}"), Priority.NEW)
        running = take_all(work, tick / 4)
        started += running
        for key in running:
            work.succeeded(key, tick / 4)
    assert set(KEYS) <= set(started)
    assert len(started) == 200 * workers, "a place stayed empty"


def test_one_start_of_ten_is_left_to_the_background_while_new_ones_wait():
    work = queue(slots=Slots(1))
    for number in range(100):
        work.add(Ref(kinds.LLAMA_DEPLOYMENT, "crowded", f"d{number}"), Priority.NEW)
    work.add(A, Priority.CHANGED)
    work.add(B)
    started = drain(work)
    assert [started.index(A), started.index(B)] == [9, 19]


def test_without_anything_new_the_background_takes_its_places_at_once():
    work = queue(slots=Slots(4, kept=2))
    for key in KEYS:
        work.add(key)
    first, _ = take_all(work, 0)
    work.succeeded(first, 30)
    assert len(take_all(work, 30)) == 1


def test_once_the_new_ones_are_done_the_background_takes_its_places_at_once():
    work = queue(slots=Slots(4, kept=2))
    work.add(KEYS[8], Priority.NEW)
    for key in KEYS[:3]:
        work.add(key)
    assert take_all(work, 0) == [KEYS[8], KEYS[0]]
    work.succeeded(KEYS[8], 0.1)
    assert take_all(work, 0.1) == [KEYS[1]]


def test_a_background_pass_that_hangs_keeps_the_others_waiting_for_a_moment_only():
    work = queue(slots=Slots(4, patience=2))
    work.add(KEYS[8], Priority.NEW)
    for key in KEYS[:3]:
        work.add(key)
    assert take_all(work, 0) == [KEYS[8], KEYS[0]]
    assert work.next_due(0) == 2
    work.succeeded(KEYS[8], 1.5)
    work.add(KEYS[7], Priority.NEW)
    assert take_all(work, 1.5) == [KEYS[7]]
    assert work.next_due(1.5) == 2
    assert take_all(work, 1.9) == []
    assert take_all(work, 2) == [KEYS[1]]


def test_a_new_one_that_hangs_holds_the_background_back_for_a_moment_only():
    work = queue(slots=Slots(4, patience=2))
    work.add(KEYS[8], Priority.NEW)
    for key in KEYS[:3]:
        work.add(key)
    assert take_all(work, 0) == [KEYS[8], KEYS[0]]
    work.succeeded(KEYS[0], 1)
    assert take_all(work, 1) == [KEYS[1]]
    assert take_all(work, 1.9) == []
    assert work.next_due(1.9) == 2
    assert take_all(work, 2) == [KEYS[2]]


def test_one_place_is_left_to_the_background_however_many_are_kept():
    work = queue(slots=Slots(2, kept=2))
    for key in KEYS[:2]:
        work.add(key)
    assert take_all(work) == [KEYS[0]]


def test_passes_that_hang_never_take_the_places_kept_for_what_is_new():
    work = queue(slots=Slots(4, kept=2, patience=2))
    work.add(KEYS[8], Priority.NEW)
    for key in KEYS[:4]:
        work.add(key)
    assert take_all(work, 0) == [KEYS[8], KEYS[0]]
    assert [len(take_all(work, now)) for now in (2, 4, 6)] == [1, 0, 0]
    work.add(KEYS[7], Priority.NEW)
    assert work.take(6) == KEYS[7]


def test_background_passes_that_hang_keep_the_places_of_others_only_until_they_end():
    work = queue(slots=Slots(2, kept=1))
    for key in KEYS[:2]:
        work.add(key)
    assert take_all(work, 0) == [KEYS[0]]
    work.failed(KEYS[0], 600)
    assert work.take(600) == KEYS[1]


def test_what_became_due_since_the_last_look_is_not_overlooked():
    work = queue()
    work.add(A)
    work.take(0)
    work.succeeded(A, 0, again_after=10)
    assert work.take(9.999) is None
    assert work.next_due(9.999) == 10


def test_what_is_new_waits_for_no_background_pass():
    work = queue(slots=Slots(2, kept=1))
    work.add(KEYS[0])
    assert work.take(0) == KEYS[0]
    for key in KEYS[6:8]:
        work.add(key, Priority.NEW)
        assert work.take(10) == key
        work.succeeded(key, 10)


def test_one_worker_does_what_is_new_first():
    work = queue(slots=Slots(1))
    work.add(KEYS[0])
    assert drain(work) == [KEYS[0]]
    for key, priority in ((KEYS[1], Priority.CHANGED), (KEYS[2], Priority.NEW), (KEYS[3], Priority.NEW)):
        work.add(key, priority)
    assert drain(work) == [KEYS[2], KEYS[3], KEYS[1]]


def test_what_was_new_and_failed_is_still_as_urgent():
    work = queue(first=5)
    work.add(KEYS[0], Priority.NEW)
    work.take(0)
    work.failed(KEYS[0], 0)
    work.add(KEYS[0])
    work.add(KEYS[1], Priority.CHANGED)
    assert work.take(5) == KEYS[0]


def test_what_is_new_and_fails_for_good_does_not_hold_the_others_back():
    work, now = queue(slots=Slots(4), first=5), 0.0
    work.add(KEYS[0], Priority.NEW)
    for _ in range(4):
        assert work.take(now) == KEYS[0]
        now += work.failed(KEYS[0], now)
    for key in KEYS[1:4]:
        work.add(key)
    assert len(take_all(work, now)) == 4


def test_what_is_new_and_waits_for_its_back_off_does_not_hold_the_others_back():
    work = queue(slots=Slots(4), first=5)
    work.add(KEYS[0], Priority.NEW)
    work.take(0)
    work.failed(KEYS[0], 0)
    for key in KEYS[1:5]:
        work.add(key)
    assert len(take_all(work, 1)) == 4


def test_a_key_that_is_added_often_is_given_out_once():
    work = queue()
    for _ in range(5):
        work.add(A)
    assert drain(work) == [A]


def test_a_key_that_is_added_while_it_runs_comes_once_more_and_not_before():
    work = queue()
    work.add(A)
    assert work.take(0) == A
    work.add(A)
    work.add(A)
    assert work.take(0) is None
    work.succeeded(A, 0)
    assert drain(work) == [A]


def test_a_key_comes_again_after_the_seconds_that_its_pass_asked_for():
    work = queue()
    work.add(A)
    work.take(0)
    work.succeeded(A, 10, again_after=5)
    assert work.next_due(10) == 15
    assert work.take(14.9) is None
    assert work.take(15) == A


def test_an_event_brings_a_later_look_forward_and_replaces_it():
    work = queue()
    work.add(A)
    work.take(0)
    work.succeeded(A, 0, again_after=60)
    work.add(A)
    assert drain(work, 1) == [A]
    assert work.next_due(1) is None


def test_failures_in_a_row_wait_longer_and_longer_up_to_a_limit():
    work = queue(first=1, factor=2, longest=10)
    waits = []
    now = 0.0
    work.add(A)
    for _ in range(6):
        assert work.take(now) == A
        waits.append(work.failed(A, now))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_success_ends_the_row_of_failures():
    work = queue(first=1)
    work.add(A)
    work.take(0)
    work.failed(A, 0)
    work.take(1)
    work.succeeded(A, 1)
    assert work.failing == 0
    work.add(A)
    work.take(2)
    assert work.failed(A, 2) == 1


def test_events_of_a_failing_key_wait_for_its_back_off_but_a_change_by_the_user_does_not():
    work = queue(first=5)
    work.add(A)
    work.take(0)
    work.failed(A, 0)
    work.add(A)
    assert work.take(1) is None
    work.add(A, Priority.CHANGED)
    assert work.take(1) == A


def test_a_change_by_the_user_during_a_pass_that_fails_is_looked_at_at_once():
    work = queue(first=5)
    work.add(A)
    work.take(0)
    work.add(A, Priority.CHANGED)
    assert work.failed(A, 0) == 0
    assert work.take(0) == A


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_stay_within_their_limits(failures, chance):
    assert 0 < BackOff(first=0.5, longest=60, jitter=0.2).seconds(failures, chance) <= 60


def test_keys_that_failed_together_do_not_come_back_together():
    back_off = BackOff()
    assert back_off.seconds(3, 0.1) != back_off.seconds(3, 0.9)
