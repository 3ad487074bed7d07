"""When a copy hangs, and what its log says meanwhile."""

import pytest

from llama_serving.weights.errors import without_secrets
from llama_serving.weights.watching import FLOOR_BYTES, Progress, Stall

MANY = 100 * FLOOR_BYTES


@pytest.mark.parametrize(
    ("seen", "hangs"),
    [
        ([(99, 0, 0)], False),
        ([(100, 0, 0)], True),
        ([(50, FLOOR_BYTES, 0), (149, FLOOR_BYTES, 0)], False),
        ([(50, FLOOR_BYTES, 0), (150, FLOOR_BYTES, 0)], True),
        # A trickle is none; small files that end are.
        ([(50, FLOOR_BYTES // 2, 0), (100, FLOOR_BYTES - 1, 0)], True),
        ([(50, 10, 1), (100, 20, 2)], False),
        # A file that begins again is moving.
        ([(10, MANY, 0), (100, MANY // 2, 0), (150, MANY // 2 + FLOOR_BYTES, 0)], False),
    ],
)
def test_nothing_moves_when_neither_bytes_come_nor_files_end(seen, hangs):
    stall = Stall(seconds=100, since=0)
    assert [stall.is_stalled(*each) for each in seen][-1] is hangs


def test_a_line_says_how_far_it_is_and_how_long_it_takes():
    progress = Progress(started=0)
    assert "list of files" in progress.line(10)
    progress = Progress(
        started=0, files=30, bytes=141 * 10**9, ended=9, copied=40 * 10**9, held=20 * 10**9, on_way=10**9
    )
    # What was held before is no part of the speed.
    assert progress.line(100) == "9 of 30 files, 41.0 GB of 141.0 GB, 210.0 MB a second, about 8 min left"
    progress = Progress(started=0, files=2, bytes=10, ended=2, copied=10)
    assert progress.line(1) == "2 of 2 files, 10 bytes of 10 bytes"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("token secret-of-mine was refused", "token *** was refused"),
        ("hf_abcdefghijkl is old", "*** is old"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("GET https://cdn.example/a/b?X-Amz-Signature=abc&x=1: 403", "GET https://cdn.example/a/b?*** 403"),
        ("two\nlines", "two lines"),
    ],
)
def test_words_of_libraries_lose_their_secrets(said, shown):
    assert without_secrets(said, "secret-of-mine") == shown
