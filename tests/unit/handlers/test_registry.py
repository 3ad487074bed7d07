"""The kopf handlers: one for each watched kind, and only those of kinds that exist."""

import kopf
import pytest

from llama_operator.handlers import registry
from llama_operator.handlers.watched import BY_KIND, WATCHED
from llama_operator.kube import kinds


class Taken:
    """A dispatcher that keeps what it is given."""

    def __init__(self):
        self.taken = []

    def changed(self, watched, obj):
        self.taken.append(("changed", watched, obj))

    def deleted(self, watched, obj):
        self.taken.append(("deleted", watched, obj))


def handlers_of(found):
    return found._watching.get_all_handlers()


async def login(**_):
    raise kopf.LoginError


def test_every_watched_kind_has_one_handler_on_its_address():
    addresses = {}
    for handler in handlers_of(registry.HANDLERS):
        assert handler.param not in addresses.values(), "one kind has two handlers"
        selector = handler.selector
        group = f"{selector.group}/" if selector.group else ""
        addresses[f"{group}{selector.version}", selector.any_name] = handler.param
    assert addresses == {(one.kind.api_version, one.kind.plural): one.kind for one in WATCHED}


def test_only_kinds_that_exist_are_watched():
    present = tuple(one for one in WATCHED if one.kind not in {kinds.RAY_SERVICE, kinds.RAY_CLUSTER})
    built = registry.build(present, login)
    assert [handler.param for handler in handlers_of(built)] == [one.kind for one in present]
    assert len(handlers_of(registry.HANDLERS)) == len(WATCHED), "the handlers of all kinds stay"


def test_nothing_but_events_is_handled_so_kopf_leaves_no_trace_in_the_objects():
    built = registry.build(WATCHED, login)
    for others in (built._changing, built._spawning, built._indexing, built._webhooks):
        assert not others.get_all_handlers()


@pytest.mark.parametrize(
    ("event", "what"), [(None, "changed"), ("ADDED", "changed"), ("MODIFIED", "changed"), ("DELETED", "deleted")]
)
@pytest.mark.parametrize("handler", handlers_of(registry.HANDLERS), ids=lambda handler: handler.id)
async def test_every_handler_gives_the_object_to_the_dispatcher(handler, event, what):
    dispatcher, obj = Taken(), {"metadata": {"name": "chat"}}
    more = {"name": "chat", "spec": {}, "patch": {}}
    await handler.fn(
        event={"type": event, "object": obj}, param=handler.param, memo=kopf.Memo(dispatcher=dispatcher), **more
    )
    assert dispatcher.taken == [(what, BY_KIND[handler.param], obj)]


def test_what_is_ours_is_asked_for_by_its_label():
    selectors = registry.settings(WATCHED).watching.label_selectors
    assert selectors["", "v1", "services"] == "app.kubernetes.io/managed-by=llama-operator"
    assert len(selectors) == sum(bool(one.labels) for one in WATCHED)
    assert BY_KIND[kinds.SERVICE].labels
