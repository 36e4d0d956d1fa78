"""Strategies for the opening handshake, both sides, valid or breaking one rule (RFC 6455 4)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final, Literal, overload

import attrs
from hypothesis import strategies as st

from trio_ws.testing.handshakes import ACCEPT, HandshakeRequest, HandshakeResponse
from trio_ws.testing.raw_head import HANDSHAKE_KEY as KEY

__all__ = ["handshakes"]

_SPELLINGS: Final[st.SearchStrategy[Callable[[str], str]]] = st.sampled_from((str, str.lower, str.upper))
_TOKEN: Final = "abcXYZ019-_.!~"
_EXTRA_NAMES: Final = ("X-Extra", "Accept", "User-Agent", "Cache-Control", "Pragma", "Accept-Language")

# (the rule, header, its values; none of them leave it out, status)
_REQUEST_FAULTS: Final[tuple[tuple[str, str, tuple[str, ...], int], ...]] = (
    ("Upgrade is missing", "Upgrade", (), 400),
    ("Upgrade is another protocol", "Upgrade", ("h2c",), 400),
    ("Connection is missing", "Connection", (), 400),
    ("Connection does not name upgrade", "Connection", ("keep-alive",), 400),
    ("Connection only contains the word", "Connection", ("upgraded",), 400),
    ("the key is missing", "Sec-WebSocket-Key", (), 400),
    ("the key is empty", "Sec-WebSocket-Key", ("",), 400),
    ("the key has 15 bytes", "Sec-WebSocket-Key", (base64.b64encode(bytes(15)).decode(),), 400),
    ("the key has 17 bytes", "Sec-WebSocket-Key", (base64.b64encode(bytes(17)).decode(),), 400),
    ("the key is not base64", "Sec-WebSocket-Key", ("dGhlIHNhbXBsZSBub25jZ?==",), 400),
    ("there are two keys", "Sec-WebSocket-Key", (KEY, KEY), 400),
    ("the version is missing", "Sec-WebSocket-Version", (), 400),
    ("the version is another one", "Sec-WebSocket-Version", ("8",), 426),
    ("the version is not a number", "Sec-WebSocket-Version", ("13, 8",), 426),
    ("there are two versions", "Sec-WebSocket-Version", ("13", "13"), 400),
    ("Host is missing", "Host", (), 400),
    ("there are two hosts", "Host", ("testserver", "testserver"), 400),
    ("a subprotocol is no token", "Sec-WebSocket-Protocol", ("two words",), 400),
    ("a subprotocol is named twice", "Sec-WebSocket-Protocol", ("a, a",), 400),
    ("the extensions break their grammar", "Sec-WebSocket-Extensions", ("a b",), 400),
)
_RESPONSE_FAULTS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("Upgrade is missing", "Upgrade", ()),
    ("Upgrade is another protocol", "Upgrade", ("h2c",)),
    ("Upgrade occurs twice", "Upgrade", ("websocket", "websocket")),
    ("Connection is missing", "Connection", ()),
    ("Connection does not name upgrade", "Connection", ("keep-alive",)),
    ("the accept token is missing", "Sec-WebSocket-Accept", ()),
    ("the accept token is another one", "Sec-WebSocket-Accept", (base64.b64encode(bytes(20)).decode(),)),
    ("the accept token is the key", "Sec-WebSocket-Accept", (KEY,)),
    ("the accept token occurs twice", "Sec-WebSocket-Accept", (ACCEPT, ACCEPT)),
    ("a subprotocol was not offered", "Sec-WebSocket-Protocol", ("not-offered",)),
    ("an extension was not offered", "Sec-WebSocket-Extensions", ("x-not-offered",)),
)


@overload
def handshakes(
    *, valid: bool = True, side: Literal["client"] = "client", target: str = "/"
) -> st.SearchStrategy[HandshakeRequest]: ...


@overload
def handshakes(*, valid: bool = True, side: Literal["server"]) -> st.SearchStrategy[HandshakeResponse]: ...


def handshakes(*, valid: bool = True, side: Literal["client", "server"] = "client", target: str = "/") -> Any:
    """Draw opening handshakes: a client's requests, or a server's responses.

    Valid ones vary what is free: case and order of headers, lists, white space, other headers, subprotocols and
    extensions that a server may ignore. The others break one rule, named by `rule`; the `status` of a request is how
    a server answers it.

    Example:
        @given(handshakes(valid=False))
        def test_one_rule_is_broken(request):
            assert request.rule and request.status in (400, 405, 426)

    Args:
        valid: False for those that have to be refused.
        side: "client" for requests, "server" for responses to a request that offers nothing.
        target: path and query of requests.
    """
    if side == "client":
        good = _good(HandshakeRequest(target=target), offers=True)
        return good if valid else _bad_requests(good)
    responses = _good(HandshakeResponse(), offers=False)
    return responses if valid else _bad_responses(responses)


@st.composite
def _good(draw: st.DrawFn, made: Any, *, offers: bool) -> Any:
    """Draw what is free in a valid head."""
    token = st.text(_TOKEN, min_size=1, max_size=8)
    upgrades = draw(st.sampled_from(["websocket", "WebSocket", "WEBSOCKET"]))
    connections = draw(st.sampled_from(["Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade,keep-alive"]))
    made = made.with_header("Upgrade", upgrades).with_header("Connection", connections)
    if offers:
        key = draw(st.one_of(st.just(bytes(range(16))), st.binary(min_size=16, max_size=16)))
        made = made.with_header("Sec-WebSocket-Key", base64.b64encode(key).decode())
        names = draw(st.lists(token, max_size=3, unique=True))
        if names:
            made = made.with_header("Sec-WebSocket-Protocol", draw(st.sampled_from([", ", ","])).join(names))
        if draw(st.booleans()):
            made = made.with_header("Sec-WebSocket-Extensions", draw(st.sampled_from(["x-unknown", "x-unknown; a=1"])))
    for name in draw(st.lists(st.sampled_from(_EXTRA_NAMES), max_size=3, unique=True)):
        made = made.with_header(name, draw(token))
    return _rewritten(draw, made)


def _rewritten(draw: st.DrawFn, made: Any) -> Any:
    """Change case, order and white space."""
    spelled = draw(_SPELLINGS)
    space = draw(st.sampled_from(["", " ", "\t"]))
    headers = draw(st.permutations([(spelled(name), f"{value}{space}") for name, value in made.headers]))
    return attrs.evolve(made, headers=tuple(headers))


@st.composite
def _bad_requests(draw: st.DrawFn, good: st.SearchStrategy[HandshakeRequest]) -> HandshakeRequest:
    request = draw(good)
    fault = draw(st.integers(0, len(_REQUEST_FAULTS) + 1))
    if fault == len(_REQUEST_FAULTS):
        return attrs.evolve(request, method="POST", status=405, rule="the method is not GET")
    if fault > len(_REQUEST_FAULTS):
        return attrs.evolve(request, version="HTTP/1.0", status=400, rule="HTTP is older than 1.1")
    rule, name, values, status = _REQUEST_FAULTS[fault]
    return attrs.evolve(request.with_header(name, *values), status=status, rule=rule)


@st.composite
def _bad_responses(draw: st.DrawFn, good: st.SearchStrategy[HandshakeResponse]) -> HandshakeResponse:
    response = draw(good)
    fault = draw(st.integers(0, len(_RESPONSE_FAULTS)))
    if fault == len(_RESPONSE_FAULTS):
        return attrs.evolve(response, version="HTTP/1.0", rule="HTTP is older than 1.1")
    rule, name, values = _RESPONSE_FAULTS[fault]
    return attrs.evolve(response.with_header(name, *values), rule=rule)
