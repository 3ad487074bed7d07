"""Replicas that Serve leaves out of its list for some seconds serve all the same, and are no starts when they are back."""

import pytest

from llama_serving.autoscaling.ray_serve.present import Present
from support.serving.scaling.listed_fleet import ALL, START, Fleet
from support.serving.scaling.serve_contexts import NOW


def one_at_a_time(fleet):
    """A setting changes: Serve hands it to one replica after the other, two seconds each."""
    for number, away in enumerate(ALL):
        begin = 300 + 2 * number
        listed = [name for name in ALL if name != away]
        fleet.goes_on(begin, begin + 2, listed, target=4, changes=number == 0)
    return fleet.goes_on(308, 340, ALL, target=4)


def all_at_once(fleet):
    """A new controller lists nobody until each has answered."""
    fleet.goes_on(300, 303, (), target=4, changes=True)
    return fleet.goes_on(303, 340, ALL, target=4)


@pytest.mark.parametrize("happens", [one_at_a_time, all_at_once])
def test_a_change_of_settings_and_a_new_controller_are_no_starts(happens):
    fleet = Fleet()
    before = fleet.wishes[-1]
    memory = happens(fleet)
    assert memory.cold_start == START
    assert memory.starts == ()
    assert memory.ready == 4
    assert fleet.wishes[-1] == before


def test_a_change_of_settings_wakes_nobody_beside_the_only_replica():
    """What it computes, and what routers hold meanwhile, waits in front of nobody only if nobody serves."""
    fleet = Fleet(listed=("a",))
    before = fleet.wishes[-1]
    fleet.goes_on(300, 303, (), target=1, changes=True)
    memory = fleet.goes_on(303, 320, ("a",), target=1)
    assert set(fleet.wishes[600:]) == {before}
    assert (memory.cold_start, memory.starts) == (START, ())


def test_a_replica_that_ends_is_a_start_after_ten_seconds():
    fleet = Fleet()
    rest = ALL[:3]
    assert fleet.goes_on(300, 305, rest, target=4).starts == ()
    ((when, number),) = fleet.goes_on(305, 320, rest, target=4).starts
    assert (number, round(when - NOW)) == (1, 310)
    assert fleet.goes_on(320, 420, (*rest, "e"), target=4).starts == ()


def test_a_start_beside_a_change_of_settings_goes_on():
    fleet = Fleet()
    fleet.goes_on(300, 320, ALL, target=5)
    ((when, number),) = fleet.goes_on(320, 322, ALL[1:], target=5, changes=True).starts
    assert (number, round(when - NOW)) == (1, 300)
    assert fleet.goes_on(322, 400, ALL, target=5).starts == ((when, number),)
    memory = fleet.goes_on(400, 410, (*ALL, "e"), target=5)
    assert (memory.starts, memory.cold_start) == ((), START)


def looked(*lists):
    """`Present` after lists at (seconds, names, target)."""
    present = Present()
    for now, names, target in lists:
        present.look(names, target, NOW + now)
    return present


@pytest.mark.parametrize(
    ("lists", "missing"),
    [
        ([(0, "abc", 3)], ""),
        ([(0, "abc", 3), (1, "ac", 3)], "b"),
        ([(0, "abc", 3), (11, "ac", 3)], ""),
        # Serve stopped it, and another one starts.
        ([(0, "abc", 3), (1, "ab", 2), (2, "ab", 3)], ""),
        ([(0, "abc", 3), (1, "", 3)], "abc"),
        # Serve stops one and hands a setting to another: nobody says which one is which.
        ([(0, "abc", 3), (1, "a", 2)], "b"),
        # A clock that goes back.
        ([(9, "abc", 3), (1, "ac", 3)], ""),
    ],
)
def test_who_is_missed(lists, missing):
    assert sorted(looked(*lists).missing) == list(missing)


@pytest.mark.parametrize(
    ("lists", "before", "unlisted"),
    [
        ([(0, "", 3)], 3, 3),
        ([(0, "a", 3)], 3, 2),
        ([(0, "a", 2)], 3, 1),
        ([(0, "", 0)], 3, 0),
        ([(0, "", 3), (11, "", 3)], 3, 0),
        ([(0, "abc", 3), (2, "ab", 3)], 0, 1),
        ([(0, "abc", 3), (2, "ab", 3)], 3, 1),
    ],
)
def test_a_new_policy_trusts_its_memory_for_some_seconds(lists, before, unlisted):
    present = looked(*lists)
    assert present.unlisted(before, len(lists[-1][1])) == unlisted
