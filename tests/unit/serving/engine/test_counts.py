"""What an engine has computed, as the autoscaler is told: also for requests whose clients left."""

from types import SimpleNamespace

import pytest

from llama_serving.engine.counts import EngineCounts, watch_cut_off


class Processor:
    """As vLLM's: it is asked again, by the names of its parts, for a request with several choices."""

    def __init__(self, **states):
        self.request_states = dict(states)
        self.external_req_ids = {"asked": list(states)}

    def abort_requests(self, request_ids, internal):
        for name in list(request_ids):
            if name == "parent":
                self.abort_requests(list(self.request_states), internal=True)
            elif internal:
                self.request_states.pop(name, None)
            else:
                for one in self.external_req_ids.pop(name, ()):
                    self.request_states.pop(one, None)


def state(prompt, *, cached=0, reads=False):
    return SimpleNamespace(prompt_len=prompt, num_cached_tokens=cached, is_prefilling=reads)


@pytest.mark.parametrize(
    ("states", "asked", "internal", "pairs"),
    [
        pytest.param({"a": state(100)}, ["a"], True, 5000.0, id="a client leaves within its answer"),
        pytest.param({"a": state(100)}, ["asked"], False, 5000.0, id="by the name that the client knows"),
        pytest.param({"a": state(100, cached=60)}, ["a"], True, 3200.0, id="a part was in the prefix cache"),
        pytest.param({"a": state(100, cached=None)}, ["a"], True, 5000.0, id="nobody says what was in it"),
        pytest.param({"a": state(100, reads=True)}, ["a"], True, 0.0, id="a client leaves before its prompt is read"),
        pytest.param({"a": state(100), "b": state(100)}, ["parent"], True, 10_000.0, id="two choices"),
        pytest.param({}, ["a"], True, 0.0, id="one that has ended"),
    ],
)
def test_the_prompt_of_who_leaves_is_counted_once_it_was_read(states, asked, internal, pairs):
    counts, client = EngineCounts(), SimpleNamespace(output_processor=Processor(**states))
    watch_cut_off(client, counts.read)
    # Any iterable will do, as for vLLM.
    client.output_processor.abort_requests(iter(asked), internal)
    assert counts.totals(in_flight=0).prompt_pairs == pairs
    assert not client.output_processor.request_states


def test_an_engine_without_such_a_processor_is_left_alone():
    for client in (SimpleNamespace(), SimpleNamespace(output_processor=SimpleNamespace(request_states={}))):
        before = dict(vars(client))
        watch_cut_off(client, lambda *_: None)
        assert vars(client) == before
