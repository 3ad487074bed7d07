"""The verdict of docs/bench-autoscaling.md, on lines that are written by hand: what counts as a bar that holds, and what is compared."""

import pytest

from bench.autoscaling.figures import LATENCY, by_cell
from bench.autoscaling.report import means, versions
from bench.autoscaling.verdict import verdict as written

NAMES = ["product", "fixed", "keda", "in-the-second", "clairvoyant"]


def line(autoscaler, share, hours, *, seed=1, workload="wave", kind="smooth", start=30.0, peak=4, refused=0, **more):
    return {
        "workload": workload,
        "kind": kind,
        "coldStart": start,
        "seed": seed,
        "autoscaler": autoscaler,
        "attainment": share,
        "gpu_hours": hours,
        "peak": peak,
        "refused": refused,
        "tuning": False,
        **more,
    }


def cell(**of):
    """Lines of the yardsticks, with what is given for some of them."""
    usual = {"fixed": (1.0, 20.0), "in-the-second": (0.95, 10.0), "clairvoyant": (0.99, 10.0), "product": (0.99, 11.0)}
    return [line(name, *figures) for name, figures in {**usual, **of}.items()]


def verdict(lines):
    rows = "".join(written(by_cell(lines), NAMES)).splitlines()
    return {row.split("|")[1].strip(): row.split("|")[2].strip() for row in rows if row.startswith("| ")}


def beside_keda(*lines):
    """How often the product is ahead of KEDA: with the default, with `Latency`, and with one of both; and how often it is behind with both."""
    rows = "".join(written(by_cell(lines), [*NAMES, LATENCY])).splitlines()
    row = next(row for row in rows if row.startswith("| keda")).split("|")
    return [row[place].split()[0] for place in (2, 4, 5, 8)]


A_DAY = "a day or longer: no fixed size is better in both figures"


@pytest.mark.parametrize(
    ("shares", "spread", "holds"),
    [
        pytest.param((0.5, 0.98, 1.0), 0.0, "1 of 1", id="what costs less is late more"),
        pytest.param((0.5, 0.995, 1.0), 0.0, "0 of 1", id="two are better in both"),
        pytest.param((0.5, 0.995, 1.0), 0.02, "1 of 1", id="within the spread of the seeds"),
    ],
)
def test_a_day_is_held_against_every_fixed_size(shares, spread, holds):
    sizes = [{"replicas": n, "attainment": share, "gpu_hours": 5.0 * n} for n, share in enumerate(shares, start=1)]
    lines = [one for one in cell() if one["autoscaler"] not in {"fixed", "product"}]
    lines += [line("fixed", 1.0, 15.0, sizes=sizes), line("product", 0.99 - spread, 11.0)]
    lines += [
        line(name, 0.99 + spread * (name == "product"), 11.0, seed=2) for name in NAMES if name not in {"keda", "fixed"}
    ]
    assert verdict(lines)[A_DAY] == holds
    assert "fleet of 3" in "".join(written(by_cell(lines), NAMES))


def test_loads_that_a_shipped_autoscaler_has_not_played_count_neither_for_nor_against():
    weeks = [{**one, "workload": "weeks"} for one in cell()]
    lines = [*cell(), line("keda", 0.9, 30.0), *weeks]
    assert verdict(lines)["keda"] == "1 of 1"
    said = means(by_cell(lines), NAMES)
    assert "| 30 s, smooth | 99.0 / 1.10 |" in said, "means are of what all have played"


def test_a_reference_that_breaks_the_bound_of_the_peak_is_told_apart():
    bar = "bursts: within 2 points of the right number in the second, at 1.5 times its hours"
    beside = "beside what must hold: bursts, where the right number in the second keeps to that peak"
    late = [
        {**one, "kind": "burst", "peak": 9 if one["autoscaler"] == "in-the-second" else 4}
        for one in cell(product=(0.9, 11.0))
    ]
    fine = [{**one, "kind": "burst", "workload": "step"} for one in cell()]
    said = verdict([*late, *fine])
    assert (said[bar], said[beside]) == ("1 of 2", "1 of 1")


@pytest.mark.parametrize(
    ("default", "keda", "ahead"),
    [
        pytest.param((0.99, 11.0), (0.98, 12.0), ["1", "0", "1", "0"], id="the default costs less and is late less"),
        pytest.param((0.99, 11.0), (1.0, 20.0), ["0", "1", "1", "0"], id="who is never late is met by Latency"),
        pytest.param((0.99, 11.0), (1.0, 10.5), ["0", "0", "0", "1"], id="behind is who is behind with both"),
        pytest.param((0.98, 10.0), (0.99, 12.0), ["0", "0", "0", "0"], id="better in one figure is neither"),
    ],
)
def test_an_autoscaler_is_met_by_one_of_two_settings(default, keda, ahead):
    assert beside_keda(*cell(**{"product": default, LATENCY: (1.0, 15.0), "keda": keda})) == ahead


def test_each_setting_of_the_product_is_of_the_same_policy():
    lines = [line(name, 1.0, 1.0, digest=digest) for name, digest in (("product", "a"), (LATENCY, "a"), ("keda", "b"))]
    assert "the policy `a`, the simulator `b`." in versions(lines)
