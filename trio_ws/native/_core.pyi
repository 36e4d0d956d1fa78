from typing import Any

import trio

from trio_ws.native.state import ChannelState as ChannelState
from trio_ws.native.state import ClosingState as ClosingState
from trio_ws.native.state import ContextState as ContextState
from trio_ws.native.state import DeadlineState as DeadlineState
from trio_ws.native.state import DecoderState as DecoderState
from trio_ws.native.state import EncoderState as EncoderState
from trio_ws.native.state import EndpointState as EndpointState
from trio_ws.native.state import FaceState as FaceState
from trio_ws.native.state import InboxState as InboxState
from trio_ws.native.state import OutboxState as OutboxState
from trio_ws.native.state import ReaderState as ReaderState
from trio_ws.native.state import SocketState as SocketState
from trio_ws.native.state import WriterState as WriterState

INTERFACE: int

class Partial:
    def take(self) -> tuple[int, int, bytes | None, bytes]: ...

class Receive: ...
class Send: ...

def commit(writer: WriterState, data: str | bytes, /) -> bool: ...
def commit_frame(writers: list[Any], frame: bytes, hold: bool, /) -> list[int]: ...
def wire(arguments: dict[str, Any], /) -> None: ...
def poll(
    epoll: int, batch: int, transports: list[Any], buffer: memoryview, now: float, /
) -> tuple[int, list[trio.lowlevel.Task], list[tuple[Any, int | Exception]]]: ...
