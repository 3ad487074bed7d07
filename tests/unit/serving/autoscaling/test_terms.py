"""Each term by itself, against what it was derived from."""

import math
from dataclasses import replace

import pytest

from llama_serving.autoscaling.arrivals import Counted, Load
from llama_serving.autoscaling.experience import Experience, experience, highest, rates_of
from llama_serving.autoscaling.foretold import Foretold, foretold, judged
from llama_serving.autoscaling.hold import held, hold_seconds, needs
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.need import Need, made_up, quantile, stands_by, steady, surge, usable_share
from llama_serving.autoscaling.signal import ALL_ENGINES, Facts, Knobs, Signal
from llama_serving.autoscaling.starts import starts
from llama_serving.autoscaling.work import Work, lengths, work
from support.serving.scaling.fluid_fleet import FACTS

CALM = Load(level=40.0, slope=0.0, level_error=0.3, slope_error=0.0, seconds=320.0, dispersion=1.0)
PROVEN = Foretold(forecasts=1e12)
"""Forecasts that always came true."""
ONE = Work(request=0.118, prefill=0.09, prefill_square=0.0162)


def test_a_request_costs_its_tokens_its_attention_and_its_share_of_the_steps():
    plain = work(FACTS, (0.0,) * 5, 230.0, 236_256.0)
    tokens = FACTS.per_token * (1155 + 211)
    attention = FACTS.per_pair * 1155**2 + FACTS.per_cached_token * 211 * (1155 + 105.5)
    assert plain.request == pytest.approx(tokens + attention)

    steps = Facts(per_token=FACTS.per_token, step=0.01)
    held_at_once = 236_256 / (1155 + 105.5)
    assert work(steps, (0.0,) * 5, 230.0, 236_256.0).request == pytest.approx(tokens + 211 / held_at_once * 0.01)


def test_lengths_that_were_seen_replace_those_of_the_plan():
    long = work(FACTS, (1e6, 1e6, 1e10, 5e13, 1e8), 230.0, 0.0)
    assert long.prefill == pytest.approx(FACTS.per_token * 1e4 + FACTS.per_pair * 5e7, rel=0.01)


def test_short_prompts_let_an_engine_be_used_up_and_long_ones_do_not():
    """Prompts of a second and an objective of five leave 0.6 of an engine; ordinary ones all of it."""
    assert usable_share(ONE, FACTS, 20.0, 40.0) == 1.0
    long = Work(request=0.7, prefill=0.6, prefill_square=3 * 0.36)
    assert 0.4 < usable_share(long, Facts(objective=5.0), 20.0, 2.0) < 0.8
    assert usable_share(long, Facts(objective=5.0), 100.0, 2.0) < usable_share(long, Facts(objective=5.0), 20.0, 2.0)


def test_engines_among_which_a_router_chooses_may_be_used_further():
    """Of many engines one is nearly always free of prompts; two drawn by chance help less, and one that is alone has nothing to choose from."""
    long, facts = Work(request=0.7, prefill=0.6, prefill_square=3 * 0.36), Facts(objective=5.0)

    def share(choices: float, requests: float) -> float:
        return usable_share(long, replace(facts, choices=choices), 20.0, requests)

    assert share(1.0, 30.0) == share(1.0, 0.3), "what belongs to one engine waits there, however many there are"
    assert share(1.0, 30.0) < share(2.0, 30.0) < share(ALL_ENGINES, 30.0) < 1.0
    assert share(ALL_ENGINES, 2.0) < share(ALL_ENGINES, 7.0) < share(ALL_ENGINES, 30.0)
    assert share(2.0, 7.0) == share(2.0, 30.0)
    assert share(ALL_ENGINES, 0.3) == pytest.approx(share(1.0, 0.3)), "of less than one engine there is one"


def test_a_reserve_grows_with_the_root_of_the_load_and_with_the_price():
    one, four = (
        steady(Load(level, 0.0, 0.0, 0.0, 320.0, 1.0), ONE, FACTS, Knobs(), 130.0, earlier=PROVEN).reserve
        for level in (40.0, 160.0)
    )
    assert four == pytest.approx(2 * one)
    assert quantile(1.0) == 0 < quantile(5.0) < quantile(20.0) < quantile(100.0)
    assert quantile(20.0) == pytest.approx(1.668, abs=0.001)


def test_a_reserve_of_the_user_is_beside_the_need_and_not_for_an_idle_fleet():
    assert (
        steady(CALM, ONE, FACTS, Knobs(reserve=2.0), 130.0).steady
        == steady(CALM, ONE, FACTS, Knobs(), 130.0).steady + 2
    )
    idle = Load(0.0, 0.0, 0.0, 0.0, 320.0, 1.0)
    need = steady(idle, ONE, FACTS, Knobs(reserve=2.0), 130.0)
    assert need.steady == 0
    # Nor is anything believed of what waited before: while routers hand over their queue, no arrival is seen for some seconds.
    assert (need.most, need.peak) == (0, 0)


def more(backlog, ready, coming=(), *, price=20.0, slack=0.0, waits=(), load=5.0):
    """Replicas for a backlog, 120 s ahead; `waits` are seconds of work in the engines that have some."""
    need = Need(work=load, share=1.0, reserve=0.5, steady=6, certain=load, until=load)
    free = (*waits, *[0.0] * (ready - len(waits)))
    return surge(backlog, need, free, coming, 120.0, price=price, slack=slack)


def test_replicas_for_a_backlog_follow_the_square_root_and_count_what_starts():
    assert more(0.0, 6) == 0
    assert more(1000.0, 6, price=0.02) == math.ceil(5 + math.sqrt(0.02 * 5 * 880 / 120) - 0.1)
    assert more(1000.0, 6, (60.0,) * 20) == 0
    assert more(1e9, 6) <= 2 * 5


def test_what_is_late_by_less_than_it_may_is_no_backlog():
    assert more(125.0, 6) > 0
    assert more(125.0, 6, slack=2.0) == 0


def test_what_waits_in_an_engine_is_its_own_and_not_of_the_others():
    """1,000 seconds of work in one of ten engines: nine are left for the rest, and nine are enough."""
    assert more(0.0, 10, waits=(1000.0,)) == 0
    assert more(0.0, 6, waits=(1000.0, 1000.0)) > 5


def test_prompts_belong_to_the_requests_that_were_begun():
    """A queue in the engines does not make prompts look short, nor do answers that are being made make them look long."""
    before = Memory(lengths=(1000.0, 1000.0, 1e6, 0.0, 2e5))
    overloaded = Counted(seconds=10.0, accepted=500.0, finished=50.0, prompt_tokens=60e3, generated_tokens=14e3)
    begun, finished, prompts, _, answers = lengths(before, overloaded, inside=440.0, running=40.0)
    assert prompts / begun == pytest.approx(1000.0)
    assert answers / finished == pytest.approx(200.0, rel=0.01)


def test_an_engine_absorbs_for_as_long_as_a_request_stays_in_it():
    calm = Load(40.0, 0.0, 0.0, 0.0, 320.0, 1.0)
    short, long = (
        steady(calm, replace(ONE, stay=stay), FACTS, Knobs(), 130.0, earlier=PROVEN).reserve for stay in (6.0, 24.0)
    )
    assert short == pytest.approx(2 * long)


def test_a_fall_that_is_foretold_to_end_at_nothing_takes_nothing_away_before_it_came():
    falling = Load(level=20.0, slope=-1.0, level_error=0.1, slope_error=0.0, seconds=320.0, dispersion=1.0, recent=25.0)
    need = steady(falling, ONE, FACTS, Knobs(), 130.0)
    assert need.now >= math.ceil(20.0 * ONE.request)
    assert need.least == math.ceil(25.0 * ONE.request)


def test_prompts_that_no_fleet_answers_in_time_have_no_price():
    """Of a mean of a tenth of the objective nearly all can be in time; of ten times the objective nearly none, and no replica stands by for them."""
    shares = [
        usable_share(Work(seconds, seconds, seconds**2, 1.0), Facts(per_token=1.0, objective=2.0), 20.0, 8.0 / seconds)
        for seconds in (0.2, 1.0, 1.9, 2.1, 4.0, 20.0)
    ]
    short, half, below, above, twice, long = shares
    assert short > half > below
    # No leap where the usual prompt takes as long as the objective.
    assert above == pytest.approx(below, rel=0.1)
    assert below < twice < long
    assert long > 0.9


def test_a_load_that_went_away_before_needs_what_comes_now():
    falling = Load(level=1.0, slope=-0.1, level_error=0.1, slope_error=0.0, seconds=320.0, dispersion=1.0, recent=1.0)
    gone = Experience(usual=-0.5, enough=-0.5, episodes=9)
    need = steady(falling, ONE, FACTS, Knobs(), 130.0, gone)
    assert (need.work, need.now) == (0.0, 1)


def test_no_more_is_asked_for_than_twice_what_comes_now():
    rising = Load(level=20.0, slope=1.0, level_error=0.1, slope_error=0.0, seconds=320.0, dispersion=1.0)
    need = steady(rising, ONE, FACTS, Knobs(), 130.0)
    # 2.36 keep up: twice as many, rounded once.
    assert need.steady > need.most == math.ceil(2 * 20.0 * ONE.request)
    # A line that ends above all that was counted says nothing of the present.
    assert steady(replace(rising, highest=10.0), ONE, FACTS, Knobs(), 130.0).most == math.ceil(2 * 10.0 * ONE.request)


def test_a_backlog_asks_for_no_more_than_twice_the_largest_load():
    peaks = [steady(CALM, ONE, FACTS, Knobs(), 130.0, highest=highest).peak for highest in (4.0, 40.0, 80.0)]
    # 0.472, 4.72 and 9.44 keep up: twice the whole ones of it, and one more than rounds up is always asked for.
    assert peaks == [2, 8, 18]


@pytest.mark.parametrize(
    ("correction", "most", "peak"),
    [
        pytest.param(0.5, 10, 8, id="engines that do more than the plan thinks"),
        pytest.param(1.0, 10, 8, id="as the plan thinks"),
        pytest.param(1.1, 9, 8, id="overrun"),
        pytest.param(2.0, 8, 6, id="slower than the plan thinks: all but a fifth counts"),
    ],
)
def test_bounds_do_not_count_that_engines_are_overrun(correction, most, peak):
    """`ONE` has the correction in it: 4.72 engines keep up, without it 4.72, 4.29 and 3.93."""
    need = steady(CALM, ONE, FACTS, Knobs(), 130.0, highest=40.0, correction=correction)
    assert (need.most, need.peak) == (most, peak)


@pytest.mark.parametrize(
    ("wish", "absent", "replicas"),
    [
        pytest.param(9, 0, 9, id="all have come"),
        pytest.param(7, 1, 8, id="one is made up for"),
        # 1.2 times the 8 that keep up, and not the 9 with what stands by: that would be 11.
        pytest.param(9, 2, 10, id="no more than a fifth of what keeps up"),
        pytest.param(14, 1, 10, id="nor of what a backlog asks for"),
    ],
)
def test_starts_that_are_overdue_are_made_up_for_within_bounds(wish, absent, replicas):
    assert made_up(wish, absent, Need(7.5, 1.0, 1.0, steady=9, bare=8)) == replicas


def test_the_largest_load_is_that_of_the_hour_less_its_noise():
    levels = tuple((number, 15.0 * (60 if number in (50, 51) else 10), 15.0) for number in range(100))
    now = replace(CALM, level=10.0, highest=11.0, recent=12.0)
    assert 58 < highest(rates_of(levels, 15.0), now, 15.0) < 60
    assert highest((), now, 15.0) == 10.0
    assert highest((), replace(now, level=90.0), 15.0) == 11.0
    # What is over sooner than a request in a full engine is absorbed, and leaves no backlog to a fleet that keeps up.
    assert highest((), replace(now, level=90.0, highest=90.0), 15.0) == 12.0


@pytest.mark.parametrize(
    ("levels", "rates"),
    [
        pytest.param((), [], id="nothing was counted"),
        pytest.param(((7, 30.0, 15.0),), [None], id="one bin has none before it"),
        pytest.param(
            ((7, 30.0, 15.0), (8, 60.0, 15.0), (9, 0.0, 15.0)), [None, 3.0, 2.0], id="each with the one before it"
        ),
        pytest.param(
            ((7, 30.0, 15.0), (9, 60.0, 15.0), (10, 60.0, 15.0)), [None, 2.0, 4.0, 4.0], id="one bin is missing"
        ),
        pytest.param(
            ((7, 30.0, 15.0), (10, 60.0, 7.5), (11, 60.0, 5.0)),
            [None, 2.0, None, None, None],
            id="too little was watched",
        ),
        pytest.param(((7, 30.0, 15.0), (900, 60.0, 15.0)), [], id="the clock leapt"),
    ],
)
def test_rates_are_those_of_two_bins_that_were_watched(levels, rates):
    assert rates_of(levels, 15.0) == rates


@pytest.mark.parametrize(
    ("price", "replicas"),
    [
        pytest.param(5.0, 5, id="Cost"),
        pytest.param(20.0, 5, id="Balanced"),
        # 4.72 keep up, and 0.7 of them stand by.
        pytest.param(100.0, 8, id="Latency"),
    ],
)
def test_a_calm_load_has_more_stand_by_for_a_rise_that_nothing_announces(price, replicas):
    calm = replace(CALM, level=40.0, level_error=0.0, slope_error=0.0, dispersion=0.0)
    cheap = replace(ONE, stay=1e9)
    need = steady(calm, cheap, FACTS, Knobs(price=price), 130.0, earlier=PROVEN)
    assert (need.steady, need.standing) == (replicas, replicas)
    assert stands_by(1000.0) == stands_by(100.0), "no price has more stand by"


def seen(*needed, late=(), stood_by=0):
    """Needs bin by bin, of which so many replicas only stood by."""
    loads = [need - stood_by for need in needed]
    return tuple(
        (number, need, load, load if number in late else 0)
        for number, (need, load) in enumerate(zip(needed, loads, strict=True))
    )


def test_a_need_is_held_for_one_start_without_experience():
    history = seen(5, 5, 2, 2, 2, 2)
    assert held(history, 5 * 15.0, 15.0, usual=60.0, cold_start=60.0, price=20.0, target=8) == 5
    assert held(history, 7 * 15.0, 15.0, usual=60.0, cold_start=60.0, price=20.0, target=8) == 2


def test_a_fall_that_is_seen_to_go_on_is_not_waited_for():
    history = seen(5, 5, 2, 2, 2, 2)
    assert held(history, 5 * 15.0, 15.0, usual=10.0, cold_start=60.0, price=20.0, target=8) == 2


def forecasts(rises, came, level=20.0, width=15.0, ahead=60.0):
    """What is made of forecasts of `rises` when so much more came."""
    said, seen_ = (), []
    for number, rise in enumerate(rises):
        said = foretold(said, level, level + rise, now=number * width, ahead=ahead, width=width)
        seen_.append((number, (level + came[number]) * width, width))
    more_ = ((len(rises) + number, (level + came[-1]) * width, width) for number in range(8))
    return judged(said, [*seen_, *more_], ahead=ahead, width=width, dispersion=0.0, chance=0.95)


def test_as_much_of_a_trend_is_believed_as_came_true():
    before = forecasts([4.0], [0.0])
    wandering, going = forecasts([4.0] * 200, [0.0] * 200), forecasts([4.0] * 200, [4.0] * 200)
    assert judged((), (), ahead=60.0, width=15.0, dispersion=1.0, chance=0.95).share == 1.0
    assert wandering.share < 0.05 < before.share < 1.0 == going.share
    assert wandering.error == going.error == 0.0


def test_what_came_beyond_the_forecasts_is_their_error_and_chance_is_none():
    missed = forecasts([0.0] * 100, [0.0] * 90 + [5.0] * 10)
    assert missed.error == pytest.approx(5.0 / quantile(19.0))
    # However far off they were: a jump says nothing of the next trend.
    assert forecasts([0.0] * 100, [0.0] * 90 + [500.0] * 10).error < 50
    # A rise that did not come costs nothing more here, and a fall is not stocked for.
    assert forecasts([-5.0] * 100, [-5.0] * 100).error == 0.0
    counts = [(number, 300.0 + (10 if number % 2 else -10), 15.0) for number in range(100)]
    said = tuple((number, 20.0, 20.0) for number in range(4, 90))
    assert judged(said, counts, ahead=60.0, width=15.0, dispersion=1.0, chance=0.95).error == 0.0


def test_the_less_was_foretold_so_far_the_more_stands_by():
    some, more_, none = (
        steady(CALM, ONE, FACTS, Knobs(), 130.0, earlier=Foretold(forecasts=count)).reserve for count in (1, 5, 0)
    )
    assert none > some > more_
    surprised = Foretold(error=20.0, forecasts=1e12)
    assert steady(CALM, ONE, FACTS, Knobs(), 130.0, earlier=surprised).reserve > none


def test_a_gap_that_made_requests_late_is_held_next_time():
    gap = [1] * 20
    late = seen(5, *gap, 5, 5, late={21, 22})
    assert hold_seconds(late, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == pytest.approx(20 * 15 * 1.1 + 15)
    assert hold_seconds(late, 5, 15.0, usual=60.0, cold_start=60.0, price=1.0) == 60
    assert hold_seconds(seen(5, *gap, 5, 5), 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60
    assert hold_seconds(late, 6, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60


def test_a_load_that_came_late_is_waited_for_as_long_as_that_cost():
    first = seen(5, 5, 2, 2, late={0, 1})
    assert hold_seconds(first, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60 + 20 * 30
    # No longer than a start, for which it would be late again, and an hour at most.
    long = seen(*[5] * 99, 2, late=range(99))
    assert hold_seconds(long, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60 + 20 * 60
    assert hold_seconds(long, 5, 15.0, usual=600.0, cold_start=600.0, price=20.0) == 3600
    # At zero all that comes is late, and that was chosen.
    assert hold_seconds(first, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0, sleeps=True) == 60
    # What stood by beyond that load was not missed.
    beside = seen(7, 7, 4, 4, late={0, 1}, stood_by=2)
    assert hold_seconds(beside, 7, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60


def test_a_return_that_was_waited_for_is_waited_for_again():
    gap = [1] * 20
    in_time = seen(5, 5, *gap, 5, 5, late={0, 1})
    assert hold_seconds(in_time, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == pytest.approx(20 * 15 * 1.1 + 15)


def test_what_stood_by_and_came_back_is_not_waited_for_as_a_load_is():
    gap = [1] * 20
    by_load = seen(5, 5, *gap, 5, 5, late={0, 1})
    by_doubt = (*by_load[:-2], (22, 5, 1, 0), (23, 5, 1, 0))
    assert hold_seconds(by_load, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) > 300
    assert hold_seconds(by_doubt, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60


def test_a_need_that_flickers_does_not_say_when_a_load_comes_back():
    flickers = seen(5, 5, 2, 5, 2, 2, late={0, 1})
    assert hold_seconds(flickers, 5, 15.0, usual=60.0, cold_start=60.0, price=20.0) == 60 + 20 * 30


@pytest.mark.parametrize(("width", "remembered"), [(15.0, 7200.0), (37.5, 9000.0), (75.0, 18000.0)])
def test_a_need_is_remembered_for_two_hours_at_least(width, remembered):
    memory = Memory()
    for number in range(2000):
        memory = replace(memory, needs=needs(memory, 1, number * width, width, load=1, late=False))
    assert (len(memory.needs) * width, memory.needs[-1][0]) == (remembered, 1999)


def fleet(ready, target):
    return Signal(0.0, (), ready, target, 4.0, 0, 100)


def test_starts_have_ages_and_are_measured_when_they_serve():
    asked = starts(fleet(2, 5), Memory(at=999.0, began=1.0, ready=2), Facts(cold_start=100.0), 1000.0)
    assert asked.coming == (100.0,) * 3
    memory = Memory(at=999.0, began=1.0, ready=2, starts=asked.entries)
    later = starts(fleet(2, 5), memory, Facts(cold_start=100.0), 1040.0)
    assert later.coming == (60.0,) * 3
    first = starts(fleet(3, 5), memory, Facts(cold_start=100.0), 1080.0)
    assert (first.cold_start, len(first.coming)) == (80.0, 2)
    taken_back = starts(fleet(2, 3), memory, Facts(cold_start=100.0), 1040.0)
    assert (len(taken_back.coming), taken_back.measured) == (1, 0.0)


def test_a_start_beyond_its_deadline_is_absent():
    memory = Memory(ready=2, starts=((1000.0, 2),))
    found = starts(fleet(2, 4), memory, Facts(cold_start=100.0), 1181.0)
    assert (found.absent, found.coming) == (2, ())


@pytest.mark.parametrize(
    ("ages", "usual", "measured", "left"),
    [
        # The oldest one never comes: it must not lend its age to the one that did.
        ((190.0, 101.0), 100.0, 101.0, 190.0),
        ((400.0, 90.0), 100.0, 90.0, 400.0),
        # Two may be it: the older one has waited for longer, and the most usual one would say what was thought before.
        ((110.0, 85.0), 100.0, 110.0, 85.0),
        ((125.0, 100.0), 100.0, 125.0, 100.0),
        # None is near: the nearest one is it.
        ((140.0, 70.0), 100.0, 140.0, 70.0),
        # Only one that is overdue is there.
        ((300.0,), 100.0, 300.0, None),
    ],
)
def test_the_oldest_start_of_a_usual_age_is_the_one_that_serves(ages, usual, measured, left):
    memory = Memory(at=999.0, began=1.0, ready=2, starts=tuple((1000.0 - age, 1) for age in ages))
    found = starts(fleet(3, 2 + len(ages)), memory, Facts(cold_start=usual), 1000.0)
    assert found.measured == measured
    assert [1000.0 - when for when, _ in found.entries] == ([] if left is None else [left])


def test_starts_one_after_the_other_are_measured_as_they_are():
    """One each five seconds for an hour, of 110 to 130 s by turns, while 80 s were thought of: nothing drifts, and none is overdue."""
    lengths_of = [110.0, 130.0, 120.0, 115.0, 125.0]
    ends = sorted(1000.0 + 5 * number + lengths_of[number % 5] for number in range(720))
    memory, facts = Memory(at=999.0, began=1.0, ready=0), Facts(cold_start=80.0)
    for second in range(3600):
        now = 1000.0 + second
        ready, asked = sum(end <= now for end in ends), 1 + second // 5
        found = starts(fleet(ready, asked), memory, facts, now)
        memory = replace(memory, at=now, ready=ready, starts=found.entries, cold_start=found.measured)
        if second > 600:
            assert 110 <= found.measured <= 130
            assert found.absent == 0


def test_a_start_that_was_under_way_when_the_memory_began_is_not_measured_and_half_done():
    facts = Facts(cold_start=100.0)
    begun = starts(fleet(2, 4), Memory(), facts, 1000.0)
    assert begun.coming == (50.0, 50.0)
    memory = Memory(at=1000.0, began=1000.0, ready=2, starts=begun.entries)
    served = starts(fleet(3, 4), memory, facts, 1008.0)
    assert (served.measured, served.cold_start, served.coming) == (0.0, 100.0, (42.0,))
    later = starts(fleet(2, 4), memory, facts, 1140.0)
    assert (later.absent, later.coming) == (2, ())


def test_a_start_that_ends_in_the_second_in_which_another_begins_is_measured():
    memory = Memory(ready=2, starts=((1000.0, 1),))
    found = starts(fleet(3, 4), memory, Facts(cold_start=100.0), 1090.0)
    assert (found.measured, found.entries) == (90.0, ((1090.0, 1),))


def hour(rate, width=15.0, seconds=3600):
    """Levels of an hour until now, without noise."""
    return [(number, rate(number * width) * width, width) for number in range(int(seconds / width))]


def wave(second):
    return 28 - 16 * math.cos(2 * math.pi * second / 1200)


def found(seen, level, **named):
    load = Load(level, 0.0, 0.5, 0.0, 40.0, 1.0)
    return experience(
        rates_of(seen, 15.0), load, 15.0, **({"ahead": 130.0, "cold_start": 120.0, "price": 20.0} | named)
    )


def test_a_wave_is_known_by_what_followed_before():
    """Half up its flank it goes on to the crest; half down it does not."""
    up, down = found(hour(wave, seconds=2700), 28.0), found(hour(wave, seconds=3300), 28.0)
    assert up.usual == pytest.approx(wave(430), rel=0.15)
    assert down.usual < 32
    assert up.episodes >= 2


def test_a_load_that_was_never_seen_has_no_experience():
    assert found(hour(lambda second: 6.0 if second < 3540 else 60.0), 60.0) is None
    assert found(hour(wave, seconds=120), 14.0) is None
    assert found([], 14.0) is None


def test_what_follows_once_in_a_while_is_stocked_for_by_its_price():
    """A load that doubles for a minute in each ten: 30 % of the moments are followed by it within 130 s."""
    seen, calm = hour(lambda second: 40.0 if second % 600 < 60 else 20.0, seconds=3450), 20.0
    dear, cheap = found(seen, calm), found(seen, calm, price=0.5)
    assert dear.enough > 33 > cheap.enough
    assert cheap.usual == dear.usual


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"version": 1},
        {"version": 0},
        {**Memory().to_json(), "bins": [[1]]},
        "x",
        # Levels are laid out second by second: what lies between two would fill the memory of Serve's controller.
        {**Memory().to_json(), "levels": [[100, 1, 15], [30_000_000, 1, 15], [101, 1, 15]]},
        {**Memory().to_json(), "needs": [[5, 1, 1, 0], [5, 1, 1, 0]]},
    ],
)
def test_a_memory_that_cannot_be_read_is_an_empty_one(said):
    assert Memory.from_json(said) == Memory()


def test_starts_that_others_measured_count_until_one_was_seen():
    facts = Facts(cold_start=400.0, measured_start=100.0)
    asked = starts(fleet(2, 3), Memory(at=999.0, began=1.0, ready=2), facts, 1000.0)
    assert (asked.cold_start, asked.coming) == (100.0, (100.0,))
    seen_one = starts(fleet(2, 3), Memory(ready=2, cold_start=150.0), facts, 1000.0)
    assert seen_one.cold_start == 150.0
