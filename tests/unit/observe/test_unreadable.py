"""What cannot be read is left out, counted each time, told once, and never raised."""

import pytest

from llama_operator.kube.port import ForbiddenError
from llama_operator.observe.unreadable import LeftOut, Unreadable, UnreadableError


def read(obj):
    if obj["spec"] is None:
        raise UnreadableError("spec is empty")
    return obj["spec"]


def obj(name, spec=None, **metadata):
    return {"kind": "Job", "metadata": {"name": name, "namespace": "team-a", **metadata}, "spec": spec}


def test_the_others_are_read():
    unreadable = Unreadable()
    assert unreadable.all([obj("a", 1), obj("b"), obj("c", 3)], read) == (1, 3)
    assert unreadable.found == (LeftOut("Job", "team-a/b", "spec is empty"),)


def test_each_look_is_counted_and_the_first_is_news():
    counted, news = [], []
    unreadable = Unreadable(counted.append, news.append)
    for _ in range(3):
        unreadable.all([obj("b")], read)
    assert counted == ["Job"] * 3
    assert [left.name for left in news] == ["team-a/b"]


@pytest.mark.parametrize(
    "strange", [None, 3, "x", [], {}, {"metadata": 3}, {"kind": 3, "metadata": {"name": 4}}], ids=repr
)
def test_whatever_it_is_it_has_a_name(strange):
    unreadable = Unreadable()
    assert unreadable.one(strange, lambda found: found["spec"]["x"]) is None
    assert len(unreadable.found) == 1


def test_what_kubernetes_refuses_is_no_object_that_cannot_be_read():
    def refuse(_):
        raise ForbiddenError("no")

    with pytest.raises(ForbiddenError):
        Unreadable().one(obj("a"), refuse)


def test_a_flood_is_remembered_in_part():
    unreadable = Unreadable()
    unreadable.all([obj(f"n{number}") for number in range(2000)], read)
    assert len(unreadable.found) == 1024
    assert unreadable.found[-1].name == "team-a/n1999"
