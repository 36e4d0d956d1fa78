"""Strategies for parameters and settings of permessage-deflate (RFC 7692 7)."""

from __future__ import annotations

from typing import Final, Literal

from hypothesis import strategies as st

from trio_ws.config import Compression

__all__ = ["compressions", "deflate_parameters"]

_NAME: Final = "permessage-deflate"
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS: Final = ("server_max_window_bits", "client_max_window_bits")
_BAD_BITS: Final = ("7", "16", "0", "08", "-9", "9.0", "x", '""', "15 15", "")


def deflate_parameters(*, valid: bool = True, side: Literal["client", "server"] = "client") -> st.SearchStrategy[str]:
    """Draw the value of a Sec-WebSocket-Extensions header about permessage-deflate.

    Those that are not valid repeat a parameter, have an unknown one, a value where none belongs, none where one
    belongs, or one out of range.

    Example:
        @given(deflate_parameters(valid=False))
        def test_it_is_one_offer(value):
            assert value.startswith("permessage-deflate")

    Args:
        valid: False for offers that a server declines, or answers that a client refuses (RFC 7692 7.1).
        side: "client" for offers, "server" for answers.
    """
    good = _good(side)
    if valid:
        return good
    return st.one_of(
        st.builds("{}; {}".format, good, st.sampled_from(["x", "x=1", "mux"])),
        st.builds("{0}; {1}; {1}".format, st.just(_NAME), st.sampled_from(_FLAGS)),
        st.builds("{}; {}=1".format, st.just(_NAME), st.sampled_from(_FLAGS)),
        st.builds("{}; {}={}".format, st.just(_NAME), st.sampled_from(_WINDOWS), st.sampled_from(_BAD_BITS)),
        st.just(f"{_NAME}; server_max_window_bits"),
        st.just(f"{_NAME}; server_max_window_bits=9; server_max_window_bits=10"),
    )


@st.composite
def _good(draw: st.DrawFn, side: str) -> str:
    words = [flag for flag in _FLAGS if draw(st.booleans())]
    for name in _WINDOWS:
        bits = draw(st.one_of(st.none(), st.integers(8, 15)))
        if bits is not None:
            words.append(f'{name}="{bits}"' if draw(st.booleans()) else f"{name}={bits}")
        elif name == "client_max_window_bits" and side == "client" and draw(st.booleans()):
            words.append(name)
    separator = draw(st.sampled_from(["; ", ";", " ;\t"]))
    return separator.join([_NAME, *draw(st.permutations(words))])


def compressions() -> st.SearchStrategy[Compression]:
    """Draw settings of permessage-deflate.

    Example:
        @given(compressions())
        def test_it_is_between_0_and_9(compression):
            assert 0 <= compression.level <= 9
    """
    return st.builds(
        Compression,
        level=st.integers(0, 9),
        threshold=st.integers(0, 1000),
        send_context=st.booleans(),
        receive_context=st.booleans(),
        send_window_bits=st.integers(9, 15),
        receive_window_bits=st.integers(9, 15),
    )
