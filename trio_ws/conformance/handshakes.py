"""The opening handshakes of a case, with a server or a client under test."""

from __future__ import annotations

from typing import Final

import attrs
import trio

from trio_ws.conformance import deflate
from trio_ws.conformance.case import Case
from trio_ws.conformance.finding import Finding
from trio_ws.conformance.opening import PLAIN_REQUEST, PLAIN_RESPONSE, OpeningHead
from trio_ws.conformance.opening_checks import REQUEST_CHECKS, RESPONSE_CHECKS, agreed_deflate, check_response, key_of
from trio_ws.conformance.peer import SuitePeer

__all__ = ["HandshakeContext", "HandshakeFailed", "Unimplemented", "open_as_client", "open_as_server"]

SERVER_ERROR: Final = 500
ERROR_STATUS: Final = "the answer is 500, which looks like an unhandled error"
NO_ANSWER: Final = "the connection ended without an HTTP response, which should say why (RFC 6455 4.2.1)"


class Unimplemented(Exception):  # noqa: N818 - a result
    """The implementation under test lacks what a case needs."""


class HandshakeFailed(Exception):  # noqa: N818 - a result
    """A valid opening handshake came to nothing, in a case that is about something else."""


@attrs.define
class HandshakeContext:
    """The address and the headers that the handshakes of all cases share.

    Args:
        host: for the Host header.
        target: path and query of the request.
        headers: further header lines of the requests.
        subprotocols: that requests offer, or that responses may name.
        keys: those of the clients that were seen, to find one that occurs twice.
    """

    host: str = "conformance.test"
    target: str = "/"
    headers: tuple[str, ...] = ()
    subprotocols: tuple[str, ...] = ()
    keys: set[str] = attrs.field(factory=set)

    def request_lines(self) -> tuple[str, ...]:
        """Return the header lines that are added to each request."""
        offered = (f"Sec-WebSocket-Protocol: {', '.join(self.subprotocols)}",) if self.subprotocols else ()
        return (*self.headers, *offered)


# --- a server under test ------------------------------------------------------------------------------------------


async def open_as_client(case: Case, peer: SuitePeer, context: HandshakeContext, remarks: list[str]) -> bool:
    """Send the request of a case and read the response; return whether a connection is open.

    Raises:
        Finding: the response breaks a rule.
        Unimplemented: the server does not accept the compression that the case needs.
        HandshakeFailed: the server does not accept a valid request.
    """
    opening = case.request or PLAIN_REQUEST
    offers = case.offers or tuple(map(deflate.offer, case.wishes))
    extensions = (f"Sec-WebSocket-Extensions: {', '.join(offers)}",) if offers else ()
    await peer.send_head(
        opening.encode(context.host, context.target, (*context.request_lines(), *extensions)), opening.chop
    )
    peer.waiting = "an answer to the request"
    head = await _read_response(peer)
    if case.check and head is not None and case.check in RESPONSE_CHECKS:
        RESPONSE_CHECKS[case.check](head)
    if head is None or head.status != 101:
        return _not_opened(case, head, remarks)
    if case.opening == "refused":
        raise Finding(case.section, f"the server accepted the request: {head.line}")
    offered = [name for line in (*opening.lines, *extensions) for name in _offered_names(line)]
    check_response(head, opening.key, offered, context.subprotocols)
    peer.agree(_negotiated(case, head, offers, remarks))
    return True


async def _read_response(peer: SuitePeer) -> OpeningHead | None:
    head = await peer.read_head()
    while head is not None and 100 <= head.status < 200 and head.status != 101:
        head = await peer.read_head()
    return head


def _not_opened(case: Case, head: OpeningHead | None, remarks: list[str]) -> bool:
    if case.opening == "accepted":
        shown = "no response" if head is None else head.line
        if case.request is not None:
            raise Finding(case.section, f"a valid request is refused: {shown}")
        if case.offers:
            raise Finding(case.section, f"the request is refused: {shown}")
        raise HandshakeFailed(f"the opening handshake failed: {shown}")
    if head is None:
        remarks += [NO_ANSWER] * (case.opening == "refused" and case.request is not None and case.request.complete)
    elif head.status < 300:
        raise Finding(case.section, f"the answer to an invalid request is a success: {head.line}")
    elif head.status == SERVER_ERROR:
        remarks.append(ERROR_STATUS)
    return False


def _offered_names(line: str) -> list[str]:
    name, _, value = line.partition(":")
    if name.strip().lower() != "sec-websocket-extensions":
        return []
    try:
        return [extension for extension, _ in deflate.parse_extensions(value)]
    except Finding:
        return [deflate.NAME]


def _negotiated(
    case: Case, head: OpeningHead, offers: tuple[str, ...], remarks: list[str]
) -> deflate.Parameters | None:
    agreed = agreed_deflate(head)
    if case.offers:
        if agreed is not None:
            remarks += _check_acceptable(case, agreed)
        return agreed
    if case.wishes:
        if agreed is None:
            raise Unimplemented(f"the server does not accept {offers[0]}")
        if case.wishes[0].own_context and "client_no_context_takeover" in agreed:
            raise Unimplemented("the server does not keep the context of messages that it receives")
        fitting = [parameters for offer in offers for _, parameters in deflate.parse_extensions(offer)]
        remarks += _fit_one(fitting, agreed)
    return agreed


def _check_acceptable(case: Case, agreed: deflate.Parameters) -> list[str]:
    """Check that one of the acceptable offers was accepted, in its terms; return remarks."""
    if not case.acceptable:
        raise Finding(case.section, f"an offer is accepted that must be declined: {', '.join(case.offers)}")
    return _fit_one([deflate.parse_extensions(case.offers[index])[0][1] for index in case.acceptable], agreed)


def _fit_one(offers: list[deflate.Parameters], agreed: deflate.Parameters) -> list[str]:
    findings = []
    for offered in offers:
        try:
            return deflate.check_answer(offered, agreed)
        except Finding as finding:
            findings.append(finding)
    raise findings[0]


# --- a client under test ------------------------------------------------------------------------------------------


async def open_as_server(
    case: Case, peer: SuitePeer, context: HandshakeContext, head: OpeningHead, remarks: list[str]
) -> bool:
    """Answer the request of a client as the case says; return whether frames can be exchanged.

    Raises:
        Finding: the request breaks a rule that the case is about.
        Unimplemented: the client does not offer the compression that the case needs.
    """
    key = key_of(head)
    if case.check in REQUEST_CHECKS:
        REQUEST_CHECKS[case.check](head)
    if case.check == "fresh key" and key in context.keys:
        raise Finding("RFC 6455 4.1", f"the key {key} was used for another connection")
    context.keys.add(key)
    opening = case.response or PLAIN_RESPONSE
    if opening.delay:
        await _stay_silent(case, peer)
    extension, agreed = _answer_offers(case, head)
    subprotocol = next((each for each in context.subprotocols if each in _names(head)), None)
    extra = [f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []
    await peer.send_head(opening.encode(key, (*extra, *extension)), opening.chop)
    peer.agree(agreed)
    return True


def _names(head: OpeningHead) -> list[str]:
    return [each.strip() for each in head.one("sec-websocket-protocol").split(",")]


def _answer_offers(case: Case, head: OpeningHead) -> tuple[list[str], deflate.Parameters | None]:
    offered = dict(deflate.parse_extensions(head.one("sec-websocket-extensions"))).get(deflate.NAME)
    if case.wishes or case.offers:
        if offered is None:
            raise Unimplemented("the client does not offer permessage-deflate")
        given = (
            case.offers[0]
            if case.offers
            else next((text for text in (deflate.answer(offered, wish) for wish in case.wishes) if text), None)
        )
        if given is None:
            raise Unimplemented("the client does not offer client_max_window_bits")
        if case.wishes and case.wishes[0].own_context and "server_no_context_takeover" in offered:
            raise Unimplemented("the client does not keep the context of messages that it receives")
        agreed = None if case.opening == "refused" else deflate.parse_extensions(given)[0][1]
        return [f"Sec-WebSocket-Extensions: {given}"], agreed
    return [], None


async def _stay_silent(case: Case, peer: SuitePeer) -> None:
    with trio.move_on_after(4 * peer.pace.pause):
        await peer.expect_silence(case.section)
