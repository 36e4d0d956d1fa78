"""The classes and functions that the compiled core works with."""

from __future__ import annotations

import socket
from typing import Any

import trio
from trio.lowlevel import checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

from trio_ws.connection.connection import Connection
from trio_ws.connection.inbox import YIELD_EVERY, Inbox
from trio_ws.connection.reader import MessageReader
from trio_ws.connection.writer import MessageWriter
from trio_ws.native.choice import core
from trio_ws.native.shortcut import cancellation_is_visible
from trio_ws.protocol.codec import CODEC
from trio_ws.protocol.endpoint import Endpoint
from trio_ws.protocol.states import State
from trio_ws.runtime.wakeup import RESUME
from trio_ws.transport.outbox import Outbox
from trio_ws.transport.sockets import SocketTransport
from trio_ws.websocket.context import ConnectionContext

__all__ = ["replace_methods", "wired"]

wired: dict[str, Any] = {}
"""What the core was told; empty if it does not run. The methods of `WebSocket` in it are those in Python."""


def replace_methods(websocket: type) -> None:
    """Replace the methods of the hot path by those of the compiled core, if that runs.

    Args:
        websocket: `WebSocket`, which inherits them; its own stay in use for what is out of the common.
    """
    if core is None:
        return
    wired.update(_wiring(websocket))
    core.wire(wired)
    for name in ("receive", "send", "offer", "__aiter__", "__anext__"):
        setattr(websocket, name, getattr(core.FaceState, name))


def _wiring(websocket: type) -> dict[str, Any]:
    """Return the classes and functions that `struct wiring` in core.h lists.

    Args:
        websocket: the class whose methods in Python do what is out of the common.
    """
    return {
        "inbox": Inbox,
        "outbox": Outbox,
        "socket": SocketTransport,
        "decoder": CODEC.decoder,
        "encoder": CODEC.encoder,
        "endpoint": Endpoint,
        "reader": MessageReader,
        "writer": MessageWriter,
        "channel": Connection,
        "context": ConnectionContext,
        "python_socket": socket.socket,
        "open": State.OPEN,
        "resume": RESUME,
        "current_task": current_task,
        "current_time": trio.current_time,
        "reschedule": reschedule,
        "wait_task_rescheduled": wait_task_rescheduled,
        "checkpoint_if_cancelled": checkpoint_if_cancelled,
        "receive": MessageReader.receive,
        "send": MessageWriter.send,
        "websocket_receive": vars(websocket)["receive"],
        "websocket_anext": vars(websocket)["__anext__"],
        "websocket_send": vars(websocket)["send"],
        "websocket_offer": vars(websocket)["offer"],
        "yield_every": YIELD_EVERY,
        "shortcut": cancellation_is_visible(),
    }
