from collections.abc import Callable

from trio_ws.protocol.events import Event

INTERFACE: int

def apply_mask(payload: bytes | bytearray | memoryview, key: bytes, /) -> bytes: ...
def encode(first: int, payload: str | bytes, take_key: Callable[[], bytes] | None, /) -> bytes: ...
def plain_message(data: str | bytes | bytearray | memoryview, /) -> bytes: ...
def parse(
    data: bytes | bytearray | memoryview,
    position: int,
    out: list[Event],
    stop: int,
    budget: int,
    masked: int,
    largest: int,
    /,
) -> tuple[int, int]: ...
