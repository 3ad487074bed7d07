"""Stages as real processes: what runs beside what, what a failure stops, and that nothing outlives an interruption."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.report import closing_line
from stages.runner import Runner
from stages.table import STAGES, Stage
from stages.usage import GIB

TOOLS = Path(__file__).resolve().parents[4] / "tools"


@pytest.fixture
def said():
    return []


@pytest.fixture
def runner(tmp_path, said):
    def make(*, gib=64.0, at_once=2):
        return Runner(tmp_path / "stages", at_once, said.append, lambda: int(gib * GIB))

    return make


def stage(name, code, *, memory=1.0, quick=False):
    return Stage(name, (sys.executable, "-c", code), memory, quick, tests=False)


def meets(folder, mine, other):
    """A program that ends well only if another runs at the same time."""
    return (
        "import pathlib, time\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        f"(folder / {mine!r}).touch()\n"
        "end = time.monotonic() + 60\n"
        f"while not (folder / {other!r}).exists() and time.monotonic() < end: time.sleep(0.02)\n"
        f"assert (folder / {other!r}).exists()\n"
    )


def alone(folder, name):
    """A program that fails if another of its kind runs at the same time."""
    return (
        "import os, pathlib, time\n"
        f"lock = pathlib.Path({str(folder)!r}) / 'lock'\n"
        "os.close(os.open(lock, os.O_CREAT | os.O_EXCL))\n"
        "time.sleep(0.3)\n"
        f"print('{name} was alone')\n"
        "lock.unlink()\n"
    )


def test_stages_run_side_by_side_and_what_they_say_bears_their_name(runner, said, tmp_path):
    pair = [
        stage("one", meets(tmp_path, "a", "b") + "print('hello')"),
        stage("two", meets(tmp_path, "b", "a") + "print('hello')"),
    ]
    assert [result.good for result in runner().run(pair)] == [True, True]
    assert {line.partition(" ")[0] for line in said if line.endswith("| hello")} == {"one", "two"}


def test_a_stage_waits_for_the_memory_that_it_states(runner, said, tmp_path):
    pair = [stage("one", alone(tmp_path, "one"), memory=3), stage("two", alone(tmp_path, "two"), memory=3)]
    assert [result.good for result in runner(gib=5).run(pair)] == [True, True]
    assert any("two needs 3 GiB" in line for line in said)


def test_with_too_little_memory_for_any_one_runs_alone(runner, tmp_path):
    pair = [stage("one", alone(tmp_path, "one"), memory=30), stage("two", alone(tmp_path, "two"), memory=30)]
    assert [result.good for result in runner(gib=5).run(pair)] == [True, True]


def test_after_a_failure_of_a_quick_stage_the_others_are_not_started(runner):
    stages = [stage("fast", "raise SystemExit(3)", quick=True), stage("slow", "pass")]
    fast, slow = runner().run(stages)
    assert (fast.status, slow.status) == (3, None)
    assert closing_line([fast, slow]) == "0 passed, 1 failed"


def test_a_failure_is_shown_in_one_piece(runner, said):
    code = "print('..F'); print('===== FAILURES ====='); print('what failed'); raise SystemExit(1)"
    runner().run([stage("bad", code), stage("good", "pass")])
    assert "==> bad says:\n===== FAILURES =====\nwhat failed" in said


def test_counts_come_from_pytest_itself(runner, tmp_path):
    module = tmp_path / "test_three.py"
    module.write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 0\n"
        "@pytest.mark.skip\n"
        "def test_left(): pass\n"
        "@pytest.fixture\n"
        "def broken(): raise ValueError\n"
        "def test_broken(broken): pass\n"
    )
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(module))
    (result, _) = runner().run([Stage("own", command), stage("other", "pass")])
    assert not result.good
    assert (result.counts.passed, result.counts.failed, result.counts.skipped) == (1, 2, 1)
    assert closing_line([result]) == "1 passed, 2 failed, 1 skipped"
    # Where only the end of an output is kept, this says which tests failed and why.
    bad, broken = result.failures
    assert "::test_bad" in bad
    assert "assert 0" in bad
    assert "::test_broken" in broken
    assert "ValueError" in broken


def test_a_stage_that_breaks_down_without_a_report_counts_as_a_failure(runner):
    (result, _) = runner().run([Stage("own", (sys.executable, "-c", "raise SystemExit(4)")), stage("other", "pass")])
    assert (result.status, result.counts.failed) == (4, 1)


def test_memory_of_descendants_counts_when_their_parents_have_ended(runner, tmp_path):
    grandchild = "import time; block = bytearray(200 * 2**20); time.sleep(5)"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(3)"
    (result, _) = runner().run([stage("own", code), stage("other", "import time; time.sleep(5)")])
    assert result.peak > 200 * 2**20


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_everything(tmp_path, how):
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from stages.runner import Runner\n"
        "from stages.table import Stage\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "code = 'import time; print(\"up\", flush=True); time.sleep(600)'\n"
        "stages = [Stage(name, (sys.executable, '-c', code), 0.1, tests=False) for name in ('one', 'two')]\n"
        f"Runner(Path({str(tmp_path)!r}), 2, lambda text: sys.stdout.write(text + '\\n') and sys.stdout.flush()).run(stages)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(program)], env=os.environ | {"PYTHONPATH": str(TOOLS)}, stdout=subprocess.PIPE, text=True
    )
    up = 0
    for line in process.stdout:
        up += "| up" in line
        if up == 2:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    process.send_signal(how)
    process.wait(120)
    process.stdout.close()
    end = time.monotonic() + 60
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < end, "a stage outlives the runner"
        time.sleep(0.1)


def test_every_test_belongs_to_exactly_one_stage(root):
    """By markers and folders, as the stages select them."""
    expressions = [(each.name, each.command) for each in STAGES if each.tests]
    assert [name for name, _ in expressions] == ["fast", "control-plane", "serving", "e2e", "local"]
    texts = [(path.parent.name, path.read_text()) for path in (root / "tests").rglob("test_*.py")]
    serving = {folder for folder, text in texts if re.search(r"pytest\.mark\.serving\b", text)}
    ends = {folder for folder, text in texts if re.search(r"pytest\.mark\.e2e\b", text)}
    planes = {folder for folder, text in texts if re.search(r"pytest\.mark\.control_plane\b", text)}
    assert planes | {"contract"} == {"control_plane", "chart", "contract"}
    assert serving == {"serving", "local"}
    assert ends == {"e2e"}
