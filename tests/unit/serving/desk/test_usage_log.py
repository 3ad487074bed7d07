import subprocess
import sys
import threading
import time

import pytest

from llama_serving.contract.usage import USAGE_FILES
from llama_serving.desk.usage_log import UsageLog


def until(happens):
    for _ in range(1000):
        if happens():
            return
        time.sleep(0.01)
    raise AssertionError("it does not happen")


def lines_in(folder):
    return [line for path in sorted(folder.glob(USAGE_FILES)) for line in path.read_bytes().splitlines()]


def test_lines_are_written_in_their_order_by_the_time_it_is_closed(tmp_path):
    log = UsageLog(tmp_path / "new" / "folder", "replica#1/x")
    lines = [b"%d" % number for number in range(5000)]
    assert all(log.write(line) for line in lines)
    log.close()
    assert lines_in(tmp_path / "new" / "folder") == lines
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["llama-usage-replica_1_x-000001.jsonl"]
    assert log.lost == 0


def test_files_have_a_size_and_the_oldest_goes(tmp_path):
    log = UsageLog(tmp_path, "one", file_bytes=100, files=3)
    for number in range(100):
        log.write(b"%09d" % number)
    log.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.stat().st_size == 100 for path in tmp_path.iterdir())
    assert lines_in(tmp_path) == [b"%09d" % number for number in range(70, 100)]


def test_two_replicas_write_beside_each_other(tmp_path):
    logs = [UsageLog(tmp_path, name) for name in ("one", "two")]
    for log in logs:
        log.write(b"x")
        log.close()
    assert lines_in(tmp_path) == [b"x", b"x"]


def test_what_does_not_fit_is_counted_and_nobody_waits(tmp_path, monkeypatch):
    gate = threading.Event()
    write = UsageLog._write

    def slow(self, lines):
        gate.wait()
        write(self, lines)

    monkeypatch.setattr(UsageLog, "_write", slow)
    log = UsageLog(tmp_path, "one", capacity=10)
    taken = [log.write(b"x") for _ in range(2000)]
    assert log.lost == taken.count(False) > 0
    gate.set()
    log.close()
    assert len(lines_in(tmp_path)) == taken.count(True)


@pytest.mark.parametrize("obstacle", ["a file in the way"])
def test_a_disk_that_takes_nothing_is_counted_and_ends_nothing(tmp_path, obstacle):
    blocked = tmp_path / "folder"
    blocked.write_text(obstacle)
    log = UsageLog(blocked, "one")
    log.write(b"lost")
    while log.lost == 0:
        pass
    blocked.unlink()
    log.write(b"kept")
    log.close()
    assert lines_in(blocked) == [b"kept"]
    assert log.lost == 1


def test_a_full_disk_is_counted_and_costs_no_line_of_before(tmp_path):
    log = UsageLog(tmp_path, "one", file_bytes=20, files=2)
    for number in range(8):
        log.write(b"%09d" % number)
    until(lambda: lines_in(tmp_path) == [b"%09d" % number for number in range(4, 8)])
    full = tmp_path / "llama-usage-one-000005.jsonl"
    full.symlink_to("/dev/full")
    for number in range(10):
        log.write(b"lost")
        until(lambda: log.lost == number + 1)  # noqa: B023 - asked before the next one
    full.unlink()
    assert lines_in(tmp_path) == [b"%09d" % number for number in range(4, 8)]
    log.write(b"kept")
    log.close()
    assert lines_in(tmp_path) == [b"%09d" % number for number in (6, 7)] + [b"kept"]
    assert log.lost == 10


def test_a_line_that_a_disk_took_half_of_spoils_no_other(tmp_path):
    # A limit of the file's size stands for a disk that becomes full within a line.
    code = """
import resource, signal, sys, time
from pathlib import Path
from llama_serving.desk.usage_log import UsageLog

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = UsageLog(Path(sys.argv[1]), "one")
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
for number in range(4):
    log.write(b"%09d" % number)
while not log.lost:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write(b"kept")
log.close()
print(log.lost)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert lines_in(tmp_path) == [b"000000000", b"000000001", b"00000", b"kept"]
    assert done.stdout.split() == ["2"]


def test_what_comes_after_the_end_is_counted(tmp_path):
    log = UsageLog(tmp_path, "one")
    log.close()
    assert not log.write(b"late")
    assert log.lost == 1
