import gc
import pickle
import sys
from types import SimpleNamespace

import pytest

from llama_serving import engine_process


class Vllm:
    """What of vLLM is looked at."""

    @staticmethod
    def run_engine_core(*arguments, **named):
        return arguments, named


@pytest.fixture(autouse=True)
def collector():
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def vllm(monkeypatch):
    """The class, which is where vLLM has it."""
    made = type("Vllm", (Vllm,), {})
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.core", SimpleNamespace(EngineCoreProc=made))
    return made


def test_the_collector_is_off_from_the_moment_when_the_function_arrives(vllm):
    engine_process.install(vllm)
    sent = pickle.dumps((vllm.run_engine_core, "arguments"))
    assert gc.isenabled(), "it stays on where the process is started from"

    arrived, _ = pickle.loads(sent)  # noqa: S301 - made above

    assert isinstance(arrived, engine_process.Start)
    assert not gc.isenabled()


@pytest.mark.usefixtures("vllm")
def test_the_engine_runs_with_the_collector_and_is_given_what_it_was_sent():
    arrived = pickle.loads(pickle.dumps(engine_process.Start()))  # noqa: S301 - made here

    assert arrived(1, rank=2) == ((1,), {"rank": 2})
    assert gc.isenabled()


def test_a_process_that_is_forked_runs_what_vllm_would_run(vllm):
    for _ in range(2):
        engine_process.install(vllm)

    assert vllm.run_engine_core(1) == ((1,), {})


def test_a_vllm_without_such_a_function_stays_as_it_is(caplog):
    other = type("Other", (), {})

    engine_process.install(other)

    assert not hasattr(other, "run_engine_core")
    assert "another name" in caplog.text
