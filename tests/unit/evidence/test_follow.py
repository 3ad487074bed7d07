"""The container that shows evidence and nothing else: each line comes out once and whole, whatever happens to the file."""

import io
import signal
import subprocess
import sys

import pytest

from llama_operator.evidence.follow import Follower, follow
from llama_operator.evidence.sink import EvidenceFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evidence.jsonl"


@pytest.fixture
def out():
    return io.BytesIO()


def test_each_line_comes_out_once_and_in_order(path, out):
    sink, follower = EvidenceFile(path), Follower(path, out)
    follower.look()
    for number in range(5):
        sink.write(b"line %d\n" % number)
        follower.look()
        follower.look()
    assert out.getvalue() == b"".join(b"line %d\n" % number for number in range(5))


def test_a_line_that_is_being_written_comes_when_it_is_whole(path, out):
    follower = Follower(path, out)
    path.write_bytes(b"one\ntw")
    follower.look()
    assert out.getvalue() == b"one\n"
    with path.open("ab") as file:
        file.write(b"o\n")
    follower.look()
    assert out.getvalue() == b"one\ntwo\n"


def test_a_follower_that_is_started_again_goes_on_where_the_last_one_was(path, out):
    sink = EvidenceFile(path)
    sink.write(b"one\n")
    Follower(path, out).look()
    sink.write(b"two\n")
    Follower(path, out).look()
    assert out.getvalue() == b"one\ntwo\n"


def test_a_large_file_is_renamed_and_no_line_is_lost(path, out):
    sink, follower = EvidenceFile(path), Follower(path, out, largest=20)
    lines = [b"line %d\n" % number for number in range(20)]
    for line in lines:
        sink.write(line)
        follower.look()
    assert out.getvalue() == b"".join(lines)
    assert path.with_name("evidence.jsonl.1").stat().st_size < 30


def test_a_line_that_is_written_to_the_renamed_file_comes_too(path, out):
    follower = Follower(path, out, largest=4)
    with path.open("ab") as late:
        late.write(b"one\n")
        late.flush()
        follower.look()
        late.write(b"two\n")
    EvidenceFile(path).write(b"three\n")
    follower.look()
    assert out.getvalue() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("mark", ["", "x y", "1", "\x00"])
def test_a_mark_that_cannot_be_read_prints_all_again(path, out, mark):
    EvidenceFile(path).write(b"one\n")
    path.with_name("evidence.jsonl.printed").write_text(mark)
    Follower(path, out).look()
    assert out.getvalue() == b"one\n"


def test_the_last_lines_come_also_if_it_is_asked_to_stop(path, out):
    sink, follower = EvidenceFile(path), Follower(path, out)
    rounds = iter([False, True])
    follow(follower, lambda: next(rounds), lambda _: sink.write(b"last\n"))
    assert out.getvalue() == b"last\n"


def test_the_program_prints_until_it_is_asked_to_stop(path):
    command = [sys.executable, "-m", "llama_operator.evidence.follow", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            EvidenceFile(path).write(b"one\n")
            assert process.stdout.readline() == b"one\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    done = subprocess.run(command[:-1], capture_output=True, check=False)
    assert done.returncode == 2
