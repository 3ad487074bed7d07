"""What server-side apply promises, for any objects."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llama_operator.kube import kinds
from llama_operator.kube.twin import schemas
from llama_operator.kube.twin.fields import members
from llama_operator.kube.twin.managed_fields import Conflicts, Manager, Merged, Operation, apply

OURS = Manager("llama-operator", Operation.APPLY)
KUBECTL = Manager("kubectl", Operation.APPLY)
MERGING = schemas.schema(kinds.SERVICE).merging

TEXT = st.sampled_from(["x", "y", "z"])


def some(**fields):
    return st.fixed_dictionaries({}, optional=fields)


def ports(numbers):
    port = st.tuples(st.sampled_from(numbers), some(name=TEXT, targetPort=st.integers(1, 3)))
    items = st.lists(port, min_size=1, max_size=3, unique_by=lambda drawn: drawn[0])
    return items.map(lambda drawn: [{"port": number, "protocol": "TCP"} | rest for number, rest in drawn])


def contents(*, labels, numbers, settings_prefix=""):
    """Services; the arguments say which labels, ports and settings may occur."""
    names = st.sampled_from(labels)
    return st.fixed_dictionaries(
        {
            "metadata": some(
                labels=st.dictionaries(names, TEXT, min_size=1),
                finalizers=st.lists(names.map("example.com/{}".format), min_size=1, unique=True),
            ),
            "spec": st.fixed_dictionaries(
                {},
                optional={
                    "ports": ports(numbers),
                    f"{settings_prefix}type": TEXT,
                    f"{settings_prefix}selector": st.dictionaries(names, TEXT, min_size=1),
                    f"{settings_prefix}ipFamilies": st.lists(TEXT, max_size=2),
                },
            ),
        }
    ).map(lambda drawn: {name: part for name, part in drawn.items() if part})


anything = contents(labels=["a", "b", "c"], numbers=[80, 81, 82])
of_one = contents(labels=["a", "b"], numbers=[80, 81], settings_prefix="one-")
of_other = contents(labels=["c", "d"], numbers=[90, 91], settings_prefix="other-")


def applied(state, content, manager, *, force=True):
    live, ownership = state
    done = apply(live, ownership, content, manager, merging=MERGING, force=force)
    assert isinstance(done, Merged)
    return done.content, done.ownership


def unordered(content):
    """The content by its members: the order of items in a list that merges is that of the last writer."""
    return members(content, MERGING)


EMPTY = ({}, {})


@settings(deadline=None)
@given(anything, anything, anything)
def test_apply_is_idempotent(before, others, mine):
    state = applied(applied(EMPTY, before, OURS), others, KUBECTL)
    once = applied(state, mine, OURS)
    again = apply(*once, mine, OURS, merging=MERGING, force=False)
    assert isinstance(again, Merged)
    assert (again.content, again.ownership, again.changed) == (*once, frozenset())


@settings(deadline=None)
@given(of_one, of_other)
def test_managers_with_disjoint_fields_commute(one, other):
    first = applied(applied(EMPTY, one, OURS), other, KUBECTL, force=False)
    second = applied(applied(EMPTY, other, KUBECTL), one, OURS, force=False)
    assert unordered(first[0]) == unordered(second[0])
    assert first[1] == second[1]


@settings(deadline=None)
@given(anything, anything)
def test_removing_all_my_fields_leaves_those_of_others(theirs, mine):
    alone = applied(EMPTY, theirs, KUBECTL)
    together = apply(*alone, mine, OURS, merging=MERGING, force=False)
    assume(isinstance(together, Merged))
    content, ownership = applied((together.content, together.ownership), {}, OURS)
    assert unordered(content) == unordered(alone[0])
    assert ownership == alone[1]


@settings(deadline=None)
@given(anything)
def test_removing_all_fields_of_all_leaves_nothing(mine):
    assert applied(applied(EMPTY, mine, OURS), {}, OURS) == ({}, {})


@settings(deadline=None)
@given(anything, anything)
def test_force_takes_ownership_of_what_differs(theirs, mine):
    content, ownership = applied(applied(EMPTY, theirs, KUBECTL), mine, OURS)
    sent, before = members(mine, MERGING), members(theirs, MERGING)
    assert ownership.get(OURS, frozenset()) == sent.keys()
    for path, value in sent.items():
        assert members(content, MERGING)[path] == value
        if path in before and before[path] != value:
            assert path not in ownership.get(KUBECTL, frozenset())


@settings(deadline=None)
@given(anything, anything)
def test_without_force_there_is_a_conflict_exactly_where_an_owned_value_differs(theirs, mine):
    state = applied(EMPTY, theirs, KUBECTL)
    done = apply(*state, mine, OURS, merging=MERGING, force=False)
    sent, before = members(mine, MERGING), members(theirs, MERGING)
    differing = {path for path in sent.keys() & before.keys() if sent[path] != before[path]}
    if differing:
        assert isinstance(done, Conflicts)
        assert done.fields == {KUBECTL: differing}
    else:
        assert isinstance(done, Merged)


@settings(deadline=None)
@given(anything, anything, anything)
def test_every_owned_field_exists(first, second, third):
    state = applied(applied(applied(EMPTY, first, OURS), second, KUBECTL), third, OURS)
    content, ownership = state
    present = members(content, MERGING)
    for paths in ownership.values():
        assert paths <= present.keys()
