import threading

import pytest

from llama_serving.contract.usage import USAGE_FILES
from llama_serving.desk.usage_log import UsageLog


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


def test_what_comes_after_the_end_is_counted(tmp_path):
    log = UsageLog(tmp_path, "one")
    log.close()
    assert not log.write(b"late")
    assert log.lost == 1
