"""Costs and savings of compression, by message and by connection.

    python benchmarks/compression.py              all tables (make deflate)
    python benchmarks/compression.py memory NAME  one row of the last one, in a process of its own

Times are process time, the best of many short runs. The messages are JSON as chats and dashboards send it. Each figure
is that of `Deflater` and `Inflater` as connections use them.
"""

from __future__ import annotations

import gc
import json
import random
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from time import process_time_ns

from trio_ws.config import Compression, Limits
from trio_ws.protocol import deflate
from trio_ws.protocol.compressors import STANDARD, Library, Shared, choose
from trio_ws.protocol.decoder import Event
from trio_ws.protocol.deflate import Deflater, Inflater
from trio_ws.protocol.endpoint import Endpoint
from trio_ws.protocol.negotiation import DeflateSettings, accept_offer

RUN = 1_000_000
"""Minimum nanoseconds of one run."""
RUNS = 25
SIZES = (64, 128, 256, 1024, 4096, 16_384, 65_536)
LEVELS = (1, 3, 6, 9)
WINDOWS = (9, 12, 15)
CONNECTIONS = 300
STATM = Path("/proc/self/statm")

WORDS = ["the", "a", "to", "and", "is", "not", "this", "that", "with", "for", "good", "morning"]
WORDS += ["server", "client", "room", "price", "order", "update", "ready"]
NAMES = ["Ana", "Bela", "Chen", "Dara", "Emil", "Fatima", "Goran", "Hana", "Ines", "Jonas"]

MEMORY = {
    "no compression": None,
    "receive_context=False": Compression(receive_context=False),
    "defaults": Compression(),
    "send_context, receive_context=False": Compression(send_context=True, receive_context=False),
    "both contexts": Compression(send_context=True),
    "both contexts, send_window_bits=15": Compression(send_context=True, send_window_bits=15),
    "both contexts, windows of 10 bits": Compression(send_context=True, send_window_bits=10, receive_window_bits=10),
}


def best(work: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    times = 1
    while elapsed(work, times) < RUN:
        times *= 2
    return min(elapsed(work, times) for _ in range(RUNS)) / times / 1000


def elapsed(work: Callable[[], object], times: int) -> int:
    repeated = range(times)
    start = process_time_ns()
    for _ in repeated:
        work()
    return process_time_ns() - start


def entries(seed: int) -> Iterator[str]:
    rnd = random.Random(seed)
    while True:
        text = " ".join(rnd.choices(WORDS, k=rnd.randint(3, 9)))
        entry = {"id": rnd.randrange(10**6), "user": rnd.choice(NAMES), "message": text, "value": rnd.random()}
        yield json.dumps(entry, separators=(",", ":"))


@cache
def message(size: int, seed: int = 1) -> bytes:
    """Return a message of `size` bytes, cut off where they end."""
    text, source = "", entries(seed)
    while len(text) < size:
        text += next(source) + ","
    return text[:size].encode()


def deflater(*, level: int = 6, window_bits: int = 12, context: bool = False) -> Deflater:
    return Deflater(level=level, window_bits=window_bits, context_takeover=context, threshold=0)


def deflating(size: int, **options: int) -> str:
    sender, data = deflater(**options), message(size)
    return f"{best(lambda: sender.deflate(data, final=True)):8,.1f} us {len(sender.deflate(data, final=True)):7,} B"


def inflating(size: int) -> str:
    payload, reader = deflater().deflate(message(size), final=True), Inflater(context_takeover=False)
    return f"{best(lambda: reader.inflate(payload, final=True, limit=1 << 20)):8,.1f} us"


def print_times(library: Library) -> None:
    deflate._shared = Shared(lambda: library)  # type: ignore[misc]
    print(f"\n{library.name}: whole messages without context, window of 12 bits; bytes on the wire without frames")
    print(f"{'':>8}" + "".join(f"{f'level {level}':>22}" for level in LEVELS) + f"{'inflate (zlib)':>22}")
    for size in SIZES:
        cells = [deflating(size, level=level) for level in LEVELS]
        print(f"{size:8,}" + "".join(f"{cell:>22}" for cell in [*cells, inflating(size)]))
    print(f"{'level 6':>8}" + "".join(f"{f'{bits} bits':>22}" for bits in WINDOWS))
    for size in SIZES[3:]:
        print(f"{size:8,}" + "".join(f"{deflating(size, window_bits=bits):>22}" for bits in WINDOWS))


def print_contexts() -> None:
    print("\nbytes per message of 200 different ones in a row, level 6")
    print(f"{'':>8}{'no context':>16}" + "".join(f"{f'context, {bits}':>16}" for bits in WINDOWS))
    for size in SIZES[:5]:
        senders = [deflater(), *(deflater(window_bits=bits, context=True) for bits in WINDOWS)]
        totals = [sum(len(each.deflate(message(size, seed), final=True)) for seed in range(200)) for each in senders]
        print(f"{size:8,}" + "".join(f"{total / 200:16.0f}" for total in totals))


def settings_of(compression: Compression) -> tuple[DeflateSettings, DeflateSettings]:
    """Return the negotiated parameters for an offer without any, for server and client."""
    accepted = accept_offer("permessage-deflate; client_max_window_bits", compression)
    assert accepted is not None
    ours = accepted[1]
    theirs = DeflateSettings(
        send_window_bits=ours.receive_window_bits,
        send_context=ours.receive_context,
        receive_window_bits=ours.send_window_bits,
        receive_context=ours.send_context,
        level=ours.level,
        threshold=ours.threshold,
    )
    return ours, theirs


def used_connection(compression: Compression | None) -> Endpoint:
    """Create an idle server side that has sent and received 40 messages of 1 KiB."""
    ours, theirs = (None, None) if compression is None else settings_of(compression)
    connection = Endpoint(client=False, limits=Limits(), deflate=ours)
    peer = Endpoint(client=True, limits=Limits(), deflate=theirs)
    for seed in range(40):
        received: list[Event] = []
        connection.decoder.decode(peer.encoder.message(message(1024, seed)), received, 1, 1 << 20)
        assert received == [message(1024, seed)]
        connection.encoder.message(message(1024, seed + 1))
    return connection


def memory_row(name: str) -> str:
    compression = MEMORY[name]
    held = [used_connection(compression) for _ in range(20)]  # what all connections share is there now
    tracemalloc.start()
    held.append(used_connection(compression))
    gc.collect()
    allocated = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    before = resident()
    held.extend([used_connection(compression) for _ in range(CONNECTIONS)])
    gc.collect()
    return f"{name:28}{allocated / 1024:14.1f}{(resident() - before) / CONNECTIONS:14.1f}"


def resident() -> int:
    """Return the resident memory of this process in KiB, 0 if unknown."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize() // 1024 if STATM.exists() else 0


def print_memory() -> None:
    print(f"\nKiB per idle connection's protocol{'allocated':>22}{'resident':>14}")
    for name in MEMORY:
        command = [sys.executable, __file__, "memory", name]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def main() -> None:
    if sys.argv[1:2] == ["memory"]:
        print(memory_row(sys.argv[2]))
        return
    for library in dict.fromkeys((STANDARD, choose())):
        print_times(library)
    print_contexts()
    print_memory()


if __name__ == "__main__":
    main()
