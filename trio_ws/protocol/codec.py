"""The choice between the compiled frame codec and the pure one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder, plain_message

__all__ = ["CODEC", "PURE_PYTHON", "Codec", "choose"]

PURE_PYTHON: Final = "TRIO_WS_PURE_PYTHON"
"""The environment variable that asks for the pure codec, with any value but `""` and `"0"`."""


class Codec(NamedTuple):
    """One implementation of the frame codec."""

    name: str
    decoder: type[Decoder]
    encoder: type[Encoder]
    plain_message: Callable[[str | bytes | bytearray | memoryview], bytes]
    """As `encoder.plain_message`: what a server sends goes through no method of an encoder."""


def choose() -> Codec:
    """Return the fastest codec that is there and wanted."""
    if os.environ.get(PURE_PYTHON, "0") in ("", "0"):
        try:
            from trio_ws.protocol.speedups import CompiledDecoder, CompiledEncoder, compiled_plain_message  # noqa: PLC0415 - may not be there
        except ImportError:
            pass
        else:
            return Codec("compiled codec", CompiledDecoder, CompiledEncoder, compiled_plain_message)
    return Codec("pure Python codec", Decoder, Encoder, plain_message)


CODEC: Final = choose()
"""The codec of this process."""
