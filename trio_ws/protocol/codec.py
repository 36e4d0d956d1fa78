"""The choice between the compiled frame codec and the pure one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from trio_ws.native.choice import PURE_PYTHON, core, is_current, wants_codec
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder, plain_message

__all__ = ["CODEC", "PURE_PYTHON", "RUNNING", "Codec", "choose"]


class Codec(NamedTuple):
    """One implementation of the frame codec."""

    name: str
    decoder: type[Decoder]
    encoder: type[Encoder]
    plain_message: Callable[[str | bytes | bytearray | memoryview], bytes]
    """As `encoder.plain_message`: what a server sends goes through no method of an encoder."""


def choose() -> Codec:
    """Return the fastest codec that is there and wanted."""
    compiled = _compiled() if wants_codec() else None
    return compiled or Codec("pure Python codec", Decoder, Encoder, plain_message)


def _compiled() -> Codec | None:
    """Return the compiled codec, None if it was not built, or from other source."""
    try:
        from trio_ws.protocol import _speedups  # noqa: PLC0415 - may not be there

        if not is_current(_speedups):
            return None
        from trio_ws.protocol.speedups import CompiledDecoder, CompiledEncoder, compiled_plain_message  # noqa: PLC0415
    except ImportError:
        return None
    return Codec("compiled codec", CompiledDecoder, CompiledEncoder, compiled_plain_message)


CODEC: Final = choose()
"""The codec of this process."""
RUNNING: Final = CODEC.name if core is None else "compiled core"
"""What runs, in two or three words."""
