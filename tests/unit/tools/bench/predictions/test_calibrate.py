"""The committed coefficients reproduce the errors that docs/performance-model.md tells, on points left out of the fit."""

import statistics

import pytest

from bench.predictions import calibrate as calibration
from llama_operator.catalog.figures import performance as facts

POINTS = calibration.read_points()
GROUPS = (*POINTS.steps, *POINTS.runs)


def residuals(source, use):
    chosen = [group for group in GROUPS if (group.source, group.use) == (source, use)]
    return [found for group in chosen for found in calibration.residuals([group], facts.load().engine(group.engine))]


def test_the_document_tells_the_errors_of_the_committed_coefficients():
    assert calibration.tables(POINTS, facts.load().engines) in calibration.DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "mean"), [("AIConfigurator", 0.10), ("MLPerf", 0.12), ("Splitwise", 0.15), ("Measured", 0.10)]
)
def test_held_out_points_are_met_within_what_is_promised(source, mean):
    errors = [abs(found.error) for found in residuals(source, "HeldOut")]
    assert len(errors) >= 8
    assert statistics.mean(errors) <= mean


def test_throughput_of_held_out_runs_is_within_15_percent():
    found = [r for r in residuals("MLPerf", "HeldOut") if r.what == "output tokens per second"]
    assert len(found) == 4
    assert all(abs(residual.error) <= 0.15 for residual in found)


# Worst errors of a running engine, by what is predicted: they are what they are, and may not grow.
@pytest.mark.parametrize(
    ("use", "what", "low", "high"),
    [
        ("Calibration", "prefill", -0.14, 0.0),
        ("HeldOut", "prefill", -0.28, 0.0),
        ("Calibration", "decode", -0.01, 0.04),
        ("HeldOut", "decode", -0.03, 0.05),
        ("HeldOut", "output tokens per second", 0.0, 0.06),
        ("HeldOut", "µs per output token, mean", -0.05, 0.03),
        ("HeldOut", "ms to first token, mean", -0.36, 0.32),
    ],
)
def test_what_was_measured_is_met_within_what_docs_measured_tells(use, what, low, high):
    errors = [found.error for found in residuals("Measured", use) if found.what == what]
    assert errors
    assert low <= min(errors) <= max(errors) <= high


def test_no_length_that_was_measured_is_both_fitted_and_held_out():
    fitted, held = (
        {
            (what, row[:2])
            for g in POINTS.steps
            if (g.source, g.use) == ("Measured", use)
            for what, rows in (("prefill", g.prefill), ("decode", g.decode))
            for row in rows
        }
        for use in ("Calibration", "HeldOut")
    )
    assert fitted
    assert held
    assert not fitted & held


def test_the_held_out_part_has_cards_models_and_sizes_that_the_calibration_never_saw():
    seen = {
        use: {(g.accelerator, g.model, g.tensor) for g in GROUPS if g.use == use} for use in ("Calibration", "HeldOut")
    }
    # What was measured is one engine: a part of its own lengths is left out, and all of its runs.
    published = [g for g in POINTS.steps if g.source != "Measured"]
    steps = {(g.source, g.accelerator, g.model, g.precision, g.tensor): g.use for g in published}
    assert len(steps) == len(published)
    assert {"H200-141GB", "B200-180GB", "L40S-48GB"} <= {a for a, _, _ in seen["HeldOut"]} - {
        a for a, _, _ in seen["Calibration"]
    }
    assert {"llama-3.1-405b", "llama-4-scout"} <= {m for _, m, _ in seen["HeldOut"]} - {
        m for _, m, _ in seen["Calibration"]
    }


def test_a_fit_ends_where_no_coefficient_can_be_bettered():
    part = [g for g in GROUPS if g.engine == "vLLM" and g.use == "Calibration"]
    engine = facts.load().engine("vLLM")
    least = sum(found.loss for found in calibration.residuals(part, engine))
    for name in calibration.FITTED:
        for factor in (0.97, 1.03):
            share = "efficiency" in name
            value = min(1.0, getattr(engine, name) * factor) if share else getattr(engine, name) * factor
            tried = engine.model_copy(update={name: value})
            assert sum(found.loss for found in calibration.residuals(part, tried)) >= least * 0.999, name
