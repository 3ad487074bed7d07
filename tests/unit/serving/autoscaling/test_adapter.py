"""The policy in Ray Serve's hands: what it reads of the context, what it keeps, and that it gets there by value."""

import inspect
import json
import random
import subprocess
import sys

import pytest

from llama_serving.autoscaling import (
    FACT_METRICS,
    KNOB_METRICS,
    METRIC_ACCEPTED,
    METRIC_FINISHED,
    METRIC_GENERATED_TOKENS,
    METRIC_PROMPT_PAIRS,
    METRIC_PROMPT_TOKENS,
    METRIC_RUNNING,
    METRIC_WAITING,
    Memory,
    QueueDepthPolicy,
    ScalingRecord,
)
from llama_serving.autoscaling.ray_serve.waking import _ANSWER, be_asked_at_zero
from llama_serving.config import POLICY
from support.serving.scaling.serve_contexts import NOW, PRICED, Store, config, context

theirs = pytest.importorskip("ray.serve.autoscaling_policy", reason="Ray Serve is not installed")
AutoscalingConfig = pytest.importorskip("ray.serve.config").AutoscalingConfig
AutoscalingPolicy = pytest.importorskip("ray.serve.config").AutoscalingPolicy
AggregationFunction = pytest.importorskip("ray.serve.config").AggregationFunction
aggregate_timeseries = pytest.importorskip("ray.serve._private.metrics_utils").aggregate_timeseries
TimeStampedValue = pytest.importorskip("ray.serve._private.common").TimeStampedValue


class Broken:
    """A store that nobody reaches."""

    def read(self, key):
        raise ConnectionError(key)

    def write(self, key, value):
        raise ConnectionError(key)


FULL = {METRIC_RUNNING: 8.0, METRIC_WAITING: 30.0}


def played(policy, seconds, *, state=None, begin=0, **named):
    """Call it once a second with a load that goes on; returns the last wish and state."""
    wish = None
    for second in range(begin, begin + seconds):
        grown = {
            METRIC_ACCEPTED: 1.0,
            METRIC_FINISHED: 1.0,
            METRIC_PROMPT_TOKENS: 1000.0,
            METRIC_GENERATED_TOKENS: 100.0,
        }
        values = {name: 100.0 + each * second for name, each in grown.items()} | named.get("values", {})
        wish, state = policy(context(at=second, state=state, **(named | {"values": values})))
    return wish, state


def test_engines_whose_speed_is_unknown_get_replicas_when_they_are_full():
    assert played(QueueDepthPolicy(Store()), 30, values=FULL)[0] > 1
    assert played(QueueDepthPolicy(Store()), 30)[0] == 1


@pytest.mark.parametrize(
    ("values", "minimum", "waits"), [({METRIC_RUNNING: 8.0}, 1, False), (FULL, 1, True), (FULL, 0, False)]
)
def test_a_load_that_ends_frees_the_fleet_after_one_start_unless_it_was_late(values, minimum, waits):
    policy = QueueDepthPolicy(Store())
    _, state = played(policy, 90, ready=3, values=values, minimum=minimum)
    over = {METRIC_ACCEPTED: 190.0, METRIC_FINISHED: 190.0}
    over |= {METRIC_PROMPT_TOKENS: 90_000.0, METRIC_GENERATED_TOKENS: 9_000.0}
    for second in range(90, 500):
        wish, state = policy(context(at=second, ready=3, state=state, values=over, minimum=minimum))
    assert (wish == 3) is waits


def test_a_delay_of_serve_is_the_users_and_then_nothing_else_is_held():
    idle = {METRIC_ACCEPTED: 100.0}
    patient, hasty = QueueDepthPolicy(Store()), QueueDepthPolicy(Store())
    said = AutoscalingConfig(
        min_replicas=0, max_replicas=10, target_ongoing_requests=4, upscale_delay_s=0, downscale_delay_s=3
    )
    for second in range(20):
        slow, _ = patient(context(at=second, ready=2, values=idle))
        fast, _ = hasty(context(at=second, ready=2, values=idle, settings=said))
    assert (slow, fast < 2) == (2, True)


def test_the_memory_outlives_the_controller_and_a_change_of_settings():
    store = Store()
    wish, _ = played(QueueDepthPolicy(store), 60, ready=2, values=FULL)
    kept = Memory.from_json(ScalingRecord.from_json(store.read("llama:LlamaServer:m")).memory)
    assert kept.ready == 2
    assert len(kept.bins) > 5

    again = QueueDepthPolicy(store)
    assert again(context(at=61, ready=2, state={}, values=FULL | {METRIC_ACCEPTED: 161.0}))[0] == wish


def test_changes_that_follow_each_other_in_seconds_do_not_stop_what_is_remembered():
    store = Store()
    for begin in range(0, 60, 3):
        played(QueueDepthPolicy(store), 3, begin=begin, ready=2)
    kept = Memory.from_json(ScalingRecord.from_json(store.read("llama:LlamaServer:m")).memory)
    assert kept.at - NOW == 59
    assert kept.level == pytest.approx(2.0, rel=0.1)


def woken(policy, state=None):
    """The wish after requests have come for a while at zero, four in a second."""
    wish = 0
    for second in range(63, 83):
        waiting = 4.0 * max(0, second - 63)
        wish, state = policy(context(at=second, ready=0, target=wish, state=state, queued=waiting, total=waiting))
    return wish


def test_what_a_request_costs_is_known_at_zero_also_after_a_change_of_settings():
    """Serve makes the policy anew then, and nobody is there who could say it again."""
    store = Store()
    policy = QueueDepthPolicy(store)
    _, state = played(policy, 63, values=PRICED)
    policy(context(at=63, ready=0, target=0, state=state))

    assert woken(QueueDepthPolicy(store)) == woken(policy, state) >= 3
    assert woken(QueueDepthPolicy(Store())) == 1


def test_a_preference_is_known_at_zero_also_after_a_change_of_settings():
    store = Store()
    played(QueueDepthPolicy(store), 63, values=PRICED | {KNOB_METRICS["reserve"]: 2.0})
    plain = Store()
    played(QueueDepthPolicy(plain), 63, values=PRICED)

    assert woken(QueueDepthPolicy(store)) == woken(QueueDepthPolicy(plain)) + 2


@pytest.mark.parametrize("kept", [[1.0], {"per_token": "many"}, {"per_token": -1.0}, {"nobody": 1.0}, None])
def test_facts_that_cannot_be_read_are_unknown(kept):
    store = Store()
    store.write("llama:LlamaServer:m", json.dumps({"events": [], "facts": kept, "knobs": kept}))
    assert woken(QueueDepthPolicy(store)) == 1


def test_changes_are_written_down_with_their_reasons():
    store = Store()
    policy = QueueDepthPolicy(store)
    wish, state = played(policy, 30, values=FULL)
    policy(context(at=31, ready=1, target=wish, state=state, values=FULL))
    record = ScalingRecord.from_json(store.read("llama:LlamaServer:m"))
    (event,) = record.events
    assert (event["from"], event["to"]) == (1, wish)
    assert event["reason"].startswith("up: ")
    assert "needed" in event["reason"]
    assert event["reason"].endswith(", 38 in engines")
    assert record.need is not None


@pytest.mark.parametrize("store", [Broken(), Store()])
def test_a_store_that_is_broken_or_holds_garbage_changes_nothing(store):
    if isinstance(store, Store):
        store.write("llama:LlamaServer:m", "{not json")
    assert played(QueueDepthPolicy(store), 5)[0] == 1


GOOD = {"events": [], "target": 3, "wish": 3, "at": 1.0}
EVENT = {"at": 1.0, "from": 1, "to": 2, "reason": "up"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD | {"target": "3"}),
        json.dumps(GOOD | {"target": True}),
        json.dumps(GOOD | {"wish": [2]}),
        json.dumps(GOOD | {"at": "now"}),
        json.dumps(GOOD | {"reason": 5}),
        json.dumps(GOOD | {"events": [EVENT | {"from": "1"}]}),
        json.dumps(GOOD | {"events": [{"at": 1.0}]}),
        json.dumps(GOOD | {"memory": [1]}),
        json.dumps(GOOD | {"memory": {"inside": float("inf")}}),
        json.dumps(GOOD | {"memory": {"correction": float("nan")}}),
        '{"events": [], "at": 1e999}',
        '{"events": ' + "[" * 100_000,
    ],
)
def test_a_record_that_no_policy_wrote_is_none(text):
    assert ScalingRecord.from_json(text) == ScalingRecord()


def test_what_a_policy_wrote_is_read_as_it_was():
    store = Store()
    played(QueueDepthPolicy(store), 60, ready=2, values=FULL)
    record = ScalingRecord.from_json(store.read("llama:LlamaServer:m"))
    assert (record.target, record.wish is not None, record.events != ()) == (2, True, False)
    assert ScalingRecord.from_json(record.to_json()) == record
    assert Memory.from_json(record.memory).ready == 2


def test_a_policy_that_fails_for_long_begins_anew():
    """Else a fault that comes from what is remembered would stay, since each new controller reads it again."""
    store = Store()
    policy = QueueDepthPolicy(store)
    played(policy, 60, ready=2)
    for second in range(60, 91):
        broken = context(at=second, ready=2)
        broken.config = None
        assert policy(broken) == (2, {})
    played(policy, 20, begin=91, ready=2)
    assert Memory.from_json(ScalingRecord.from_json(store.read("llama:LlamaServer:m")).memory).began - NOW == 91


def test_some_seconds_of_failures_cost_no_memory():
    """Serve calls it ten times a second, and a store on the head may take some seconds after a restart."""
    store = Store()
    policy = QueueDepthPolicy(store)
    played(policy, 60, ready=2)
    for tenth in range(250):
        broken = context(at=60 + tenth / 10, ready=2)
        broken.config = None
        policy(broken)
    played(policy, 20, begin=86, ready=2)
    assert Memory.from_json(ScalingRecord.from_json(store.read("llama:LlamaServer:m")).memory).began == NOW


def test_a_counter_that_is_missing_once_is_no_counter_at_zero():
    store = Store()
    policy, calm = QueueDepthPolicy(store), PRICED | {METRIC_FINISHED: 20_000.0}
    wish, state = 3, None
    for second in range(200):
        values = calm | {METRIC_ACCEPTED: 20_000.0 + second / 10}
        asked = context(at=second, ready=3, values=values, state=state)
        if second == 150:
            del asked.aggregated_metrics[METRIC_ACCEPTED]["r1"]
        wish, state = policy(asked)
        assert wish <= 3, second


@pytest.mark.parametrize("pairs", [1e6, 2.37e10 + 0.5, 3e13 + 0.5])
def test_a_counter_that_serve_rounds_hides_no_request(pairs):
    """Pairs of tokens get large within hours, and then the mean of equal numbers is one of three, by its last digit."""
    draw, store = random.Random(1), Store()  # noqa: S311 - times of a test
    policy, state = QueueDepthPolicy(store), None
    for second in range(120):
        times = [NOW + second - back + draw.uniform(-0.01, 0.01) for back in (2, 1, 0)]
        series = [TimeStampedValue(time, pairs) for time in times]
        mean = aggregate_timeseries(series, AggregationFunction.MEAN, last_window_s=draw.uniform(0.1, 0.9))
        values = PRICED | {FACT_METRICS["per_pair"]: 3e-9, METRIC_PROMPT_PAIRS: mean, METRIC_RUNNING: 4.0}
        values |= {METRIC_ACCEPTED: 100.0 + second, METRIC_PROMPT_TOKENS: 1000.0 * second}
        _, state = policy(context(at=second, state=state, values=values))
    record = ScalingRecord.from_json(store.read("llama:LlamaServer:m"))
    assert record.arrivals == pytest.approx(1.0, rel=0.05)


def test_facts_and_knobs_come_with_the_reports():
    said = PRICED
    wish, _ = played(QueueDepthPolicy(Store()), 40, values=said)
    # A request a second, of 1.1 seconds.
    assert wish == 2
    assert played(QueueDepthPolicy(Store()), 40, values=said | {KNOB_METRICS["reserve"]: 3.0})[0] == wish + 3
    assert played(QueueDepthPolicy(Store()), 40, values=said | {KNOB_METRICS["price"]: 1000.0})[0] >= wish


def test_a_reserve_is_kept_between_short_requests_of_an_engine_whose_speed_is_unknown():
    assert played(QueueDepthPolicy(Store()), 40, values={KNOB_METRICS["reserve"]: 1.0})[0] == 2


def test_replicas_that_say_nothing_are_missing():
    policy = QueueDepthPolicy(Store())
    bare = context(ready=3)
    bare.aggregated_metrics = None
    assert policy(bare)[0] == 3


def test_the_policy_never_raises_and_then_holds(caplog):
    policy = QueueDepthPolicy(Store())
    broken = context(target=7)
    broken.config = None
    assert policy(broken) == (7, {})
    broken.total_queued_requests = "many"
    assert policy(broken) == (7, {})
    # Serve calls it ten times a second.
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_serve_ships_the_policy_by_value(tmp_path):
    """In the controller nothing of the package is imported: Ray pickles modules below the one that the path names with it."""
    shipped = tmp_path / "policy"
    shipped.write_bytes(AutoscalingPolicy(policy_function=POLICY).get_serialized_policy_def())
    code = (
        "import sys, ray.cloudpickle as cloudpickle\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('llama_serving', 'pydantic_core_never'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "policy = cloudpickle.loads(open(sys.argv[1], 'rb').read())()\n"
        "from types import SimpleNamespace\n"
        "c = SimpleNamespace(app_name='a', deployment_name='d', current_num_replicas=1, target_num_replicas=1,\n"
        "  capacity_adjusted_min_replicas=0, capacity_adjusted_max_replicas=9, current_time=1e9, policy_state={},\n"
        "  running_replicas=['r'], total_queued_requests=0.0, total_num_requests=0.0, raw_metrics=None,\n"
        "  config=SimpleNamespace(target_ongoing_requests=4, downscale_delay_s=0, upscaling_factor=None),\n"
        "  aggregated_metrics={n: {'r': 1.0} for n in ('llama_waiting_requests', 'llama_running_requests',\n"
        "    'llama_kv_cache_usage', 'llama_request_slots')})\n"
        "wish, state = policy(c)\n"
        "assert wish == 1 and state, (wish, state)\n"
        "assert not [name for name in sys.modules if name.startswith('llama_serving')]\n"
    )
    subprocess.run([sys.executable, "-c", code, str(shipped)], check=True, timeout=120)


@pytest.mark.parametrize(
    ("ready", "target", "waiting"), [(0, 0, 0.0), (0, 0, 3.0), (0, 1, 3.0), (1, 1, 0.0), (4, 4, 50.0)]
)
def test_the_policy_changes_nothing_of_serves_config(ready, target, waiting):
    """Serve's controller compares it with what it deployed, and would deploy again in every turn."""
    store = Store()
    knowing = ScalingRecord(memory=Memory(at=NOW - 5).to_json())
    store.write("llama:LlamaServer:m", knowing.to_json())
    policy, settings = QueueDepthPolicy(store), config()
    before = settings.model_dump()
    for at in range(5):
        policy(context(at=at, ready=ready, target=target, settings=settings, total=waiting, queued=waiting))
    assert settings.model_dump() == before


def asked_at_zero(policy, monkeypatch, **said):
    """What Serve makes of two requests that wait while nothing serves, with a policy that wants five replicas."""
    # As Serve has it; policies of other tests may have been there.
    monkeypatch.setattr(theirs, _ANSWER, inspect.unwrap(getattr(theirs, _ANSWER)))
    asked = be_asked_at_zero("QueueDepthPolicy", **said)
    wrapped = theirs._apply_autoscaling_config(lambda _: (5, {}))
    ctx = context(ready=0, target=1, settings=config(policy=AutoscalingPolicy(policy_function=policy)), total=2.0)
    return asked, wrapped(ctx)[0]


def test_while_nothing_serves_serve_asks_our_policy_and_answers_for_others(monkeypatch):
    other = "ray.serve.autoscaling_policy:default_autoscaling_policy"
    assert asked_at_zero(POLICY, monkeypatch, modules={}) == (False, 1)
    assert asked_at_zero(POLICY, monkeypatch) == (True, 5)
    assert asked_at_zero(other, monkeypatch) == (True, 1)


def test_being_asked_at_zero_is_arranged_once(monkeypatch):
    asked_at_zero(POLICY, monkeypatch)
    first = getattr(theirs, _ANSWER)
    QueueDepthPolicy(store=Store())
    assert getattr(theirs, _ANSWER) is first


def test_a_policy_that_fails_still_wakes_who_sleeps():
    policy = QueueDepthPolicy(store=Store())
    policy.signal = None
    assert policy(context(ready=0, target=0, total=1.0))[0] == 1
    assert policy(context(ready=0, target=0))[0] == 0
    assert policy(context(ready=2, total=9.0))[0] == 2
