"""Chapter 26, the grammar of Sec-WebSocket-Extensions, and the parameters of permessage-deflate."""

from __future__ import annotations

import attrs

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.opening import request
from trio_ws.conformance.steps import RoundTrips
from trio_ws.testing.raw_frame import Opcode

__all__ = ["CHAPTER"]

_GRAMMAR = "RFC 6455 9.1"
_REPEATED = [(Opcode.TEXT, b"The same words, again and again, again and again.")] * 4
"""Messages that show whether contexts are kept as agreed."""

# What is wrong with the header, the section, and its value: the handshake fails.
_MALFORMED: list[tuple[str, str]] = [
    ("a semicolon at the end", "permessage-deflate;"),
    ("a parameter without a name", "permessage-deflate; =15"),
    ("no name of the extension", "; server_no_context_takeover"),
    ("a space within a name", "permessage deflate"),
    ("a quoted value that does not end", 'x-conformance; a="1'),
    ("a quoted value that is no token", 'x-conformance; a="1 2"'),
    ("a name that is no token", "x@conformance"),
    ("an equals sign without a value", "x-conformance; a="),
]

# What the server may make of these, the section, the offers, and which of them it may accept.
_OFFERS: list[tuple[str, str, tuple[str, ...], tuple[int, ...]]] = [
    ("plain", "RFC 7692 7", ("permessage-deflate",), (0,)),
    ("server_no_context_takeover", "RFC 7692 7.1.1.1", ("permessage-deflate; server_no_context_takeover",), (0,)),
    ("client_no_context_takeover", "RFC 7692 7.1.1.2", ("permessage-deflate; client_no_context_takeover",), (0,)),
    ("server_max_window_bits=8", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=8",), (0,)),
    ("server_max_window_bits=10", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=10",), (0,)),
    ("server_max_window_bits=15", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=15",), (0,)),
    ("client_max_window_bits", "RFC 7692 7.1.2.2", ("permessage-deflate; client_max_window_bits",), (0,)),
    ("client_max_window_bits=9", "RFC 7692 7.1.2.2", ("permessage-deflate; client_max_window_bits=9",), (0,)),
    ('a quoted value, "10"', _GRAMMAR, ('permessage-deflate; server_max_window_bits="10"',), (0,)),
    ("spaces around everything", _GRAMMAR, ("permessage-deflate ; server_max_window_bits = 10",), (0,)),
    (
        "all parameters",
        "RFC 7692 7.1",
        (
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=11; client_no_context_takeover; "
            "server_no_context_takeover",
        ),
        (0,),
    ),
    ("empty elements of the list", "RFC 9110 5.6.1", (" ", "permessage-deflate", " "), (1,)),
    ("an unknown extension first", _GRAMMAR, ("x-conformance; a=1", "permessage-deflate"), (1,)),
    ("two offers", "RFC 7692 5.1", ("permessage-deflate; server_max_window_bits=9", "permessage-deflate"), (0, 1)),
    ("an unknown parameter", "RFC 7692 7", ("permessage-deflate; x_conformance",), ()),
    ("an unknown parameter with a value", "RFC 7692 7", ("permessage-deflate; x_conformance=1",), ()),
    ("a context parameter with a value", "RFC 7692 7.1.1.1", ("permessage-deflate; server_no_context_takeover=1",), ()),
    ("a context parameter with a value", "RFC 7692 7.1.1.2", ("permessage-deflate; client_no_context_takeover=0",), ()),
    ("no value of server_max_window_bits", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits",), ()),
    ("server_max_window_bits=7", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=7",), ()),
    ("server_max_window_bits=16", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=16",), ()),
    ("server_max_window_bits=010", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=010",), ()),
    ("server_max_window_bits=ten", "RFC 7692 7.1.2.1", ("permessage-deflate; server_max_window_bits=ten",), ()),
    ("client_max_window_bits=7", "RFC 7692 7.1.2.2", ("permessage-deflate; client_max_window_bits=7",), ()),
    ("client_max_window_bits=16", "RFC 7692 7.1.2.2", ("permessage-deflate; client_max_window_bits=16",), ()),
    ("client_max_window_bits=+9", "RFC 7692 7.1.2.2", ("permessage-deflate; client_max_window_bits=+9",), ()),
    (
        "a parameter twice",
        "RFC 7692 7",
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover",),
        (),
    ),
    (
        "a window twice",
        "RFC 7692 7",
        ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=11",),
        (),
    ),
    (
        "an invalid offer, then a valid one",
        "RFC 7692 5.1",
        ("permessage-deflate; x_conformance", "permessage-deflate"),
        (1,),
    ),
    ("the name within a quoted value", _GRAMMAR, ('x-conformance; a="permessage-deflate"',), ()),
    ("a name that begins with it", _GRAMMAR, ("permessage-deflate2",), ()),
]

# What is wrong with a server's answer, the section, and the answer: the client fails the connection.
_ANSWERS: list[tuple[str, str, str]] = [
    ("an unknown parameter", "RFC 7692 7", "permessage-deflate; x_conformance"),
    ("a context parameter with a value", "RFC 7692 7.1.1.1", "permessage-deflate; server_no_context_takeover=1"),
    ("no value of server_max_window_bits", "RFC 7692 7.1.2.1", "permessage-deflate; server_max_window_bits"),
    ("server_max_window_bits=7", "RFC 7692 7.1.2.1", "permessage-deflate; server_max_window_bits=7"),
    ("server_max_window_bits=16", "RFC 7692 7.1.2.1", "permessage-deflate; server_max_window_bits=16"),
    ("server_max_window_bits=09", "RFC 7692 7.1.2.1", "permessage-deflate; server_max_window_bits=09"),
    ("no value of client_max_window_bits", "RFC 7692 7.1.2.2", "permessage-deflate; client_max_window_bits"),
    ("client_max_window_bits=16", "RFC 7692 7.1.2.2", "permessage-deflate; client_max_window_bits=16"),
    ("a parameter twice", "RFC 7692 7", "permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
    ("the extension twice", "RFC 7692 5.1", "permessage-deflate, permessage-deflate"),
    ("a second extension", _GRAMMAR, "permessage-deflate, x-conformance"),
    ("a semicolon at the end", _GRAMMAR, "permessage-deflate;"),
    ("a quoted value that does not end", _GRAMMAR, 'permessage-deflate; server_max_window_bits="10'),
]

# What the server asks of the client, or says of itself: the client goes on.
_GRANTED: list[tuple[str, str, str]] = [
    ("plain", "RFC 7692 7", "permessage-deflate"),
    ("client_no_context_takeover", "RFC 7692 7.1.1.2", "permessage-deflate; client_no_context_takeover"),
    ("server_no_context_takeover", "RFC 7692 7.1.1.1", "permessage-deflate; server_no_context_takeover"),
    ("server_max_window_bits=9", "RFC 7692 7.1.2.1", "permessage-deflate; server_max_window_bits=9"),
    ("a quoted value", _GRAMMAR, 'permessage-deflate; server_max_window_bits="12"'),
]


def _server() -> list[Case]:
    malformed = [
        Case(
            f"26.1.{number}",
            what,
            section=_GRAMMAR,
            request=request(add=(f"Sec-WebSocket-Extensions: {value}",)),
            opening="refused",
        )
        for number, (what, value) in enumerate(_MALFORMED, start=1)
    ]
    offered = [
        Case(
            f"26.2.{number}",
            f"offer: {what}",
            [RoundTrips(_REPEATED)],
            section=section,
            request=request(),
            offers=offers,
            acceptable=acceptable,
        )
        for number, (what, section, offers, acceptable) in enumerate(_OFFERS, start=1)
    ]
    return [attrs.evolve(case, side="server") for case in [*malformed, *offered]]


def _client() -> list[Case]:
    refused = [
        Case(f"26.3.{number}", f"answer: {what}", section=section, offers=(answer,), opening="refused")
        for number, (what, section, answer) in enumerate(_ANSWERS, start=1)
    ]
    granted = [
        Case(f"26.4.{number}", f"answer: {what}", [RoundTrips(_REPEATED)], section=section, offers=(answer,))
        for number, (what, section, answer) in enumerate(_GRANTED, start=1)
    ]
    return [attrs.evolve(case, side="client", level=Level.MUST) for case in [*refused, *granted]]


CHAPTER = Chapter.of("26", "Extensions", _GRAMMAR, [*_server(), *_client()])
