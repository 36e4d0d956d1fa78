"""The compiled codec against the pure one, fuzzed: the tests of `tests/protocol/test_differential.py`, led by coverage.

`make fuzz` runs it. The arguments are libFuzzer's, a folder of inputs among them: what is found there is read first,
and what reaches new code is kept. The coverage is that of the Python code, which has all the rules; what the C code
does is compared with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "protocol"))

with atheris.instrument_imports(include=["trio_ws.protocol"]):
    import test_differential
    from codec_helpers import COMPILED

TARGETS = [
    test_differential.test_decoders_agree_on_any_bytes_cuts_and_pauses,
    test_differential.test_decoders_do_the_same_with_arbitrary_bytes,
    test_differential.test_encoders_do_the_same_with_the_same_calls,
]


def one_input(data: bytes) -> None:
    """Give one of the property tests, by the first byte, what Hypothesis makes of the others."""
    if data:
        TARGETS[data[0] % len(TARGETS)].hypothesis.fuzz_one_input(data[1:])


if __name__ == "__main__":
    if COMPILED is None:
        sys.exit("the compiled codec was not built")
    atheris.Setup([*sys.argv, "-max_len=4096"], one_input)
    atheris.Fuzz()
