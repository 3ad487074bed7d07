"""The cache of watched objects: the newest state wins, the dead stay dead, and labels are found without a scan."""

import itertools

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Listing, Ref

DEPLOYMENT = "llama-operator.io/deployment"


def service(name="web", *, version=1, uid="u1", namespace="team-a", **labels):
    metadata = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata | ({"labels": labels} if labels else {})}


def of(deployment, **kwargs):
    return service(**{DEPLOYMENT: deployment}, **kwargs)


def names(found):
    return [obj["metadata"]["name"] for obj in found]


WEB = Ref(kinds.SERVICE, "team-a", "web")


@pytest.fixture
def cache():
    return ObjectCache(index=DEPLOYMENT)


def version(cache, ref=WEB):
    found = cache.find(ref)
    return found and found["metadata"]["resourceVersion"]


@pytest.mark.parametrize("order", list(itertools.permutations([9, 10, 100])), ids=str)
def test_the_newest_version_wins_in_whatever_order_states_come(cache, order):
    for each in order:
        cache.put(service(version=each))
    assert version(cache) == "100"


def test_only_news_is_news(cache):
    assert cache.put(service(version=2))
    assert not cache.put(service(version=2))
    assert not cache.put(service(version=1))
    assert cache.put(service(version=3))


def test_what_was_deleted_does_not_come_back_by_a_late_event(cache):
    cache.put(service(version=2))
    assert cache.remove(service(version=5))
    for late in (2, 4, 5):
        assert not cache.put(service(version=late))
    assert cache.find(WEB) is None


def test_what_the_server_does_not_find_stays_away_whatever_comes_late(cache):
    cache.put(service(version=2))
    cache.gone(service(version=2))
    assert not cache.put(service(version=99))


def test_an_object_that_only_left_the_selection_of_the_watch_comes_back(cache):
    cache.put(service(version=2))
    cache.remove(service(version=3))
    assert cache.put(service(version=4)), "the same object, with its label again"
    assert version(cache) == "4"
    cache.replace(kinds.SERVICE, Listing((), "6"))
    cache.replace(kinds.SERVICE, Listing((service(version=7),), "8"))
    assert version(cache) == "7"


def test_another_object_of_the_same_name_may_come(cache):
    cache.put(service(version=2))
    cache.remove(service(version=3))
    assert cache.put(service(version=4, uid="u2"))
    assert cache.find(WEB)["metadata"]["uid"] == "u2"


def test_the_late_end_of_an_object_leaves_its_successor(cache):
    cache.put(service(version=4, uid="u2"))
    assert not cache.remove(service(version=3, uid="u1"))
    assert cache.find(WEB)["metadata"]["uid"] == "u2"


def test_a_successor_buries_its_predecessor(cache):
    cache.put(service(version=2, uid="u1"))
    cache.put(service(version=5, uid="u2"))
    cache.remove(service(version=5, uid="u2"))
    assert not cache.put(service(version=6, uid="u1"))


def test_a_listing_removes_what_it_does_not_have(cache):
    cache.put(service("gone", version=2, uid="u1"))
    cache.put(service("kept", version=3, uid="u2"))
    cache.replace(kinds.SERVICE, Listing((service("kept", version=3, uid="u2"),), "5"))
    assert names(cache.list(kinds.SERVICE)) == ["kept"]
    assert not cache.put(service("gone", version=5, uid="u1"))


def test_a_listing_leaves_what_is_newer_than_it(cache):
    cache.put(service("new", version=7))
    cache.put(service("changed", version=8, uid="u2"))
    cache.replace(kinds.SERVICE, Listing((service("changed", version=3, uid="u2"),), "5"))
    assert names(cache.list(kinds.SERVICE)) == ["changed", "new"]
    assert version(cache, Ref(kinds.SERVICE, "team-a", "changed")) == "8"


def restored(cache, listing, *, asked_at):
    before = cache.era
    assert cache.replace(kinds.SERVICE, listing, asked_at=asked_at)
    assert cache.era == before + 1


def test_after_a_restore_the_cache_holds_what_the_server_has(cache):
    """etcd was put back: resourceVersions begin again below those that are known."""
    cache.replace(kinds.SERVICE, Listing((service("kept", version=90, uid="u1"),), "95"))
    cache.put(service("phantom", version=98, uid="u2"))
    cache.put(service("ended", version=96, uid="u3"))
    cache.remove(service("ended", version=97, uid="u3"))
    truth = (service("kept", version=40, uid="u1"), service("ended", version=41, uid="u3"))
    restored(cache, Listing(truth, "60"), asked_at=cache.version(kinds.SERVICE))
    assert names(cache.list(kinds.SERVICE)) == ["ended", "kept"]
    assert version(cache, Ref(kinds.SERVICE, "team-a", "kept")) == "40"
    assert cache.version(kinds.SERVICE) == "60"
    assert cache.put(service("kept", version=61, uid="u1")), "what happens from now on is news"


def test_a_restore_is_noticed_also_after_the_versions_have_caught_up(cache):
    cache.replace(kinds.SERVICE, Listing((service("kept", version=90, uid="u1"),), "95"))
    restored(cache, Listing((service("kept", version=40, uid="u1"),), "120"), asked_at="95")
    assert version(cache, Ref(kinds.SERVICE, "team-a", "kept")) == "40"


def test_a_write_while_the_server_lists_is_no_restore(cache):
    cache.put(service("kept", version=10))
    asked_at = cache.version(kinds.SERVICE)
    cache.put(service("kept", version=14))
    assert not cache.replace(kinds.SERVICE, Listing((service("kept", version=10),), "12"), asked_at=asked_at)
    assert version(cache, Ref(kinds.SERVICE, "team-a", "kept")) == "14"


def test_only_a_listing_makes_a_kind_complete(cache):
    cache.put(service())
    assert not cache.complete(kinds.SERVICE)
    cache.replace(kinds.SERVICE, Listing((), "1"))
    assert cache.complete(kinds.SERVICE)
    assert not cache.complete(kinds.NODE)


def test_the_version_of_a_kind_is_the_newest_that_was_seen(cache):
    assert cache.version(kinds.SERVICE) == "0"
    cache.replace(kinds.SERVICE, Listing((service(version=3),), "9"))
    assert cache.version(kinds.SERVICE) == "9"
    cache.put(service(version=10))
    assert cache.version(kinds.SERVICE) == "10"


def test_objects_are_found_by_namespace_and_labels(cache):
    cache.put(of("chat", name="a", uid="1", tier="1"))
    cache.put(of("chat", name="b", uid="2", namespace="team-b"))
    cache.put(of("code", name="c", uid="3"))
    cache.put(service("d", uid="4", tier="1"))
    assert names(cache.list(kinds.SERVICE, "team-a", {DEPLOYMENT: "chat"})) == ["a"]
    assert names(cache.list(kinds.SERVICE, None, {DEPLOYMENT: "chat"})) == ["a", "b"]
    assert names(cache.list(kinds.SERVICE, "team-a", {DEPLOYMENT: "chat", "tier": "2"})) == []
    assert names(cache.list(kinds.SERVICE, None, {"tier": "1"})) == ["a", "d"]
    assert names(cache.list(kinds.SERVICE, "team-a")) == ["a", "c", "d"]
    assert names(cache.list(kinds.NODE)) == []


def test_a_changed_label_moves_the_object(cache):
    cache.put(of("chat", version=1))
    cache.put(of("code", version=2))
    assert names(cache.list(kinds.SERVICE, "team-a", {DEPLOYMENT: "chat"})) == []
    assert names(cache.list(kinds.SERVICE, "team-a", {DEPLOYMENT: "code"})) == ["web"]
    cache.remove(of("code", version=3))
    assert names(cache.list(kinds.SERVICE, "team-a", {DEPLOYMENT: "code"})) == []


def test_it_keeps_what_it_is_told_to_keep():
    cache = ObjectCache(keep=lambda kind, obj: {**obj, "kept": kind.kind})
    obj = service()
    cache.put(obj)
    assert cache.find(WEB) == obj | {"kept": "Service"}
    cache.replace(kinds.SERVICE, Listing((service(version=2),), "2"))
    assert cache.find(WEB) == service(version=2) | {"kept": "Service"}


def test_a_kind_that_nobody_knows_is_left_alone(cache):
    unknown = service() | {"kind": "Secret"}
    assert not cache.put(unknown)
    assert not cache.remove(unknown)


def test_finding_by_label_looks_at_no_other_object(cache):
    """As many objects as 1,000 deployments have; each lookup may touch its own four only."""
    touched = []

    class Watching(dict):
        def get(self, *args):
            touched.append(self["name"])
            return super().get(*args)

    for number, part in itertools.product(range(1000), range(4)):
        obj = of(f"chat-{number}", name=f"{number}-{part}", uid=f"{number}-{part}", part=str(part))
        cache.put(obj)
        stored = cache.find(Ref(kinds.SERVICE, "team-a", f"{number}-{part}"))
        stored["metadata"] = Watching(stored["metadata"])
    assert len(cache.list(kinds.SERVICE, "team-a", {DEPLOYMENT: "chat-7", "part": "1"})) == 1
    assert sorted(touched) == ["7-0", "7-1", "7-2", "7-3"]


NAMELESS = (
    {},
    {"metadata": []},
    {"metadata": {"name": "web"}},
    {"metadata": {"name": "web", "uid": "u", "resourceVersion": "x"}},
)


@pytest.mark.parametrize("content", NAMELESS, ids=str)
def test_an_object_without_an_identity_is_left_out_of_a_listing_and_told(content):
    told = []
    cache = ObjectCache(index=DEPLOYMENT, unreadable=lambda *left_out: told.append(left_out[0]))
    strange = {"apiVersion": "v1", "kind": "Service", **content}
    cache.replace(kinds.SERVICE, Listing((strange, of("chat", version=3)), "3"))
    assert names(cache.list(kinds.SERVICE)) == ["web"]
    assert cache.complete(kinds.SERVICE)
    assert not cache.put(strange)
    assert not cache.remove(strange)
    assert set(told) == ({"Service"} if isinstance(content.get("metadata"), dict) else set(told))
