"""The selector of this platform.

Where there is neither epoll nor kqueue, `make_selector` is None and every connection uses the stream transport.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.transport.selector import Selector

__all__ = ["make_selector"]

make_selector: Callable[[], Selector] | None

if sys.platform == "linux":
    from trio_ws.transport.epoll import EpollSelector

    make_selector = EpollSelector
elif sys.platform == "darwin" or sys.platform.startswith("freebsd"):
    from trio_ws.transport.kqueue import KqueueSelector

    make_selector = KqueueSelector
else:
    make_selector = None
