"""Which frame codec runs: the compiled one if it was built and the environment does not ask for the pure one."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder

__all__ = ["CODEC", "PURE_PYTHON", "Codec", "choose"]

PURE_PYTHON: Final = "TRIO_WS_PURE_PYTHON"
"""The environment variable that asks for the pure codec, with any value but `""` and `"0"`."""


class Codec(NamedTuple):
    """One implementation of the frame codec."""

    name: str
    decoder: type[Decoder]
    encoder: type[Encoder]


def choose() -> Codec:
    """Return the fastest codec that is there and wanted."""
    if os.environ.get(PURE_PYTHON, "0") in ("", "0"):
        try:
            from trio_ws.protocol.compiled import CompiledDecoder, CompiledEncoder  # noqa: PLC0415 - may not be there
        except ImportError:
            pass
        else:
            return Codec("compiled codec", CompiledDecoder, CompiledEncoder)
    return Codec("pure Python codec", Decoder, Encoder)


CODEC: Final = choose()
"""The codec of this process."""
