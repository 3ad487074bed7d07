"""The words with which an engine failed, from the log of its process; the logs are recorded (`make record`)."""

import os

import pytest

from llama_serving.engine.last_words import last_words, since
from llama_serving.engine.own_log import mark
from support import recordings

LOGGED = [
    name
    for name in recordings.ENGINES
    if "the engine did not start" in str(recordings.engine(name)["applicationStatuses"])
]
"""Those whose process failed; others fail before there is one, or after it has served."""
FRAMES = """(EngineCore pid=9) INFO 11-26 22:13:40 [core.py:133] Initializing
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953] WorkerProc failed to start.
(EngineCore pid=9) ERROR 11-26 22:13:44 [core.py:1510] EngineCore failed to start.
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953] Traceback (most recent call last):
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953]   File "a.py", line 1, in f
(EngineCore pid=9) ERROR 11-26 22:13:44 [core.py:1510] Traceback (most recent call last):
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953]     g()
(EngineCore pid=9) ERROR 11-26 22:13:44 [core.py:1510]   File "b.py", line 1, in h
(EngineCore pid=9) ERROR 11-26 22:13:44 [core.py:1510] Exception: WorkerProc initialization failed.
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953] KeyError: 'weights'
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953]
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953] The above exception was the direct cause of the following:
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953]
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953] Traceback (most recent call last):
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953]   File "a.py", line 2, in f
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953] ValueError: no weights
(Worker_TP1 pid=12) ERROR 11-26 22:13:44 [multiproc_executor.py:953]   in this folder
"""


@pytest.mark.parametrize("name", LOGGED)
def test_what_a_process_logged_is_what_serve_then_says(name):
    said = last_words(recordings.engine(name)["log"].splitlines())
    assert said
    assert "Traceback" not in said
    assert any(said in part.message for part in recordings.engine_service(name).deployments)


def test_the_process_that_failed_first_counts_though_others_write_between_its_lines():
    assert last_words(FRAMES.splitlines()) == "ValueError: no weights in this folder; before that: KeyError: 'weights'"


@pytest.mark.parametrize("text", ["", "all is well", "(EngineCore pid=9) ERROR 11-26 22:13:44 [core.py:1] no trace"])
def test_where_nothing_says_why_nothing_is_told(text):
    assert last_words(text.splitlines()) == ""


def test_only_what_came_after_the_mark_counts(tmp_path):
    log = tmp_path / "worker.out"
    log.write_text(FRAMES, encoding="utf-8")
    with log.open("ab") as file:
        place = mark(file.fileno())
        assert since(place, file.fileno()) == ""
        log.write_text(FRAMES + FRAMES.replace("KeyError", "IndexError"), encoding="utf-8")
        assert "IndexError" in since(place, file.fileno())
        log.write_text(FRAMES, encoding="utf-8")
        assert "KeyError" in since(place + 1, file.fileno()), "another file in its place"


def test_a_log_that_is_no_file_tells_nothing():
    reading, writing = os.pipe()
    try:
        assert (mark(writing), since(0, writing)) == (0, "")
    finally:
        os.close(reading)
        os.close(writing)
