"""The decision as a whole: within its bounds whatever it is told, never fewer by what is missing, more for more load."""

import functools
import math
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_serving.autoscaling import Facts, Knobs, Memory, ReplicaReading, Signal, decide
from support.serving.scaling.fluid_fleet import FACTS, WORK, Fleet, distorted, run

untimed = settings(deadline=None)
"""The machine that runs this may be busy."""

NOW = 10_000.0
COUNTERS = ("accepted", "finished", "prompt_tokens", "prompt_pairs", "generated_tokens")
GAUGES = ("waiting", "running", "kv_usage", "slots", "kv_tokens")


def reading(number, **changes):
    values = {
        "waiting": 0.0,
        "running": 10.0,
        "kv_usage": 0.1,
        "slots": 230.0,
        "accepted": 1e4,
        "finished": 1e4,
        "prompt_tokens": 1e7,
        "prompt_pairs": 1e10,
        "generated_tokens": 1e6,
        "kv_tokens": 236_256.0,
        "reported_at": NOW,
    }
    return ReplicaReading(name=f"r{number}", **(values | changes))


def signal(ready=2, target=None, queued=0.0, **changes):
    values = {"target_queue_depth": 4.0, "minimum": 0, "maximum": 100} | changes
    replicas = values.pop("replicas", tuple(reading(number) for number in range(ready)))
    return Signal(queued=queued, replicas=replicas, ready=ready, target=ready if target is None else target, **values)


def remembered(level, ready=2, need=None, seconds=300, cold_start=120.0):
    """A memory of a calm load."""
    bins = tuple((int(NOW // 5) - back, level * 5.0, 5.0) for back in range(seconds // 5, 0, -1))
    needs = () if need is None else tuple((int(NOW // 15) - back, need, need, 0) for back in range(200, -1, -1))
    counters = tuple((f"r{number}", 1e4, 1e4, 1e7, 1e10, 1e6, NOW - 1, 0.1) for number in range(ready))
    return Memory(
        at=NOW - 1,
        counters=counters,
        bins=bins,
        ready=ready,
        began=1.0,
        needs=needs,
        level=level,
        cold_start=cold_start,
    )


def step(seen, memory, **named):
    """Decide after a second in which as much came as before."""
    return decide(seen, memory, now=NOW, facts=FACTS, **named)


anything = st.one_of(st.floats(), st.floats(0, 1e6))
readings = st.builds(
    ReplicaReading,
    name=st.sampled_from("abcdef"),
    **{one.name: anything for one in fields(ReplicaReading) if one.name != "name"},
)
signals = st.builds(
    Signal,
    queued=anything,
    replicas=st.lists(readings, max_size=6).map(tuple),
    ready=st.integers(-2, 20),
    target=st.integers(-2, 60),
    target_queue_depth=anything,
    minimum=st.integers(0, 20),
    maximum=st.integers(1, 40),
)
loads = st.floats(0, 200)
facts = st.builds(
    Facts, per_token=st.sampled_from([0.0, 75e-6]), cold_start=st.floats(1, 900), objective=st.floats(0.1, 20)
)
knobs = st.builds(Knobs, price=st.floats(0.1, 1000), reserve=st.floats(0, 5), hold=st.sampled_from([None, 0.0, 60.0]))


@untimed
@given(signals, loads, facts, knobs, st.floats(0, 1e10))
def test_no_signal_leaves_the_bounds_or_raises(seen, level, known, turned, now):
    for memory in (Memory(), remembered(level)):
        decision = decide(seen, memory, now=now, facts=known, knobs=turned)
        lower = max(0, seen.minimum)
        assert lower <= decision.replicas <= max(lower, seen.maximum)
        again = decide(seen, Memory.from_json(decision.memory.to_json()), now=now + 1, facts=known, knobs=turned)
        assert lower <= again.replicas <= max(lower, seen.maximum)


@pytest.mark.parametrize("ready", [1, 2, 7, 40])
def test_an_empty_memory_never_cuts_a_fleet(ready):
    idle = tuple(reading(number, running=0.0, kv_usage=0.0) for number in range(ready))
    memory = Memory()
    for second in range(int(FACTS.cold_start)):
        fresh = tuple(replace(one, reported_at=NOW + second) for one in idle)
        decision = decide(signal(ready, replicas=fresh), memory, now=NOW + second, facts=FACTS)
        memory = decision.memory
        assert decision.replicas == ready


garbage = st.one_of(st.floats(max_value=-0.001), st.just(math.nan), st.just(math.inf))


@untimed
@given(loads, st.integers(1, 20), garbage, st.sampled_from(GAUGES + COUNTERS), st.integers(0, 10))
def test_an_absurd_report_of_one_replica_takes_nothing_away(level, ready, absurd, field, starting):
    replicas = tuple(reading(number, **({field: absurd} if number == 0 else {})) for number in range(ready))
    decision = step(signal(ready, target=ready + starting, replicas=replicas), remembered(level, ready, need=ready))

    assert decision.replicas >= ready + starting


@untimed
@given(loads, st.integers(1, 20), st.one_of(garbage, st.just(1e12)))
def test_an_absurd_queue_adds_and_takes_nothing(level, ready, absurd):
    memory = remembered(level, ready, need=ready)
    decision = step(signal(ready, queued=absurd), memory)
    healthy = step(signal(ready), memory)

    assert ready <= decision.replicas <= max(ready, healthy.replicas, math.ceil(1.2 * ready))


@pytest.mark.parametrize("missing", [1, 3])
def test_a_replica_that_is_silent_takes_nothing_away(missing):
    replicas = tuple(reading(number, running=0.0, kv_usage=0.0) for number in range(missing, 3))
    assert step(signal(3, replicas=replicas), remembered(0.0, 3)).replicas == 3
    whole = tuple(reading(number, running=0.0, kv_usage=0.0) for number in range(3))
    assert step(signal(3, replicas=whole), remembered(0.0, 3)).replicas < 3


def test_a_replica_whose_counters_stand_still_while_it_computes_takes_nothing_away():
    memory = remembered(0.0, 3)
    frozen = replace(memory, counters=tuple((*row[:6], NOW - 11, 0.0) for row in memory.counters))
    idle = tuple(reading(number, running=0.5, kv_usage=0.0) for number in range(3))

    assert "stand still" in step(signal(3, replicas=idle), frozen).reason
    assert step(signal(3, replicas=idle), frozen).replicas == 3


def long_prompts(signal, second):
    """One request runs for 40 s of each minute, in the first replica; vLLM counts its prompt when the last token of it is computed."""
    since, ended = second % 60, second // 60
    busy = {"running": 1.0, "kv_usage": 0.01 * since, "accepted": ended + 1} if since < 40 else {"running": 0.0}
    told = {"accepted": ended + 1, "finished": ended, "prompt_tokens": 1e5 * ended, "generated_tokens": 0.0, **busy}
    told["prompt_pairs"] = 5e9 * ended
    first, *others = signal.replicas
    return replace(signal, replicas=(replace(first, **told), *others))


def leaking(signal, _second):
    """A request runs for ever. While no other comes, the engine cannot be believed."""
    return replace(signal, replicas=tuple(replace(one, running=one.running + 1.0) for one in signal.replicas))


@pytest.mark.parametrize(
    ("rate", "sees", "most"),
    [
        pytest.param(1 / 60, None, 1, id="a request in a minute"),
        pytest.param(1 / 300, None, 1, id="a request in five minutes"),
        # 1.2 times the one that is needed, rounded up.
        pytest.param(1 / 60, leaking, 2, id="a request leaks, and another comes each minute"),
        pytest.param(1 / 300, leaking, 2, id="a request leaks, and another comes every five minutes"),
    ],
)
@pytest.mark.parametrize("price", [20.0, 100.0])
def test_a_load_that_one_replica_serves_has_no_more_whatever_is_doubted(rate, sees, most, price):
    out = run([rate] * 1800, ready=1, distort=sees, knobs=Knobs(price=price), seed=3)
    assert max(out.targets) <= most


def test_an_engine_that_computes_a_long_prompt_is_believed():
    out = run([0.0] * 900, ready=3, distort=long_prompts)
    assert out.targets[-1] == 1
    assert not any("stand still" in decision.reason for decision in out.decisions)


def test_a_replica_that_sends_nothing_new_is_missing():
    old = tuple(reading(number, running=0.0, reported_at=NOW - 11) for number in range(3))

    assert step(signal(3, replicas=old), remembered(0.0, 3)).replicas == 3


@untimed
@given(loads, loads, st.integers(1, 20), st.integers(0, 10))
def test_more_load_never_gives_fewer_replicas(level, more, ready, starting):
    seen = signal(ready, target=ready + starting)
    fewer, many = (step(seen, remembered(rate, ready)).need for rate in (level, level + more))

    assert many >= fewer


@untimed
@given(loads, st.floats(0, 1e5), st.integers(1, 20))
def test_a_longer_queue_never_gives_fewer_replicas(level, waiting, ready):
    def with_queue(length):
        memory = replace(
            remembered(level, ready),
            queues=tuple((NOW - back, length, length) for back in range(8, 0, -1)),
            held=length,
        )
        return step(signal(ready, queued=length), memory).replicas

    assert with_queue(waiting) >= with_queue(0.0)


@untimed
@given(st.floats(1, 100), st.integers(1, 10), st.integers(0, 40))
def test_what_starts_counts(level, ready, starting):
    """The need is absolute: with enough on the way nothing is added, however often it is asked."""
    memory, seen = remembered(level, ready), signal(ready, target=ready + starting)
    found = step(seen, memory)

    assert found.replicas <= max(2 * found.need, ready + starting)


def test_a_cold_start_that_outlasts_any_queue_does_not_run_away():
    out = run([40.0] * 1200, ready=2, cold_start=1e6, facts=replace(FACTS, cold_start=600.0))

    assert max(out.targets[:900]) <= 2 * math.ceil(40 * WORK / 0.9) + 1
    assert max(out.targets[:900]) == max(out.targets[60:300])
    # From here on they are late, and some are asked for in their place.
    assert max(out.targets) <= math.ceil(1.2 * max(out.targets[:900]))


def test_a_fleet_at_zero_wakes_for_a_request_and_for_nothing_else():
    asleep = signal(0, queued=3.0, replicas=())
    assert decide(asleep, Memory(), now=NOW, facts=FACTS).replicas == 1
    assert decide(replace(asleep, queued=0.0), Memory(), now=NOW, facts=FACTS).replicas == 0


def asleep_after(memory, seconds, a_second, *, target=1, price=20.0):
    """Play seconds at zero in which requests come; the wishes, and the last memory."""
    wishes, knobs = [], Knobs(price=price)
    for second in range(seconds):
        # The mean of three seconds.
        waiting = a_second * max(0.0, second - 1.0)
        asleep = signal(0, queued=waiting, replicas=(), target=target)
        found = decide(asleep, memory, now=NOW + second, facts=FACTS, knobs=knobs)
        memory, target = found.memory, found.replicas
        wishes.append(found.replicas)
    return wishes, memory


def test_at_zero_as_many_start_as_keep_up_for_certain_and_clear_what_waits_by_then():
    knowing = Memory(at=NOW - 1, began=NOW - 1000, slots=230.0, kv_tokens=236_256.0)
    wishes, _ = asleep_after(knowing, 15, 40.0, target=0)

    assert wishes == sorted(wishes)
    assert wishes[0] == 0
    keep_up = math.ceil(40 * WORK)
    assert math.ceil(40 * WORK * 0.8) <= wishes[-1] <= keep_up + 1
    # Two minutes of them wait by then: as many again, and no more, however long the queue gets.
    assert 2 * keep_up - 1 <= asleep_after(knowing, 30, 40.0, target=0)[0][-1] <= 2 * keep_up
    assert asleep_after(knowing, 110, 40.0, target=0)[0][-1] <= 2 * keep_up
    # A single request is no load, and a queue that only waits for the start is none either, however long it gets.
    assert asleep_after(knowing, 20, 0.05, target=0)[0][-1] == 1
    assert asleep_after(knowing, 200, 2.0, target=0)[0][-1] == 1
    # The first one is overdue then.
    assert asleep_after(knowing, 600, 2.0, target=0)[0][-1] == 2


@pytest.mark.parametrize(("a_second", "seconds", "replicas"), [(150.0, 2, 3), (40.0, 5, 3), (10.0, 10, 1)])
def test_at_zero_a_burst_that_is_over_starts_nothing_to_clear_it(a_second, seconds, replicas):
    """It waits for the whole start and is worked off within seconds then, by few as by many (knative/serving#4344)."""
    memory, target = Memory(at=NOW - 1, began=NOW - 1000, slots=230.0, kv_tokens=236_256.0), 0
    for second in range(100):
        # The mean of three seconds.
        waiting = sum(a_second * min(max(second - back, 0), seconds) for back in range(3)) / 3
        found = decide(signal(0, queued=waiting, replicas=(), target=target), memory, now=NOW + second, facts=FACTS)
        memory, target = found.memory, found.replicas
    assert target == replicas


def test_at_zero_one_starts_where_nobody_knows_what_a_request_costs():
    assert asleep_after(Memory(at=NOW - 1, began=NOW - 1000), 20, 40.0, target=0)[0][-1] == 1


def test_what_the_routers_hand_to_the_first_replica_is_counted_once():
    knowing = Memory(at=NOW - 1, began=NOW - 1000, slots=230.0, kv_tokens=236_256.0)
    wishes, memory = asleep_after(knowing, 60, 40.0, target=0)
    before = wishes[-1]
    for second in range(4):
        # All of them are in the replica at once; the mean of the queue follows within three seconds.
        held = 40.0 * 58 * max(0.0, 1 - (second + 1) / 3)
        taken = {"accepted": 40.0 * (60 + second), "waiting": 40.0 * 58, "reported_at": NOW + 60 + second}
        first = reading(0, finished=0.0, prompt_tokens=0.0, prompt_pairs=0.0, generated_tokens=0.0, **taken)
        fleet = signal(1, queued=held, replicas=(first,), target=before)
        found = decide(fleet, memory, now=NOW + 60 + second, facts=FACTS)
        memory = found.memory
        assert found.arrivals < 60


def test_what_routers_hand_to_another_replica_is_no_load():
    """As Serve has it: the mean of the queue falls within three seconds, the counters of the new replica are there at once."""
    memory, held = remembered(20.0, 1), 900.0
    memory = replace(memory, held=held, queues=tuple((NOW - back, held, held) for back in range(8, 0, -1)))
    for second in range(5):
        old = reading(0, accepted=1e4 + 8 * (second + 1), reported_at=NOW + second)
        new = reading(1, accepted=900.0 + 12 * second, finished=0.0, prompt_tokens=0.0, prompt_pairs=0.0)
        fleet = (old, replace(new, generated_tokens=0.0, reported_at=NOW + second))
        queue = held * max(0.0, 1 - (second + 1) / 3)
        found = decide(signal(2, queued=queue, replicas=fleet), memory, now=NOW + second, facts=FACTS)
        memory = found.memory
        assert found.arrivals < 30


def test_a_memory_that_begins_adds_little_by_doubt():
    memory, target = Memory(), 8
    for second in range(60):
        fleet = tuple(reading(number, accepted=1e4 + 5.0 * second, reported_at=NOW + second) for number in range(8))
        found = decide(signal(8, target=target, replicas=fleet), memory, now=NOW + second, facts=FACTS)
        memory, target = found.memory, found.replicas
        assert target <= math.ceil(1.2 * 8)


RISE = [20.0] * 900 + [32.0] * 300
"""From 2.36 engines to 3.8, between two seconds."""


@pytest.mark.parametrize(
    ("preference", "named", "late"),
    [
        pytest.param(20.0, {}, True, id="Balanced is late for a start"),
        pytest.param(100.0, {}, False, id="Latency has it standing by"),
        pytest.param(100.0, {"forget_every": 100}, False, id="also with a memory that begins"),
    ],
)
def test_a_rise_that_nothing_announces_is_in_time_if_enough_stands_by(preference, named, late):
    out = run(RISE, ready=4, knobs=Knobs(price=preference), **named)
    assert (out.late > 30 * 60) == late
    assert late or (out.late == 0 and max(out.targets[:900]) <= 2 * 3), "never more than twice what keeps up"


@pytest.mark.parametrize(
    ("price", "first", "unpriced"),
    [pytest.param(20.0, 4, 4, id="Balanced"), pytest.param(100.0, 7, 5, id="Latency")],
)
def test_what_stands_by_is_started_at_zero_as_well_and_where_no_speed_is_known(price, first, unpriced):
    memory = Memory(at=NOW - 1, began=NOW - 1000, slots=230.0, kv_tokens=236_256.0)
    assert asleep_after(memory, 15, 40.0, target=0, price=price)[0][-1] == first
    # Four engines whose places are in use for the half: 2.9 of them at seven tenths.
    unknown, half = replace(FACTS, per_token=0.0), {"running": 115.0, "kv_usage": 0.5}
    fleet = signal(4, replicas=tuple(reading(number, **half) for number in range(4)))
    seen = decide(fleet, remembered(20.0, 4), now=NOW, facts=unknown, knobs=Knobs(price=price))
    assert seen.replicas == unpriced


@pytest.mark.parametrize("cold_start", [30.0, 120.0])
def test_a_slow_rise_is_met_before_it_comes(cold_start):
    rates = [8 + 40 * second / 3600 for second in range(2400)]
    out = run(
        rates,
        ready=2,
        cold_start=cold_start,
        facts=replace(FACTS, cold_start=cold_start),
    )
    assert out.attained > 0.995
    assert out.hours < 1.2 * sum(math.ceil(rate * WORK / 0.92) for rate in rates) / 3600


def test_a_step_is_answered_at_once_with_the_right_number():
    out = run([7.0] * 600 + [64.0] * 600, ready=2)

    assert math.ceil(64 * WORK) <= out.targets[620] <= 2 * math.ceil(64 * WORK)


@pytest.mark.parametrize(("level", "bounds"), [(60.0, (2, 2)), (60.0, (1, 3)), (2.0, (2, 2)), (2.0, (6, 8))])
def test_bounds_limit_what_serve_is_told_and_not_the_wish(level, bounds):
    """An autoscaler of others that fixes the number needs the one that is beyond it: else it would never change again."""
    free = step(signal(ready=2), remembered(level))
    bound = step(signal(ready=2, minimum=bounds[0], maximum=bounds[1]), remembered(level))
    assert bound.replicas == min(max(free.wish, bounds[0]), bounds[1])
    assert bound.wish == free.wish


@pytest.mark.nightly
def test_a_load_that_comes_back_is_waited_for_once_it_is_known():
    """Nightly: `test_terms` asks how long a need is held by itself; this plays seventy minutes three times."""
    rates = [40.0 if second // 600 % 2 else 8.0 for second in range(4200)]
    late, again = [], []
    for price in (5.0, 20.0, 100.0):
        fleet = Fleet(2, knobs=Knobs(price=price))
        before = fleet.play(rates[:3000]).late
        out = fleet.play(rates[3000:])
        late.append(out.late)
        again.append(out.late - before)
        # The third time it finds what it needs.
        assert out.targets[2999] >= math.ceil(40 * WORK)
    cheap, usual, dear = late
    # A few more or fewer are chance.
    assert cheap > usual > 0.98 * dear
    assert again[1:] == [0, 0]


@pytest.mark.nightly
def test_a_batch_each_hour_is_not_waited_for_once_it_is_known_to_be_away_for_so_long():
    """Nightly: six hours. To wait for it costs more than to start for it, and only a memory that is longer than the pause sees that."""
    fleet, held_for = Fleet(1), []
    for _ in range(6):
        fleet.play([10.0] * 3000 + [40.0] * 600)
        pause = fleet.copy().play([10.0] * 3000).targets[-3000:]
        held_for.append(sum(target >= math.ceil(40 * WORK) for target in pause))
    first, later = held_for[0], held_for[2:]
    # The latest ones make requests late, which is waited for once; by chance what stands by has the same size now and then.
    assert sum(later) / len(later) < 1000 < first


def test_work_that_costs_more_than_the_plan_says_is_found_out():
    out = run([40.0] * 1500, ready=6, work=WORK * 1.4)

    assert out.decisions[-1].memory.correction > 1.2
    assert out.targets[-1] >= 40 * WORK * 1.4


def test_a_load_that_ends_leaves_the_smallest_fleet():
    out = run([40.0] * 600 + [0.0] * 1200, ready=6, bounds=(0, 40))
    assert out.targets[-1] == 0


WAVE = tuple(28 - 16 * math.cos(2 * math.pi * second / 1800) for second in range(2700))
DISTURBED = 600
"""Seconds: five starts, and most of a flank."""


@functools.cache
def calm_wave(until=2700):
    """The wave when nothing goes wrong, played until a second; played once."""
    # One after the other, each from where the one before it was.
    sooner = max((second for second in SNAPSHOTS if second < until), default=0)
    fleet = calm_wave(sooner).copy() if sooner else Fleet(2)
    fleet.play(WAVE[sooner:until])
    return fleet


SNAPSHOTS = (500, 1300, 1800)


@pytest.mark.parametrize("begin", [500, 1300], ids=["engines full", "calm"])
@pytest.mark.parametrize(
    ("case", "distort"),
    [
        ("one replica silent", lambda seen, _: replace(seen, replicas=seen.replicas[1:])),
        ("all silent", lambda seen, _: replace(seen, replicas=())),
        ("not a number", lambda seen, _: distorted(seen, waiting=math.nan)),
        ("waiting 1e12", lambda seen, _: distorted(seen, waiting=1e12)),
        ("router 1e12", lambda seen, _: replace(seen, queued=1e12)),
        ("running and cache 0", lambda seen, _: distorted(seen, running=0.0, kv_usage=0.0)),
        ("queue 0", lambda seen, _: replace(seen, queued=0.0)),
        ("cache 1e12", lambda seen, _: distorted(seen, kv_usage=1e12)),
        ("queue flips", lambda seen, second: replace(seen, queued=400.0 if second // 7 % 2 else 0.0)),
        ("waiting flips", lambda seen, second: distorted(seen, waiting=200.0 if second // 7 % 2 else 0.0)),
    ],
)
def test_what_goes_wrong_with_metrics_neither_starves_nor_floods(case, distort, begin):
    calm = calm_wave().out
    hit = calm_wave(begin).copy().play(WAVE[begin : begin + DISTURBED], distort)
    assert max(hit.targets) <= math.ceil(1.2 * max(calm.targets))
    # Late so far, and of all requests of the wave.
    assert hit.late < calm.late + 0.15 * hit.requests


def test_a_fleet_of_which_nothing_is_known_gets_what_was_enough_and_is_not_cut_when_it_comes_back():
    kept = {}

    def freeze(seen, second):
        """Old reports come anew, as of engines whose counters hang, from the trough on."""
        if not 1801 <= second < 2600:
            kept.clear()
            kept.update({one.name: one for one in seen.replicas})
            return seen
        old = (kept.setdefault(one.name, one) for one in seen.replicas)
        return replace(seen, replicas=tuple(replace(one, running=1.0, reported_at=math.inf) for one in old))

    calm, hit = calm_wave().out, calm_wave(1800).copy().play(WAVE[1800:], freeze)
    assert max(hit.targets) <= math.ceil(1.2 * max(calm.targets))
    assert hit.targets[1830] >= sorted(calm.targets[:1800])[int(0.95 * 1800)] - 1
    assert min(hit.targets[1830:2700]) == hit.targets[1830]
    assert hit.attained > calm.attained - 0.02


def idle_after(seconds, distort, **named):
    """A load that ends after a quarter of an hour; what the policy sees is distorted from then on."""
    later = lambda signal, second: signal if second < 900 else distort(signal)  # noqa: E731 - given to a function
    return run([30.0] * 900 + [0.0] * seconds, ready=4, distort=later, **named)


@pytest.mark.parametrize("least", [0, 1])
def test_requests_that_no_router_hands_on_to_idle_engines_keep_no_fleet_and_start_none(least):
    """Serve's number of queued requests was seen to stay where it was for ever (ray-project/ray#38118)."""
    stuck = 42.0
    hit = idle_after(1200, lambda signal: replace(signal, queued=max(signal.queued, stuck)), bounds=(least, 40))

    assert hit.targets[-1] == least
    assert len(set(hit.targets[-300:])) == 1, "nothing starts again"
    # One more than is stuck is a request.
    memory, asleep = hit.decisions[-1].memory, Signal(stuck + 1, (), 0, 0, 4.0, 0, 40)
    assert decide(asleep, memory, now=1_010_000.0, facts=FACTS).replicas >= 1


def test_a_request_that_leaks_in_one_engine_keeps_the_fleet_for_an_hour_and_not_for_ever():
    """Its counters stand still while one request seems to run: the kind of ray-project/ray#61551."""

    def leak(signal):
        told = enumerate(signal.replicas)
        return replace(signal, replicas=tuple(replace(one, running=1.0) if n == 0 else one for n, one in told))

    hit = idle_after(4200, leak)
    assert set(hit.targets[1200 : 900 + 3600]) == {hit.targets[1200]} != {1}, "missing data cut no fleet"
    assert hit.targets[-1] == 1


@pytest.mark.parametrize("never", [1, 2, 5])
def test_starts_that_never_come_are_made_up_for_and_not_without_end(never):
    hit = run([40.0] * 1200, ready=4, never_start=never)
    need, most = hit.decisions[-1].need, max(decision.need or 0 for decision in hit.decisions)

    assert min(need + never, math.ceil(1.2 * need)) <= hit.targets[-1]
    assert max(hit.targets) <= math.ceil(1.2 * most)


def test_a_memory_that_is_lost_again_and_again_only_keeps_replicas():
    calm, hit = calm_wave().out, run(WAVE, ready=2, forget_every=60)

    assert max(hit.targets) <= math.ceil(1.2 * max(calm.targets))
    assert hit.attained >= calm.attained - 0.01


@pytest.mark.parametrize("cold_start", [20.0, 60.0, 200.0])
def test_a_memory_that_begins_cuts_no_fleet_before_the_load_is_told_from_noise(cold_start):
    facts = replace(FACTS, cold_start=cold_start)
    hit = run([10.0] * 400, ready=6, cold_start=cold_start, facts=facts)
    known = int(max(100.0, cold_start))

    assert min(hit.targets[: known - 1]) == 6
    assert hit.targets[-1] < 4


def test_a_short_start_holds_a_need_for_no_shorter_than_it_takes_to_tell_a_fall():
    facts = replace(FACTS, cold_start=20.0)
    hit = run([40.0] * 600 + [10.0] * 200, ready=6, cold_start=20.0, facts=facts)

    assert hit.targets[680] >= 5
    assert hit.targets[-1] < 4
