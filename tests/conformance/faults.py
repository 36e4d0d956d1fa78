"""Planted faults: each breaks one rule in our server or our client, by replacing a function, until the test ends.

The table says which cases are played on the faulty implementation, and which section they have to name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import pytest
import wsproto.handshake

from trio_ws.client import client as client_module
from trio_ws.connection import writer
from trio_ws.errors import RemoteProtocolError
from trio_ws.headers import Headers
from trio_ws.http import parser
from trio_ws.protocol import (
    assembler,
    client_handshake,
    decoder,
    deflate,
    encoder,
    endpoint,
    incoming,
    masking,
    negotiation,
    server_handshake,
    validation,
    whole,
)
from trio_ws.protocol.codec import Codec
from trio_ws.protocol.items import CloseConnection, Ping
from trio_ws.server import handshake

__all__ = ["FAULTS", "Fault", "use_pure_codec"]

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]


@attrs.frozen
class Fault:
    """One fault.

    Args:
        name: what is wrong.
        section: what the finding has to name.
        only: the cases that are played.
        plant: makes it.
        side: the implementation that has it.
    """

    name: str
    section: str
    only: str
    plant: Plant
    side: str = "server"


def use_pure_codec(patch: pytest.MonkeyPatch) -> None:
    """Have connections use the codec in Python, so that its functions can be replaced."""
    patch.setattr(endpoint, "CODEC", Codec("pure", decoder.Decoder, encoder.Encoder, encoder.plain_message))
    patch.setattr(endpoint, "_SHARED", encoder.Encoder(client=False))
    patch.setattr(writer, "_plain_message", encoder.plain_message)


def replaced(target: object, name: str, make: Callable[[Any], Any]) -> Plant:
    """Replace a function by what `make` returns, which gets the original."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(target, name, make(getattr(target, name, None)), raising=False)

    return plant


def value(target: object, name: str, new: Any) -> Plant:
    """Replace an attribute."""
    return replaced(target, name, lambda _: new)


def no_check(target: object, name: str) -> Plant:
    """Replace a function that raises by one that does nothing."""
    return value(target, name, lambda *_, **__: None)


def together(*plants: Plant) -> Plant:
    """Plant several."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for each in plants:
            each(patch)

    return plant


# --- frames that are read -----------------------------------------------------------------------------------------


def first_byte(change: Callable[[int], int], when: Callable[[int], bool] = lambda _: True) -> Plant:
    """Have the first byte checked after a change of it, where `when` holds."""
    return replaced(
        validation,
        "check_first_byte",
        lambda real: lambda first, **state: real(change(first) if when(first) else first, **state),
    )


def orders_ignored() -> Plant:
    return replaced(
        validation,
        "check_first_byte",
        lambda real: (
            lambda first, *, in_message, compression: real(first, in_message=first & 0xF == 0, compression=compression)
        ),
    )


def orphans(patch: pytest.MonkeyPatch) -> None:
    """Begin a message with a fragment that continues nothing."""
    real = decoder.Decoder._begin_frame

    def begin(self: Any, frame: Any, first: int, size: int) -> Any:
        return real(self, frame, first | 1 if first & 0xF == 0 and self._message is None else first, size)

    patch.setattr(decoder.Decoder, "_begin_frame", begin)
    orders_ignored()(patch)


def length_byte(**change: int) -> Plant:
    """Have the second byte checked as if it said something else."""

    def make(real: Any) -> Any:
        def check(opcode: int, second: int, *, masked: int) -> None:
            real(change.get("opcode", opcode), second & change.get("mask", 0xFF) | masked, masked=masked)

        return check

    return replaced(validation, "check_length_byte", make)


def any_length(head: bytes) -> int:
    return int.from_bytes(head[2:]) if head[1] & 0x7F > 125 else head[1] & 0x7F


def lenient_text(patch: pytest.MonkeyPatch) -> None:
    """Take bytes that are no UTF-8 as text."""

    def text(data: bytes, encoding: str = "utf-8") -> str:
        return bytes(data).decode(encoding, "replace")

    patch.setattr(whole, "str", text, raising=False)
    patch.setattr(assembler, "str", text, raising=False)
    patch.setattr(assembler, "utf_8_decode", lambda data, *_: (text(data), len(data)))


def changed_text(change: Callable[[str], str]) -> Plant:
    """Change whole messages of text."""

    def text(data: bytes, encoding: str = "utf-8") -> str:
        return change(bytes(data).decode(encoding))

    def plant(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(whole, "str", text, raising=False)
        patch.setattr(assembler, "str", text, raising=False)

    return plant


def surrogates(patch: pytest.MonkeyPatch) -> None:
    """Take surrogates as text."""

    def text(data: bytes, encoding: str = "utf-8") -> str:
        return (
            bytes(data).decode(encoding, "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )

    patch.setattr(whole, "str", text, raising=False)
    patch.setattr(assembler, "str", text, raising=False)


def cut_characters(patch: pytest.MonkeyPatch) -> None:
    """Decode each fragment for itself."""
    patch.setattr(assembler, "utf_8_decode", lambda data, *_: (bytes(data).decode(), len(data)))


def violation_code(real_code: int, wrong: int) -> Plant:
    """Fail with another code than the right one."""

    def make(real: Any) -> Any:
        def fail(self: Any, code: int, reason: str) -> bytes:
            frame: bytes = real(self, wrong if code == real_code else code, reason)
            return frame

        return fail

    return replaced(endpoint.Endpoint, "fail", make)


def passed_over(patch: pytest.MonkeyPatch) -> None:
    """Drop what breaks a rule, with all that came with it, and go on."""
    real = decoder.Decoder._decode_from

    def decode(self: Any, data: Any, position: int, out: list[Any], stop: int) -> int:
        end = real(self, data, position, out, stop)
        if self.failed:
            self.failed = False
            out.pop()
        return end

    patch.setattr(decoder.Decoder, "_decode_from", decode)


# --- answers ------------------------------------------------------------------------------------------------------


def answering(kind: type, answer: Callable[[Any, Any, bytes], bytes]) -> Plant:
    """Answer events of a kind in another way; `answer` gets the endpoint, the event and the right answer."""

    def make(real: Any) -> Any:
        def wrong(self: Any, item: Any) -> bytes:
            right = real(self, item)
            return answer(self, item, right) if isinstance(item, kind) else right

        return wrong

    return replaced(endpoint.Endpoint, "answer", make)


def close_with(code: int) -> Plant:
    return answering(CloseConnection, lambda end, _, right: end.encoder.close(code, "") if right else right)


def sending(make: Callable[[bytes], bytes]) -> Plant:
    """Change the frames of the server's messages."""
    return together(
        use_pure_codec,
        replaced(writer, "_plain_message", lambda _: lambda data: make(encoder.plain_message(data))),
        replaced(encoder.Encoder, "message", lambda real: lambda self, data: make(real(self, data))),
    )


def long_form(frame: bytes) -> bytes:
    """Write a short length in two bytes."""
    return frame[:1] + b"\x7e" + frame[1:2].rjust(2, b"\0") + frame[2:] if frame[1] < 126 else frame


def never_rsv1(real: Any) -> Any:
    """Leave RSV1 out of each frame."""

    def frame(*args: Any, rsv1: bool = False, **options: Any) -> bytes:
        data: bytes = real(*args, **options)
        return data

    return frame


# --- compression --------------------------------------------------------------------------------------------------


def deflater(**settings: Any) -> Plant:
    """Compress with other settings than were agreed on."""
    return replaced(
        deflate.Deflater, "__init__", lambda real: lambda self, **agreed: real(self, **{**agreed, **settings})
    )


def inflater(**settings: Any) -> Plant:
    return replaced(
        deflate.Inflater, "__init__", lambda real: lambda self, **agreed: real(self, **{**agreed, **settings})
    )


def term(name: str, result: object) -> Plant:
    """Read a parameter of permessage-deflate as valid, whatever its value."""
    return replaced(
        negotiation,
        "_parse_term",
        lambda real: lambda each, text, *, offer: result if each == name else real(each, text, offer=offer),
    )


def unknown_terms(patch: pytest.MonkeyPatch) -> None:
    """Pass over parameters that permessage-deflate does not have."""
    known = (
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    )
    real = negotiation._DeflateParameters.parse.__func__  # type: ignore[attr-defined]

    def parse(cls: Any, parameters: Any, *, offer: bool) -> Any:
        return real(cls, [pair for pair in parameters if pair[0] in known], offer=offer)

    patch.setattr(negotiation._DeflateParameters, "parse", classmethod(parse))


def repeated_terms(patch: pytest.MonkeyPatch) -> None:
    """Take the last of repeated parameters."""
    real = negotiation._DeflateParameters.parse.__func__  # type: ignore[attr-defined]

    def parse(cls: Any, parameters: Any, *, offer: bool) -> Any:
        return real(cls, list(dict(parameters).items()), offer=offer)

    patch.setattr(negotiation._DeflateParameters, "parse", classmethod(parse))


def answer_without(name: str) -> Plant:
    """Leave a parameter out of the server's answer."""
    return answer_changed(lambda text: "; ".join(part for part in text.split("; ") if not part.startswith(name)))


def answer_changed(change: Callable[[str], str]) -> Plant:
    def make(real: Any) -> Any:
        def accept(header: str, compression: Any) -> Any:
            agreed = real(header, compression)
            return agreed and (change(agreed[0]), agreed[1])

        return accept

    return replaced(handshake, "accept_offer", make)


def loose_grammar(patch: pytest.MonkeyPatch) -> None:
    """Read Sec-WebSocket-Extensions by cutting it at commas and semicolons."""

    def parse(value: str) -> list[Any]:
        found = []
        for extension in filter(None, map(str.strip, value.split(","))):
            name, *rest = extension.split(";")
            pairs = [part.partition("=") for part in map(str.strip, rest) if part]
            found.append((name.strip(), [(key.strip(), text.strip(' "') or None) for key, _, text in pairs]))
        return found

    patch.setattr(negotiation, "parse_extensions", parse)
    patch.setattr(handshake, "parse_extensions", parse)


# --- handshakes ---------------------------------------------------------------------------------------------------


def strict_path(patch: pytest.MonkeyPatch) -> None:
    """Read every request with all checks, of which some may be replaced."""
    patch.setattr(handshake, "parse_common_request", lambda _: None)


def upgrade_field(**change: Any) -> Plant:
    """Read requests as if a part of their head were another."""
    return together(
        strict_path,
        replaced(
            handshake,
            "read_upgrade",
            lambda real: lambda head: real(attrs.evolve(head, **change)),
        ),
        replaced(handshake, "check_http", lambda real: lambda head, **of: real(attrs.evolve(head, **change), **of)),
    )


def one_of(name: str) -> Plant:
    """Keep only the first of repeated headers."""

    def single(headers: Headers) -> Headers:
        first = headers.get_list(name)[:1]
        return Headers([(name, each) for each in first] + [pair for pair in headers.pairs if pair[0] != name])

    def make(real: Any) -> Any:
        return lambda head, **of: real(attrs.evolve(head, headers=single(head.headers)), **of)

    return together(strict_path, replaced(handshake, "check_http", make), replaced(handshake, "read_upgrade", make))


def answer_of_server(change: Callable[[bytes], bytes]) -> Plant:
    """Change the server's 101."""
    return replaced(server_handshake, "_PLAIN_ANSWER", change)


def exact_case(patch: pytest.MonkeyPatch) -> None:
    """Compare the value of Upgrade as it is."""

    def check(headers: Headers) -> None:
        if headers.get("upgrade") != "websocket":
            raise parser.MalformedRequest(400, "Upgrade")

    patch.setattr(server_handshake, "_check_switch", check)
    patch.setattr(handshake, "parse_common_request", lambda _: None)


def exact_connection(patch: pytest.MonkeyPatch) -> None:
    """Compare the value of Connection as it is."""

    def check(headers: Headers) -> None:
        if headers.get("connection") not in ("Upgrade", "upgrade"):
            raise parser.MalformedRequest(400, "Connection")

    patch.setattr(server_handshake, "_check_switch", check)
    patch.setattr(handshake, "parse_common_request", lambda _: None)


def request_of_client(change: Callable[[bytes], bytes]) -> Plant:
    return replaced(client_handshake.ClientHandshake, "request", lambda real: lambda self: change(real(self)))


def response_as(**change: Any) -> Plant:
    """Have the client read a response as if a part were another."""

    def make(real: Any) -> Any:
        def read(self: Any, head: bytes) -> Any:
            line, rest = head.split(b"\r\n", 1)
            return real(self, change.get("line", line) + b"\r\n" + rest)

        return read

    return replaced(client_handshake.ClientHandshake, "_read_head", make)


def nonce(key: bytes) -> Plant:
    """Have the client send this key."""
    return value(wsproto.handshake, "generate_nonce", lambda: key)


def lost_leftover(real: Any) -> Any:
    """Lose what came behind the response."""

    def accepted(self: Any, response: Any) -> Any:
        self.leftover = b""
        return real(self, response)

    return accepted


def exact_response(headers: Headers) -> None:
    if headers.get("upgrade") != "websocket":
        raise RemoteProtocolError("Upgrade")


_F: Final = Fault
CLIENT: Final = "client"
_5_2, _5_4, _5_5 = "RFC 6455 5.2", "RFC 6455 5.4", "RFC 6455 5.5"

FAULTS: Final[list[Fault]] = [
    # frames that are read
    _F("RSV2 and RSV3 are not looked at", _5_2, "3", first_byte(lambda first: first & ~0x30)),
    _F("RSV1 is not looked at", _5_2, "3.4", first_byte(lambda first: first & ~0x40)),
    _F("reserved opcodes are taken as pongs", _5_2, "4.2", first_byte(lambda _: 0x8A, lambda each: each & 0xF > 0xA)),
    _F("fragmented control frames are taken", _5_5, "5.1", first_byte(lambda each: each | 0x80, lambda each: each & 8)),
    _F("fragments need no message", _5_4, "5.9", orphans),
    _F("messages may begin within messages", _5_4, "5.18", orders_ignored()),
    _F(
        "unmasked frames are taken",
        "RFC 6455 5.1",
        "25.1.1",
        value(validation, "check_length_byte", lambda *_, **__: None),
    ),
    _F("masked frames are taken", "RFC 6455 5.1", "25.3.1", no_check(validation, "check_length_byte"), CLIENT),
    _F("long control frames are taken", _5_5, "23.2.3", length_byte(opcode=1)),
    _F(
        "half a close code is taken",
        "RFC 6455 5.5.1",
        "7.3.2",
        together(
            length_byte(opcode=1),
            replaced(validation, "read_close", lambda real: lambda data: real(b"\x03\xe8" if len(data) == 1 else data)),
        ),
    ),
    _F("long forms of lengths are taken", _5_2, "24.1", value(decoder, "read_length", any_length)),
    _F(
        "the top of a length is cut off",
        _5_2,
        "24.3",
        together(value(decoder, "read_length", lambda head: any_length(head) & 0xFFFF)),
    ),
    _F("a frame may have any length", "RFC 6455 10.4", "24.2", no_check(incoming, "check_message_size")),
    _F(
        "lengths of 16 bits are signed",
        _5_2,
        "1.1.6",
        replaced(
            decoder,
            "read_length",
            lambda real: (
                lambda head: abs(int.from_bytes(head[2:4], signed=True)) if head[1] & 0x7F == 126 else real(head)
            ),
        ),
    ),
    _F("close codes are not looked at", "RFC 6455 7.4", "7.9", value(validation, "is_wire_code", lambda _: True)),
    _F(
        "close codes from 3000 on are refused",
        "RFC 6455 7.4",
        "7.7",
        value(validation, "is_wire_code", lambda code: code < 3000),
    ),
    _F(
        "code 1012 to 1014 alone pass",
        "RFC 6455 7.4",
        "7.7",
        value(validation, "is_wire_code", lambda code: 1011 < code < 1015),
    ),
    _F(
        "1015 passes",
        "RFC 6455 7.4",
        "22.1.4",
        together(
            replaced(validation, "is_wire_code", lambda real: lambda code: real(code) or code == 1015),
            no_check(encoder, "check_close"),
        ),
    ),
    _F(
        "reasons are not looked at",
        "RFC 6455 8.1",
        "7.5",
        replaced(validation, "read_close", lambda real: lambda data: real(data[:2])),
    ),
    _F("text need not be UTF-8", "RFC 6455 8.1", "6.6", lenient_text),
    _F(
        "a first U+FEFF is dropped",
        "RFC 6455 5.6",
        "30.1.1",
        changed_text(lambda text: text.removeprefix("\ufeff")),
    ),
    _F("line ends are changed", "RFC 6455 5.6", "30.1.7", changed_text(lambda text: text.replace("\r\n", "\n"))),
    _F("spaces are taken off", "RFC 6455 5.6", "30.1.10", changed_text(str.strip)),
    _F("accents are composed", "RFC 6455 5.6", "30.1.12", changed_text(partial(unicodedata.normalize, "NFC"))),
    _F("surrogates are text", "RFC 6455 8.1", "6.20", surrogates),
    _F("characters may not be cut by fragments", "RFC 6455 8.1", "6.2", cut_characters),
    _F(
        "a message has at most two fragments",
        _5_4,
        "5.19",
        replaced(
            decoder.Decoder,
            "__init__",
            lambda real: lambda self, **options: real(self, **{**options, "max_fragments": 2}),
        ),
    ),
    _F(
        "a message has at most 64 KiB",
        _5_2,
        "1.1.7",
        replaced(
            decoder.Decoder,
            "__init__",
            lambda real: lambda self, **options: real(self, **{**options, "max_message_size": 65_535}),
        ),
    ),
    _F(
        "the last fragment is lost",
        _5_4,
        "5.3",
        replaced(
            assembler.TextAssembler, "finish", lambda real: lambda self, part: real(self, b"" if self._text else part)
        ),
    ),
    _F("keys are not rotated where reads cut", "RFC 6455 5.3", "25.4", value(incoming, "rotate", lambda key, _: key)),
    # failures
    _F("violations are answered with 1003", "RFC 6455 7.4.1", "3.1", violation_code(1002, 1003)),
    _F("invalid UTF-8 is answered with 1002", "RFC 6455 7.4.1", "6.3", violation_code(1007, 1002)),
    _F("bombs are answered with 1011", "RFC 6455 7.4.1", "27.4.1", violation_code(1009, 1011)),
    _F("violations are passed over", _5_2, "3.1", passed_over),
    _F("invalid UTF-8 is passed over", "RFC 6455 8.1", "6.3.1", passed_over),
    # answers
    _F("pings are not answered", "RFC 6455 5.5.2", "2.1", answering(Ping, lambda *_: b"")),
    _F("pongs have no payload", "RFC 6455 5.5.2", "2.2", answering(Ping, lambda end, *_: end.encoder.pong(b""))),
    _F(
        "pongs have 124 bytes at most",
        "RFC 6455 5.5.2",
        "2.4",
        answering(Ping, lambda end, ping, _: end.encoder.pong(ping.payload[:124])),
    ),
    _F(
        "pongs are pings", "RFC 6455 5.5.2", "2.3", answering(Ping, lambda end, ping, _: end.encoder.ping(ping.payload))
    ),
    _F("pings are answered twice", "RFC 6455 5.5.2", "2.2", answering(Ping, lambda _, __, right: right * 2)),
    _F("close frames are not answered", "RFC 6455 5.5.1", "7.1.1", answering(CloseConnection, lambda *_: b"")),
    _F(
        "close frames are answered twice",
        "RFC 6455 5.5.1",
        "7.3.3",
        answering(CloseConnection, lambda _, __, right: right * 2),
    ),
    _F("close frames are answered with 1001", "RFC 6455 5.5.1", "7.3.3", close_with(1001)),
    _F("close codes are answered with 1002", "RFC 6455 7.4", "7.7.2", close_with(1002)),
    _F(
        "the answer to a close frame has code 1006",
        "RFC 6455 7.4",
        "7.3.3",
        answering(CloseConnection, lambda *_: b"\x88\x02\x03\xee"),
    ),
    _F(
        "a pong follows the close frame",
        "RFC 6455 5.5.1",
        "7.1.3",
        answering(CloseConnection, lambda _, __, right: right + b"\x8a\0"),
    ),
    # frames that are sent
    _F(
        "a server masks",
        "RFC 6455 5.1",
        "1.1.2",
        sending(lambda frame: frame[:1] + bytes([frame[1] | 0x80]) + bytes(4) + frame[2:]),
    ),
    _F(
        "a client does not mask",
        "RFC 6455 5.1",
        "1.1.2",
        together(use_pure_codec, value(encoder, "MaskSource", lambda: None)),
        CLIENT,
    ),
    _F(
        "a client masks with one key",
        "RFC 6455 5.3",
        "25.3.7",
        together(use_pure_codec, value(masking.MaskSource, "take", lambda _: b"\1\2\3\4")),
        CLIENT,
    ),
    _F(
        "a client masks with half of the key",
        _5_2,
        "1.2.2",
        together(
            use_pure_codec,
            replaced(
                encoder,
                "encode_frame",
                lambda real: (
                    lambda *args, mask, **options: (
                        real(*args, mask=mask and mask[:2] * 2, **options)[:-1]
                        if mask
                        else real(*args, mask=mask, **options)
                    )
                ),
            ),
        ),
        CLIENT,
    ),
    _F("RSV3 is set", _5_2, "1.1.1", sending(lambda frame: bytes([frame[0] | 0x10]) + frame[1:])),
    _F("RSV1 is set without compression", _5_2, "1.1.1", sending(lambda frame: bytes([frame[0] | 0x40]) + frame[1:])),
    _F("messages have opcode 3", _5_2, "1.1.1", sending(lambda frame: bytes([frame[0] & 0xF0 | 3]) + frame[1:])),
    _F("FIN is not set", _5_2, "1.1.1", sending(lambda frame: bytes([frame[0] & 0x7F]) + frame[1:])),
    _F("text comes back as bytes", _5_2, "1.1.1", sending(lambda frame: b"\x82" + frame[1:])),
    _F("lengths are written in two bytes", _5_2, "1.1.2", sending(long_form)),
    _F("the last byte is not sent", _5_2, "1.1.2", sending(lambda frame: frame[:-1])),
    _F("messages come back twice", _5_2, "1.1.1", sending(lambda frame: frame * 2)),
    # compression
    _F("context is kept although it must not be", "RFC 7692 7.2", "13.2.4", deflater(context_takeover=True)),
    _F("the window is larger than agreed", "RFC 7692 7.2", "13.3", deflater(window_bits=15)),
    _F("the sender's context is forgotten", "RFC 7692 7.2.3.2", "27.1.3", inflater(context_takeover=False)),
    _F(
        "RSV1 is taken on continuations",
        "RFC 7692 6.1",
        "27.2.1",
        first_byte(lambda each: each & ~0x40, lambda each: each & 0xF == 0),
    ),
    _F(
        "RSV1 is taken on control frames",
        "RFC 7692 6.1",
        "27.2",
        first_byte(lambda each: each & ~0x40, lambda each: bool(each & 8)),
    ),
    _F(
        "compressed messages do not have RSV1",
        "RFC 6455 8.1",
        "12.1",
        together(
            use_pure_codec,
            replaced(encoder, "encode_frame", never_rsv1),
        ),
    ),
    _F(
        "the tail is sent too, and a byte less",
        "RFC 7692 7.2",
        "12.1",
        replaced(
            deflate.Deflater, "deflate", lambda real: lambda self, data, *, final: real(self, data, final=final)[:-1]
        ),
    ),
    _F("what cannot be inflated is dropped", "RFC 7692 7.2.2", "27.3.1", passed_over),
    _F(
        "blocks after BFINAL are not read",
        "RFC 7692 7.2.3.4",
        "27.1.5",
        replaced(
            deflate.Inflater,
            "inflate",
            lambda real: lambda self, data, **options: real(self, data, **options) if data[:1] != b"\xf3" else b"",
        ),
    ),
    _F(
        "server_max_window_bits is taken without a value",
        "RFC 7692 7.1.2.1",
        "26.2.19",
        term("server_max_window_bits", 15),
    ),
    _F("client_max_window_bits may be anything", "RFC 7692 7.1.2.2", "26.2.24", term("client_max_window_bits", 9)),
    _F(
        "server_no_context_takeover may have a value",
        "RFC 7692 7.1.1.1",
        "26.2.17",
        term("server_no_context_takeover", True),
    ),
    _F("unknown parameters are passed over", "RFC 7692 7", "26.2.15", unknown_terms),
    _F("the last of repeated parameters counts", "RFC 7692 7", "26.2.27", repeated_terms),
    _F("server_no_context_takeover is not granted", "RFC 7692 7.1.1.1", "26.2.2", answer_without("server_no_context")),
    _F("server_max_window_bits is not granted", "RFC 7692 7.1.2.1", "26.2.4", answer_without("server_max_window")),
    _F(
        "client_max_window_bits is said unasked",
        "RFC 7692 7.1.2.2",
        "26.2.1",
        answer_changed(lambda text: text + "; client_max_window_bits=10"),
    ),
    _F(
        "an extension is accepted that nobody offered",
        "RFC 6455 9.1",
        "20.1.1",
        answer_of_server(lambda head: head.replace(b"Upgrade:", b"Sec-WebSocket-Extensions: x\r\nUpgrade:")),
    ),
    _F("extensions are cut at commas and semicolons", "RFC 6455 9.1", "26.1", loose_grammar),
    _F("answers with unknown parameters pass", "RFC 7692 7", "26.3.1", unknown_terms, CLIENT),
    _F("server_max_window_bits=7 passes", "RFC 7692 7.1.2.1", "26.3.4", term("server_max_window_bits", 15), CLIENT),
    _F(
        "answers are not checked",
        "RFC 6455 9.1",
        "26.3.11",
        value(client_module, "check_response", lambda *_: None),
        CLIENT,
    ),
    # opening handshake of a server
    _F(
        "the accept token is another",
        "RFC 6455 4.2.2",
        "20.1.1",
        value(server_handshake, "ACCEPT_GUID", b"258EAFA5-E914-47DA-95CA-C5AB0DC85B12"),
    ),
    _F(
        "the 101 has no Upgrade",
        "RFC 6455 4.2.2",
        "20.1.1",
        answer_of_server(lambda head: head.replace(b"Upgrade: websocket\r\n", b"")),
    ),
    _F(
        "the 101 has no Connection",
        "RFC 6455 4.2.2",
        "20.1.1",
        answer_of_server(lambda head: head.replace(b"Connection: Upgrade\r\n", b"")),
    ),
    _F(
        "the 101 has Content-Length",
        "RFC 9110 8.6",
        "20.3.1",
        answer_of_server(lambda head: head.replace(b"Upgrade:", b"Content-Length: 0\r\nUpgrade:")),
    ),
    _F(
        "the 101 comes with HTTP/1.0",
        "RFC 9110 6.2",
        "20.3.2",
        answer_of_server(lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0")),
    ),
    _F(
        "a subprotocol is chosen that nobody offered",
        "RFC 6455 4.2.2",
        "20.1.1",
        answer_of_server(lambda head: head.replace(b"Upgrade:", b"Sec-WebSocket-Protocol: chat\r\nUpgrade:")),
    ),
    _F("any method will do", "RFC 6455 4.2.1", "20.2.1", upgrade_field(method="GET")),
    _F("HTTP/1.0 will do", "RFC 6455 4.2.1", "20.2.4", upgrade_field(http_version="1.1")),
    _F(
        "Upgrade and Connection are not looked at",
        "RFC 6455 4.2.1",
        "20.2.10",
        no_check(server_handshake, "_check_switch"),
    ),
    _F("Upgrade is compared as it is", "RFC 6455 4.2.1", "20.1.6", exact_case),
    _F("Connection is compared as it is", "RFC 6455 4.2.1", "20.1.8", exact_connection),
    _F("any key will do", "RFC 6455 4.2.1", "20.2", value(server_handshake, "_KEY", re.compile("[ -~]*"))),
    _F("the first of two keys counts", "RFC 6455 11.3.1", "20.2.22", one_of("sec-websocket-key")),
    _F("the version is not looked at", "RFC 6455 4.2.1", "20.2.25", no_check(server_handshake, "_check_version")),
    _F("the refusal of a version names none", "RFC 6455 4.4", "20.3.3", value(server_handshake, "_TELL_VERSION", ())),
    _F(
        "405 has no Allow",
        "RFC 9110 15.5.6",
        "20.3.4",
        replaced(parser, "MalformedRequest", lambda real: lambda status, message, *_: real(status, message)),
    ),
    # opening handshake of a client
    _F("the key is short", "RFC 6455 4.1", "21.1.7", nonce(b"c2hvcnQ="), CLIENT),
    _F("the key is always the same", "RFC 6455 4.1", "21.1", nonce(b"dGhlIHNhbXBsZSBub25jZQ=="), CLIENT),
    _F(
        "the request is a POST",
        "RFC 6455 4.1",
        "21.1.1",
        request_of_client(lambda head: head.replace(b"GET ", b"POST ")),
        CLIENT,
    ),
    _F(
        "the request has HTTP/1.0",
        "RFC 6455 4.1",
        "21.1.1",
        request_of_client(lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0")),
        CLIENT,
    ),
    _F(
        "the target has a fragment",
        "RFC 6455 4.1",
        "21.1.2",
        request_of_client(lambda head: head.replace(b" HTTP/1.1", b"#x HTTP/1.1")),
        CLIENT,
    ),
    _F(
        "Host is sent twice",
        "RFC 6455 4.1",
        "21.1.3",
        request_of_client(lambda head: head.replace(b"Upgrade:", b"Host: x\r\nUpgrade:")),
        CLIENT,
    ),
    _F(
        "Upgrade names another protocol",
        "RFC 6455 4.1",
        "21.1.5",
        request_of_client(lambda head: re.sub(rb"(?i)upgrade: websocket", b"Upgrade: h2c", head)),
        CLIENT,
    ),
    _F(
        "Connection is not sent",
        "RFC 6455 4.1",
        "21.1.6",
        request_of_client(lambda head: re.sub(rb"(?i)connection: upgrade\r\n", b"", head)),
        CLIENT,
    ),
    _F(
        "version 8 is sent",
        "RFC 6455 4.1",
        "21.1.9",
        request_of_client(lambda head: head.replace(b"Version: 13", b"Version: 8")),
        CLIENT,
    ),
    _F(
        "a request has Sec-WebSocket-Accept",
        "RFC 6455 11.3.3",
        "21.1.10",
        request_of_client(lambda head: head.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: x\r\n\r\n")),
        CLIENT,
    ),
    _F(
        "a request has a body",
        "RFC 9110 9.3.1",
        "21.1.11",
        request_of_client(lambda head: head.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n")),
        CLIENT,
    ),
    _F(
        "the offer is malformed",
        "RFC 6455 9.1",
        "21.1.13",
        request_of_client(lambda head: head.replace(b"permessage-deflate", b"permessage-deflate;")),
        CLIENT,
    ),
    _F("any status will do", "RFC 6455 4.1", "21.3.1", response_as(line=b"HTTP/1.1 101 x"), CLIENT),
    _F("HTTP/1.0 will do for a client", "RFC 9110 7.8", "21.3.16", response_as(line=b"HTTP/1.1 101 x"), CLIENT),
    _F(
        "Upgrade and Connection of the 101 are not looked at",
        "RFC 6455 4.1",
        "21.3.5",
        no_check(client_handshake, "_check_switch"),
        CLIENT,
    ),
    _F(
        "the accept token is not looked at",
        "RFC 6455 4.1",
        "21.3.11",
        no_check(client_handshake.ClientHandshake, "_check_token"),
        CLIENT,
    ),
    _F(
        "any subprotocol will do",
        "RFC 6455 4.1",
        "21.3.15",
        no_check(client_handshake.ClientHandshake, "_check_token"),
        CLIENT,
    ),
    _F("any extension will do", "RFC 6455 4.1", "21.3.14", no_check(client_module, "check_response"), CLIENT),
    _F(
        "Upgrade of the 101 is compared as it is",
        "RFC 6455 4.1",
        "21.2.3",
        value(client_handshake, "_check_switch", exact_response),
        CLIENT,
    ),
    _F(
        "frames behind the 101 are lost",
        "RFC 6455 4.2.2",
        "21.2.13",
        replaced(client_handshake.ClientHandshake, "_accepted", lost_leftover),
        CLIENT,
    ),
    _F(
        "early hints are an error", "RFC 9110 15.2", "21.2.12", value(client_handshake, "_MAX_INFORMATIONAL", 0), CLIENT
    ),
]
