"""Time of the pure and the compiled frame codec, in nanoseconds.

Each figure is the best of many short runs: on a machine that does other things besides, the best one is the least
disturbed one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns

from trio_ws.protocol.codec import CODEC, Codec
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder

PLENTY = 1 << 30
RUN = 2_000_000
"""Minimum nanoseconds of one run."""
RUNS = 30


def best(work: Callable[[], object]) -> float:
    """Return the nanoseconds of one call."""
    times = 1
    while elapsed(work, times) < RUN:
        times *= 2
    return min(elapsed(work, times) for _ in range(RUNS)) / times


def elapsed(work: Callable[[], object], times: int) -> int:
    repeated = range(times)
    start = perf_counter_ns()
    for _ in repeated:
        work()
    return perf_counter_ns() - start


def decoding(codec: Codec, message: str | bytes, *, client: bool = False, count: int = 1) -> float:
    """Return the nanoseconds of one message, decoded from a buffer that holds `count`."""
    decoder = codec.decoder(client=client, max_message_size=PLENTY, max_fragments=1)
    frame = codec.encoder(client=not client).message(message)
    data = memoryview(frame * count)
    return best(lambda: decoder.decode(data, [], PLENTY, PLENTY)) / count


def encoding(codec: Codec, message: str | bytes, *, client: bool = False) -> float:
    encoder = codec.encoder(client=client)
    return best(lambda: encoder.message(message))


def unmasking(codec: Codec, size: int) -> float:
    xor, payload = codec.decoder._apply_mask, bytes(size)
    return best(lambda: xor(payload, b"\x11\xa2\x73\xf4"))


SMALL, LARGE = "x" * 32, "x" * 65_536
ROWS: dict[str, Callable[[Codec], float]] = {
    "decode 32 B of masked text, one frame at a time": lambda codec: decoding(codec, SMALL),
    "decode 32 B of masked text, 100 frames at once": lambda codec: decoding(codec, SMALL, count=100),
    "decode 32 B of text from a server, 100 at once": lambda codec: decoding(codec, SMALL, client=True, count=100),
    "decode 64 KiB of masked text": lambda codec: decoding(codec, LARGE),
    "decode 64 KiB of masked binary": lambda codec: decoding(codec, LARGE.encode()),
    "unmask 64 KiB": lambda codec: unmasking(codec, 65_536),
    "encode 32 B of text": lambda codec: encoding(codec, SMALL),
    "encode 32 B of binary": lambda codec: encoding(codec, SMALL.encode()),
    "encode 32 B of text, masked": lambda codec: encoding(codec, SMALL, client=True),
    "encode 64 KiB of text": lambda codec: encoding(codec, LARGE),
    "encode 64 KiB of binary, masked": lambda codec: encoding(codec, LARGE.encode(), client=True),
}


def main() -> None:
    pure, compiled = Codec("pure", Decoder, Encoder), CODEC
    if compiled.decoder is Decoder:
        sys.exit("the compiled codec was not built, or the environment asks for the pure one")
    print(f"{'ns':50}{'pure':>10}{'compiled':>10}{'ratio':>8}")
    for name, measure in ROWS.items():
        slow, fast = measure(pure), measure(compiled)
        print(f"{name:50}{slow:10,.0f}{fast:10,.0f}{slow / fast:8.1f}")


if __name__ == "__main__":
    main()
