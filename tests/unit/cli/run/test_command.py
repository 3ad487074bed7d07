"""How a run ends that somebody ends: by Ctrl-C, by a service manager, or by closing its terminal."""

import asyncio
import errno
import os
import signal

import pytest
from rich.console import Console

from llama_operator.cli.run import command
from llama_operator.cli.shared.exit_codes import EXIT_INTERRUPTED


class Gone:
    """A terminal that was closed."""

    def write(self, _text):
        raise OSError(errno.EIO, "Input/output error")

    flush = isatty = lambda _self: False


@pytest.fixture
def ends(monkeypatch):
    """What a run that serves tells: that it was started, and that it has cleaned up."""
    told = []

    async def serve(*_arguments):
        told.append("started")
        try:
            os.kill(os.getpid(), told_by)
            await asyncio.sleep(0.2)
            return 0
        finally:
            await asyncio.sleep(0.01)
            told.append("cleaned up")

    def run(number):
        nonlocal told_by
        told_by = number
        monkeypatch.setattr(command, "_serve", serve)
        return asyncio.run(command._run(None, None, None, Console(file=Gone()))), told

    told_by = 0
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_a_run_leaves_nothing_behind_also_without_a_terminal(ends, number):
    assert ends(number) == (EXIT_INTERRUPTED, ["started", "cleaned up"])


def test_a_run_under_nohup_goes_on_without_its_terminal(ends):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ends(signal.SIGHUP) == (0, ["started", "cleaned up"])
    finally:
        signal.signal(signal.SIGHUP, before)
