"""Stages as real processes: what runs beside what, what a failure stops, and that nothing outlives an interruption."""

import os
import re
import signal
import subprocess
import sys
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


def test_an_interruption_ends_what_was_started_whenever_it_comes(tmp_path, said):
    """Also one that comes while a stage is being started."""
    asked = []

    def show(text):
        said.append(text)
        if text == "==> two starts":
            asked.append(signal.SIGINT)

    code = "import time; time.sleep(600)"
    runner = Runner(tmp_path, 2, show, lambda: 64 * GIB, interruptions=lambda: len(asked))
    with pytest.raises(InterruptedError):
        runner.run([stage("one", code), stage("two", code)])
    assert len(runner._running) == 2
    assert all(running.process.poll() is not None for running in runner._running)


def test_a_second_interruption_waits_for_no_one(tmp_path, said):
    """The stage ends at no signal: only the second question ends it."""
    asked = []

    def show(text):
        said.append(text)
        if text.endswith("| up"):
            asked.extend([signal.SIGINT] * 2)

    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    runner = Runner(tmp_path, 2, show, lambda: 64 * GIB, interruptions=lambda: len(asked))
    with pytest.raises(InterruptedError):
        runner.run([stage("deaf", code), stage("other", "import time; time.sleep(600)")])
    assert next(running.process.wait(60) for running in runner._running) == -signal.SIGKILL


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_its_stages(tmp_path, how):
    """The program itself, with a table and a folder of its own: the run that this test belongs to uses the real ones."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from stages import __main__ as program\n"
        "from stages.table import Stage\n"
        "code = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'\n"
        "program.STAGES = [Stage(name, (sys.executable, '-c', code), 0.1, tests=False) for name in ('one', 'two')]\n"
        f"program._FOLDER = Path({str(tmp_path)!r})\n"
        "sys.exit(program.main())\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], env=os.environ | {"PYTHONPATH": str(TOOLS)}, stdout=subprocess.PIPE, text=True
    ) as process:
        up = []
        for line in process.stdout:
            if " | " in line:
                up.append(int(line.partition("|")[2]))
            if len(up) == 2:
                break
        process.send_signal(how)
        said = process.stdout.read()
    assert process.returncode == 130
    assert "all stages have ended" in said
    assert not any(
        psutil.pid_exists(pid) and "time.sleep(600)" in " ".join(psutil.Process(pid).cmdline()) for pid in up
    )


def test_every_test_belongs_to_exactly_one_stage(root):
    """By markers and folders, as the stages select them."""
    expressions = [(each.name, each.command) for each in STAGES if each.tests]
    assert [name for name, _ in expressions] == ["fast", "control-plane", "serving", "local", "e2e"]
    tests = root / "tests"
    texts = [(path.relative_to(tests).parts[0], path.read_text()) for path in tests.rglob("test_*.py")]
    serving = {folder for folder, text in texts if re.search(r"pytest\.mark\.serving\b", text)}
    ends = {folder for folder, text in texts if re.search(r"pytest\.mark\.e2e\b", text)}
    planes = {folder for folder, text in texts if re.search(r"pytest\.mark\.control_plane\b", text)}
    assert planes | {"contract"} == {"control_plane", "chart", "contract"}
    assert serving == {"serving", "local"}
    assert ends == {"e2e"}
