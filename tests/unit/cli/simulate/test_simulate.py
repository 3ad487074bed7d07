"""`kubectl llama simulate`: a table for people, JSON for programs, pictures, and errors that name what is wrong."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llama_operator.cli.main import main

MANIFEST = str(Path(__file__).parents[4] / "tools" / "bench" / "autoscaling" / "autoscaling.yaml")
TRACE = "step:low=5,high=30,at=60,length=180"


@pytest.fixture
def simulate(capsys):
    def run(*options, trace=TRACE):
        code = main(["simulate", "-f", MANIFEST, "--trace", trace, "--cold-start", "30", *options])
        return code, *capsys.readouterr()

    return run


def test_json_has_a_run_for_each_autoscaler_and_seed(simulate):
    code, out, _ = simulate("-o", "json", "--scaler", "product", "--scaler", "keda", "--seeds", "2")
    found = json.loads(out)
    assert code == 0
    assert [(one["autoscaler"], one["seed"]) for one in found["runs"]] == [
        ("product", 1), ("keda", 1), ("product", 2), ("keda", 2)
    ]  # fmt: skip
    run = found["runs"][0]
    assert 0 <= run["attainment"] <= 1
    assert run["gpuHours"] > 0
    assert {len(curve) for curve in run["curves"].values()} == {181}
    assert found["coldStartSeconds"] == 30
    assert found["gpusPerReplica"] == 2


def test_the_table_has_the_yardsticks_and_a_sketch_with_the_reasons_of_changes(simulate):
    code, out, _ = simulate("--max-replicas", "20")
    assert code == 0
    for word in ("product", "fixed", "clairvoyant", "in-the-second", "queue │", "up: ", "WITHIN 2 s"):
        assert word in out


def test_all_plays_every_autoscaler(simulate):
    _, out, _ = simulate("--all", "-o", "json", trace="steady:high=10,length=60")
    assert {"kpa", "apa", "ray-serve", "forecast"} < {one["autoscaler"] for one in json.loads(out)["runs"]}


def test_other_settings_of_the_product_stand_beside_those_of_the_manifest(simulate):
    _, out, _ = simulate("--settings", "-o", "json", trace="steady:high=12,length=240")
    runs = {one["autoscaler"]: one for one in json.loads(out)["runs"]}
    assert list(runs) == [
        "product",
        "product:preference=Cost",
        "product:preference=Latency",
        "product:reserve=1",
        "product:minReplicas=2",
        "fixed",
        "in-the-second",
        "clairvoyant",
    ]
    assert runs["product:preference=Latency"]["gpuHours"] > runs["product"]["gpuHours"]
    assert runs["product:reserve=1"]["gpuHours"] > runs["product"]["gpuHours"]
    assert min(runs["product:minReplicas=2"]["curves"]["held"]) == 2


def test_other_settings_stand_beside_those_of_the_manifest_also_where_another_autoscaler_is_named(simulate):
    _, out, _ = simulate("--settings", "--scaler", "fixed", "-o", "json", trace="steady:high=2,length=60")
    names = [one["autoscaler"] for one in json.loads(out)["runs"]]
    assert names[0] == "product"
    assert names[-1] == "fixed"


def test_settings_of_ones_own_are_played_and_named(simulate):
    calm = "steady:high=2,length=120"
    own = "product:minReplicas=3,maxReplicas=4,reserve=1,preference=Cost"
    _, out, _ = simulate(
        "--scaler", own, "--scaler", "fixed:replicas=3", "--scaler", "clairvoyant", "-o", "json", trace=calm
    )
    runs = {one["autoscaler"]: one for one in json.loads(out)["runs"]}
    assert set(runs) == {own, "fixed:replicas=3", "clairvoyant"}
    assert 3 <= min(runs[own]["curves"]["held"]) <= runs[own]["peakReplicas"] <= 4
    assert set(runs["fixed:replicas=3"]["curves"]["held"]) == {3}
    assert own in simulate("--scaler", own, trace=calm)[1]


def test_a_terminal_sees_what_is_played_and_how_long_it_takes_and_a_file_does_not(simulate, monkeypatch):
    _, _, err = simulate("--scaler", "product", trace="steady:length=60")
    assert err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, err = simulate("--scaler", "product", trace="steady:length=60")
    assert "reading" in err
    assert "playing" not in out


def test_requests_beyond_the_context_are_counted_apart_and_are_no_work(simulate, tmp_path):
    rows = [f"{second},1000,100" for second in range(120)]
    plain, mixed = tmp_path / "plain.csv", tmp_path / "mixed.csv"
    header = "time,prompt_tokens,output_tokens\n"
    plain.write_text(header + "\n".join(rows))
    mixed.write_text(header + "\n".join(rows + [f"{second}.5,100000,100" for second in range(60)]))
    found = {}
    for path in (plain, mixed):
        _, out, _ = simulate("-o", "json", "--scaler", "product", trace=f"{path}")
        (found[path.stem],) = json.loads(out)["runs"]
    assert (found["plain"]["tooLong"], found["mixed"]["tooLong"]) == (0, 60)
    assert found["mixed"]["peakNeed"] == found["plain"]["peakNeed"] == 1
    assert "more than 32,768 tokens" in simulate("--scaler", "product", trace=f"{mixed}")[1]


def test_all_too_long_is_no_load(simulate):
    code, _, err = simulate(trace="steady:high=1,length=60,prompt=40000")
    assert code == 2
    assert "have more than 32,768 tokens" in err


def test_a_manifest_that_fixes_the_number_can_be_played_with_other_settings(simulate):
    code, out, _ = simulate("--settings", "--max-replicas", "1", "-o", "json", trace="steady:high=1,length=60")
    assert code == 0
    assert not [one for one in json.loads(out)["runs"] if "minReplicas" in one["autoscaler"]]


def test_a_picture_of_a_trace_with_an_odd_name_is_one(simulate, tmp_path):
    path, picture = tmp_path / "a\x1b<b>.csv", tmp_path / "run.svg"
    path.write_text("time\n0.5\n1\n")
    simulate("--scaler", "product", "--picture", str(picture), trace=f"{path}")
    assert "a\\x1b<b>.csv" in "".join(ET.fromstring(picture.read_text(encoding="utf-8")).itertext())  # noqa: S314 - ours


def test_a_name_with_colons_is_shown_as_it_is(simulate, tmp_path):
    path = tmp_path / "a:b:.csv"
    path.write_text("time\n0.5\n1\n")
    assert "a:b:" in simulate("--scaler", "product", trace=f"{path}")[1]


def test_pictures_are_svg(simulate, tmp_path):
    curve, front = tmp_path / "run.svg", tmp_path / "front.svg"
    simulate("--svg", str(curve), "--pareto", str(front))
    for path in (curve, front):
        root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - we wrote it
        assert root.tag.endswith("svg")
        assert "default/chat-70b" in "".join(root.itertext())
    assert "clairvoyant" in front.read_text(encoding="utf-8")


def test_a_picture_whose_name_ends_so_is_a_png(simulate, tmp_path):
    simulate("--picture", str(tmp_path / "run.PNG"), "--pareto", str(tmp_path / "front.png"), trace="steady:length=60")
    for name in ("run.PNG", "front.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_bounds_that_contradict_are_refused_before_a_trace_is_read(simulate):
    code, _, err = simulate("--scaler", "product:minReplicas=50", trace="nowhere.csv")
    assert (code, "minReplicas 50 is above maxReplicas 40" in err) == (2, True)


def test_without_the_extra_a_png_is_refused_before_anything_is_played(simulate, tmp_path, monkeypatch):
    monkeypatch.setattr("llama_operator.cli.simulate.command.find_spec", lambda _: None)
    code, _, err = simulate("--picture", str(tmp_path / "run.png"), trace="nowhere.csv")
    assert code == 2
    assert "llama-operator[pictures]" in err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--picture", "wave.pdf"], "a name that ends with .svg or .png"),
        (["--picture", ""], "--picture"),
        (["--picture", "/tmp"], "--picture"),
        (["--picture", "a.svg", "--pareto", "a.svg"], "another name"),
        (["--cold-start", "inf"], "--cold-start"),
        (["--first-token", "inf"], "--first-token"),
        (["--scaler", "fixed:replicas=100000000"], "a number from 1 to 1024"),
        (["--scaler", "product:reserve=" + "9" * 5000], "a number from 0 to 1024"),
        (["--scaler", "product:reserve=1,reserve=2"], "said twice"),
        (["--scaler", "magic"], "--scaler"),
        (["--scaler", "keda:replicas=2"], "only product and fixed have any"),
        (["--scaler", "product:replicas=2"], "one of preference, reserve, minReplicas, maxReplicas"),
        (["--scaler", "product:preference=Fast"], "one of Cost, Balanced, Latency"),
        (["--scaler", "product:reserve=-1"], "a number from 0 to 1024"),
        (["--scaler", "product:maxReplicas=0"], "a number from 1 to 1024"),
        (["--scaler", "fixed:replicas="], "a number from 1 to 1024"),
        (["--scaler", "product:minReplicas=50"], "minReplicas 50 is above maxReplicas 40"),
        (["--seeds", "0"], "--seeds"),
        (["--max-replicas", "0"], "--max-replicas"),
        (["--first-token", "0"], "--first-token"),
        (["--failing-starts", "100"], "--failing-starts"),
        (["--svg", "/nowhere/x.svg"], "--picture"),
        (["--pareto", "/nowhere/x.png"], "--pareto"),
        (["--begins", "2026-11-30T07:30"], "--begins"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(simulate, options, word):
    code, _, err = simulate(*options)
    assert code != 0
    assert word in err


def test_a_card_without_a_known_speed_is_refused(capsys):
    sample = str(Path(MANIFEST).parents[3] / "manifests" / "samples" / "tiny-cpu.yaml")
    assert main(["simulate", "-f", sample, "--trace", TRACE]) != 0
    assert "spec.hardware.accelerator" in capsys.readouterr().err


OFFICE = """
    schedule:
      timeZone: Europe/Berlin
      windows:
      - {name: office, from: "08:00", to: "18:00", minReplicas: 3, days: [Monday]}
"""


@pytest.fixture
def scheduled(capsys, tmp_path):
    """The deployment of the bench with three replicas in the office's hours."""

    def run(*options):
        manifest = tmp_path / "office.yaml"
        text = Path(MANIFEST).read_text(encoding="utf-8")
        assert text.count("  scaling:\n") == 1
        manifest.write_text(text.replace("  scaling:\n", f"  scaling:{OFFICE}"), encoding="utf-8")
        trace = "steady:high=0.1,length=1800"
        given = ("-f", str(manifest), "--trace", trace, "--cold-start", "30", "--scaler", "product", *options)
        return main(["simulate", *given]), *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("begins", "least_at_the_end"),
    [
        # The hour changes in the middle of the run; Berlin is an hour ahead of UTC in November.
        ("2026-11-30T07:45", 3),
        ("2026-11-30T06:45+00:00", 3),
        ("2026-11-30T18:45", 1),
        ("2026-12-01T07:45", 1),
    ],
)
def test_a_schedule_is_played_from_the_time_at_which_the_trace_begins(scheduled, begins, least_at_the_end):
    code, out, _ = scheduled("-o", "json", "--begins", begins)
    found = json.loads(out)
    assert code == 0
    assert found["trace"]["begins"] == begins
    ready = found["runs"][0]["curves"]["ready"]
    assert (ready[0], ready[-1]) == (1, least_at_the_end)


def test_a_run_begins_with_the_fewest_replicas_of_its_hour(scheduled):
    _, out, _ = scheduled("-o", "json", "--begins", "2026-11-30T08:30")
    (run,) = json.loads(out)["runs"]
    assert (run["peakNeed"], run["curves"]["ready"][0]) == (3, 3)


@pytest.mark.parametrize("begins", ["9999-12-31T23:59", "0001-01-01T00:00+14:00"])
def test_a_year_that_has_no_hours_is_refused(scheduled, begins):
    code, _, err = scheduled("--begins", begins)
    assert (code, "--begins" in err) == (2, True)


def test_without_a_time_the_table_says_that_the_hours_are_left_out(scheduled):
    assert "--begins" in scheduled()[1]
    assert "from 2026-11-30T07:45 on" in scheduled("--begins", "2026-11-30T07:45")[1]


def test_a_time_that_is_none_is_refused_with_an_example(scheduled):
    code, _, err = scheduled("--begins", "Monday")
    assert code != 0
    assert "2026-11-30T07:30" in err
