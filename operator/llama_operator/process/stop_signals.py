"""SIGTERM and SIGINT: the first asks for a graceful end, the second for one at once. Used by `process.operator`."""

import asyncio
import signal
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Turns signals into events of the running loop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        """The process should end."""
        self.insisted = asyncio.Event()
        """It should end now."""

    def install(self) -> None:
        """Handle the signals. Call it again after a library has installed its own handlers."""
        loop = asyncio.get_running_loop()
        for each in _SIGNALS:
            loop.add_signal_handler(each, self.receive)

    def receive(self) -> None:
        """Count a signal."""
        if self.asked.is_set():
            self.insisted.set()
        self.asked.set()
