"""A sample of `make bench-autoscaling`: what was played is kept, and not played again; at least half of the cells are held out."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bench.autoscaling import __main__ as bench
from bench.autoscaling import digests, loads, setups
from bench.autoscaling.basis import basis, rests_on
from bench.autoscaling.cells import WORKLOADS, cells
from bench.autoscaling.play import names_for
from llama_operator.simulate.outcome import REFERENCE
from llama_operator.simulate.traces.named import find

SAMPLE = ["--only", "wave", "--length", "240", "--cold-start", "30", "--seed", "1", "--scaler", "product"]


@pytest.fixture
def played(tmp_path, monkeypatch):
    # Processes would import everything anew.
    monkeypatch.setattr(bench, "ProcessPoolExecutor", ThreadPoolExecutor)
    # To compile takes longer than to play this; `make bench-autoscaling` compares both before it plays, and so does test_compiled.
    monkeypatch.setattr(setups, "PLAYER", REFERENCE)
    monkeypatch.setattr(bench, "compare_loops", lambda: None)

    def run(*more):
        words = [
            *SAMPLE,
            *more,
            "--folder",
            str(tmp_path / "kept"),
            "--document",
            str(tmp_path / "doc.md"),
            "--processes",
            "1",
        ]
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        bench.main()
        return (tmp_path / "doc.md").read_text(encoding="utf-8"), tmp_path / "kept"

    return run


def test_a_sample_is_played_kept_and_written_with_its_losses(played, monkeypatch):
    """One test, since a play takes some ten seconds."""
    text, kept = played("--scaler", "clairvoyant")
    assert "| wave **T** |" in text
    assert f"2 of {len(cells())} cells, 1 of them used for tuning, 1 held out." in text
    file = kept / "wave_30_1.jsonl"
    assert json.loads(file.read_text(encoding="utf-8").splitlines()[0])["autoscaler"] == "product"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    again, _ = played("--scaler", "clairvoyant")
    assert again == text
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before

    monkeypatch.setattr(digests, "digest", lambda name: f"new {name}")
    played("--scaler", "clairvoyant")
    written = [json.loads(line)["digest"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert written[2:] == ["new product", "new clairvoyant"], "lines of other code are not taken"


def test_lines_rest_on_who_arrives_when_and_not_on_how_a_trace_is_read(tmp_path, monkeypatch):
    steady = cells("steady", length=60)[0].workload
    before = basis("product", steady, 1, tmp_path)
    (hashed,) = tmp_path.iterdir()
    loads.arrivals_of.cache_clear()
    monkeypatch.setattr(loads, "trace_of", lambda *_: pytest.fail("what is known is not drawn again"))
    assert basis("product", steady, 1, tmp_path) == before

    # Another reader that says the same, and one that does not.
    for trace, same in ((find(steady.trace, 1), True), (find(steady.trace, 2), False)):
        loads.arrivals_of.cache_clear()
        monkeypatch.setattr(digests, "traces", lambda trace=trace: f"new {len(trace.arrivals)}")
        monkeypatch.setattr(loads, "trace_of", lambda *_, trace=trace: trace)
        assert rests_on(before, basis("product", steady, 1, tmp_path)) == same
        assert json.loads(hashed.read_text(encoding="utf-8"))["traces"].startswith("new")
    loads.arrivals_of.cache_clear()


def test_a_trace_that_is_not_there_says_nothing_against_a_line(tmp_path, monkeypatch):
    workload = replace(WORKLOADS[0], file="nowhere")
    line = {**basis("product", workload, 1, tmp_path), "arrivals": "what was played"}
    assert rests_on(line, basis("product", workload, 1, tmp_path))
    assert not rests_on({**line, "defined": "another"}, basis("product", workload, 1, tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_change_of_comments_or_marks_plays_nothing_again_and_one_of_code_does():
    same = '"""A text."""\nx = 1  # one\n'
    assert digests.code(same) == digests.code('"""Another."""\n\nx = (\n    1\n)\n') != digests.code("x = 2")
    step = WORKLOADS[0]
    assert digests.definition(step) == digests.definition(replace(step, tuning=True, name="other", weeks=True))
    assert digests.definition(step) != digests.definition(replace(step, minimum=0))


def test_seeds_after_the_first_are_played_by_the_product_and_its_yardsticks():
    first, second = (next(cell for cell in cells("step") if cell.seed == seed) for seed in (1, 2))
    assert names_for(first, ("product", "keda")) == ("product", "keda")
    assert names_for(second, ("product", "keda", "clairvoyant")) == ("product", "clairvoyant")


def test_at_least_half_of_the_cells_are_held_out():
    every = cells()
    assert sum(cell.tuning for cell in every) * 2 <= len(every)
    assert len({cell.name for cell in every}) == len(every)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.name)
def test_every_workload_has_a_setup(workload):
    setup, _ = setups.setup_for(workload, 120.0)
    assert setup.gpus in {2, 4}


@pytest.mark.parametrize(
    "workload",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.traces] if one.file else [])
        for one in WORKLOADS
        if not one.file.endswith("tar.gz")
    ],
)
def test_every_workload_has_a_trace(workload):
    assert loads.trace_of(cells(workload.name, length=180)[0].workload, 1).arrivals
