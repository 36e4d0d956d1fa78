"""The end of a process whose supervisor has ended.

A thread waits for it: a module that is still imported and an event loop that hangs would not see it.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

from trio_ws.server.signals import print_line

__all__ = ["END_SECONDS", "OrphanWatch"]

END_SECONDS: Final = 10.0
"""Seconds for an application's shutdown, in addition to the maximum of its server's shutdown."""


class OrphanWatch:
    """Sends SIGTERM to this process when its supervisor ends, and SIGKILL if it goes on.

    Args:
        link: descriptor of a pipe or a socket whose other end only the supervisor has.
        report: called with a line of output, None for none.
    """

    def __init__(self, link: int, report: Callable[[str], None] | None = print_line) -> None:
        os.set_inheritable(link, False)  # a child process of the application must not keep it open
        self.max_shutdown_seconds: float = 0.0
        """The maximum of the server's shutdown, 0 before it accepts connections."""
        self._link = os.dup(link)
        self._report = report

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._run, name="trio_ws supervisor watch", daemon=True).start()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        poll = select.poll()
        poll.register(self._link, select.POLLIN)  # and the end, which is never masked
        poll.poll()
        if self._report is not None:
            self._report("the supervisor has ended, shutting down")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self.max_shutdown_seconds + END_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)
