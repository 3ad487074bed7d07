"""Each autoscaler wishes what its formula says, on views that are made by hand."""

import pytest

from llama_operator.simulate.fleet_view import FleetView, ReplicaView
from llama_operator.simulate.need import Need
from llama_operator.simulate.scalers.apa import Apa
from llama_operator.simulate.scalers.forecast import Forecast
from llama_operator.simulate.scalers.hpa import Hpa, Keda, in_flight, waiting
from llama_operator.simulate.scalers.known import Clairvoyant, InTheSecond
from llama_operator.simulate.scalers.kpa import Kpa
from llama_operator.simulate.scalers.product import Product
from llama_operator.simulate.scalers.serve_default import ServeDefault
from llama_serving.autoscaling.signal import Facts


def view(now=0.0, *, ready=2, target=None, queue=0.0, waits=0.0, runs=0.0, kv=0.0, accepted=0.0, minimum=1):
    """A fleet of equal replicas; `waits`, `runs` and `kv` are those of each."""
    replicas = tuple(
        ReplicaView(f"replica-{number}", waits, runs, kv, 100, accepted, 0, 0, 0.0, 0, now, 1e5)
        for number in range(ready)
    )
    return FleetView(now, ready, ready if target is None else target, queue, minimum, 40, 60.0, replicas)


def last(scaler, *views):
    return [scaler.wish(one).replicas for one in views][-1]


def test_the_product_runs_the_policy_of_the_serving_package():
    product = Product(Facts(per_token=1e-3), target_queue_depth=4.0)
    views = [view(100.0 + second, runs=10, accepted=20.0 * second) for second in range(30)]
    # Twenty requests a second for each of two replicas, of a fifth of a second.
    assert last(product, *views) > 40 * 0.211
    assert (product.delays.upscale, product.delays.downscale) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("waits", "expected"),
    [(4.2, 2), (5.0, 3), (9.0, 5), (60.0, 6)],
    ids=["within the tolerance", "ceil of sum over target", "the same", "at most four pods more"],
)
def test_hpa_rounds_up_the_sum_over_the_target(waits, expected):
    assert last(Hpa("hpa", waiting, 4.0), view(waits=waits)) == expected


def test_hpa_syncs_every_15_seconds_and_goes_down_to_the_largest_wish_of_300():
    hpa = Hpa("hpa", in_flight, 25.0)
    assert last(hpa, view(0.0, ready=4, runs=50)) == 8
    assert last(hpa, view(10.0, ready=8, runs=0)) == 8
    assert last(hpa, view(15.0, ready=8, runs=0)) == 8
    assert last(hpa, view(290.0, ready=8, runs=6)) == 8
    assert last(hpa, view(330.0, ready=8, runs=6)) == 2


def test_keda_goes_to_zero_after_its_cooldown_and_comes_back_for_one_request():
    keda = Keda()
    assert last(keda, view(0.0, ready=1, runs=1, minimum=0), view(299.0, ready=1, minimum=0)) == 1
    assert last(keda, view(301.0, ready=1, minimum=0)) == 0
    assert last(keda, view(400.0, ready=0, queue=1.0, minimum=0)) == 1


def test_serves_own_policy_is_ongoing_requests_over_the_target():
    assert last(ServeDefault(25.0), view(runs=30, waits=5)) == 3
    assert last(ServeDefault(25.0), view(ready=0, target=2, queue=100.0)) == 2


def test_kpa_takes_the_stable_window_and_panics_when_the_short_one_asks_for_twice_the_pods():
    calm = Kpa(50.0)
    assert last(calm, *(view(float(now), runs=30) for now in range(60))) == 2
    panic = Kpa(50.0)
    early = [view(float(now), runs=30) for now in range(60)]
    late = [view(60.0 + now, runs=300) for now in range(9)]
    assert last(panic, *early, *late) == 18
    assert last(panic, view(70.0, ready=18, runs=0)) == 18


def test_apa_does_nothing_within_its_band_at_most_doubles_and_goes_down_to_the_largest_wish_of_300_seconds():
    assert last(Apa(0.5), view(kv=0.54)) == 2
    assert last(Apa(0.5), view(kv=0.46)) == 2
    assert last(Apa(0.5), view(kv=0.99)) == 4
    falling = Apa(0.5)
    assert last(falling, view(0.0, ready=8, kv=0.5), view(290.0, ready=8, kv=0.01)) == 8
    assert last(falling, view(310.0, ready=8, kv=0.01)) == 4


def test_a_forecast_follows_a_rise_one_cold_start_ahead():
    scaler, accepted, found = Forecast(1.0), 0.0, []
    for now in range(0, 600, 10):
        accepted += 10 * now / 100 / 2 if now else 0
        found.append(scaler.wish(view(float(now), accepted=accepted)).replicas)
    # The rate is 0.1 a second more each 10 s, for two replicas; the last bin ends at 570 s, the forecast is for 630 s.
    assert 5.7 <= max(found) <= 7


def test_the_clairvoyant_asks_a_cold_start_before_and_keeps_what_is_needed_again_soon():
    need = Need((1, 1, 1, 1, 4, 1, 4, 1, 1, 1, 1, 1), 1.0)
    assert need.held(60.0, 1) == (1, 1, 1, 1, 4, 4, 4, 1, 1, 1, 1, 1)
    assert need.held(0.0, 2) == (2, 2, 2, 2, 4, 2, 4, 2, 2, 2, 2, 2)
    scaler = Clairvoyant(need, 60.0, 1)
    assert [scaler.wish(view(at)).replicas for at in (0.0, 50.0, 60.0, 120.0, 215.0)] == [1, 1, 4, 4, 1]


def test_the_right_number_comes_with_the_need_and_what_works_off_the_queue():
    need = Need((1, 1, 4, 4, 4, 4), 1.0)
    moving = InTheSecond(need, 60.0, 1, 0.1, moves=True)
    assert last(moving, view(50.0, ready=1)) == 1
    assert last(moving, view(60.0, ready=1)) == 4 + 3
    stuck = InTheSecond(need, 60.0, 1, 0.1, moves=False)
    assert last(stuck, view(60.0, ready=1)) == 4 + 1
    assert last(stuck, view(70.0, ready=4)) == 4
