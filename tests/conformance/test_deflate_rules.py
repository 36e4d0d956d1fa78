"""The suite's own reading of permessage-deflate: parameters of offers and answers (RFC 7692 7.1)."""

from __future__ import annotations

import random
import zlib

import pytest

from trio_ws.conformance.deflate import (
    FULL_WINDOW,
    TAIL,
    MessageDeflate,
    Wish,
    answer,
    check_answer,
    check_offer,
    parse_extensions,
)
from trio_ws.conformance.finding import Finding


def parameters(text):
    """The parameters of permessage-deflate with these words behind it."""
    return parse_extensions(f"permessage-deflate{text}")[0][1]


@pytest.mark.parametrize(
    ("offered", "agreed", "section"),
    [
        ("; server_no_context_takeover", "", "RFC 7692 7.1.1.1"),
        ("; server_max_window_bits=10", "", "RFC 7692 7.1.2.1"),
        ("; server_max_window_bits=10", "; server_max_window_bits=11", "RFC 7692 7.1.2.1"),
        ("", "; client_max_window_bits=10", "RFC 7692 7.1.2.2"),
        ("; client_max_window_bits=9", "; client_max_window_bits=10", "RFC 7692 7.1.2.2"),
        ("", "; client_no_context_takeover=1", "RFC 7692 7.1.1"),
        ("", "; server_max_window_bits=16", "RFC 7692 7.1.2"),
        ("", "; server_max_window_bits", "RFC 7692 7.1.2"),
        ("", "; window=10", "RFC 7692 7"),
    ],
)
def test_an_answer_that_breaks_a_rule_names_its_section(offered, agreed, section):
    with pytest.raises(Finding) as caught:
        check_answer(parameters(offered), parameters(agreed))
    assert caught.value.section == section


@pytest.mark.parametrize(
    ("offered", "agreed", "remarks"),
    [
        ("", "", []),
        ("; server_no_context_takeover", "; server_no_context_takeover; client_no_context_takeover", []),
        ("; server_max_window_bits=10", "; server_max_window_bits=9", []),
        ("; server_max_window_bits=15", "", [FULL_WINDOW]),
        ("; client_max_window_bits", "; client_max_window_bits=15", []),
    ],
)
def test_an_answer_within_the_offer_is_accepted(offered, agreed, remarks):
    assert check_answer(parameters(offered), parameters(agreed)) == remarks


@pytest.mark.parametrize(
    "text", ["; client_max_window_bits=7", "; server_no_context_takeover=yes", "; unknown", "; server_max_window_bits"]
)
def test_an_offer_with_a_wrong_parameter_is_found(text):
    with pytest.raises(Finding):
        check_offer(parameters(text))


def test_an_offer_may_leave_the_clients_window_open():
    check_offer(parameters("; client_max_window_bits; server_max_window_bits=8; client_no_context_takeover"))


@pytest.mark.parametrize("header", ["permessage-deflate; a=1; a=2", "=", "permessage-deflate; ="])
def test_extensions_against_the_grammar_are_found(header):
    with pytest.raises(Finding):
        parse_extensions(header)


@pytest.mark.parametrize(
    ("offered", "wish", "given"),
    [
        ("", Wish(), "permessage-deflate"),
        ("", Wish(no_context=True), "permessage-deflate; client_no_context_takeover"),
        ("", Wish(bits=9), None),
        ("; client_max_window_bits", Wish(bits=9), "permessage-deflate; client_max_window_bits=9"),
        ("; client_max_window_bits=8", Wish(bits=9), "permessage-deflate; client_max_window_bits=8"),
        (
            "; server_no_context_takeover; server_max_window_bits=10",
            Wish(),
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        ),
    ],
)
def test_the_suites_answer_is_within_the_offer(offered, wish, given):
    assert answer(parameters(offered), wish) == given


def inflates(distance, before):
    """Whether the suite inflates, with a window of 512 bytes, a repetition so far back behind so many bytes."""
    data = bytes(random.Random(4).choices(range(100), k=distance + before))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, strategy=zlib.Z_FIXED)
    payload = compressor.compress(data + data[before : before + 5]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    inflater = MessageDeflate({"server_max_window_bits": "9"}, client=True)
    try:
        inflater.decompress(payload.removesuffix(TAIL))
    except Finding:
        return False
    return True


@pytest.mark.parametrize(("distance", "fits"), [(512, True), (512 + 16, False)])
def test_a_distance_beyond_the_window_is_found(distance, fits):
    """The window is exact up to what one call inflates, wherever in a call the repetition begins."""
    assert {inflates(distance, before) for before in range(34)} == {fits}
