"""Memory of a stage, from looks at processes that are data."""

from stages.usage import Family, Usage


def test_memory_of_descendants_counts_when_their_parents_have_ended():
    family = Family(10)
    family.look({10: Usage(1, 5), 11: Usage(10, 7), 12: Usage(11, 20), 99: Usage(1, 1000)})
    assert family.now == 32
    # 11 has ended, and init has taken over its child.
    family.look({10: Usage(1, 5), 12: Usage(1, 30), 99: Usage(1, 1000)})
    assert (family.now, family.peak) == (35, 35)


def test_the_first_look_finds_all_generations_in_any_order():
    family = Family(10)
    family.look({13: Usage(12, 1), 12: Usage(11, 1), 11: Usage(10, 1), 10: Usage(1, 1)})
    assert family.now == 4


def test_the_peak_stays_when_all_have_ended():
    family = Family(10)
    family.look({10: Usage(1, 5)})
    family.look({})
    assert (family.now, family.peak) == (0, 5)
