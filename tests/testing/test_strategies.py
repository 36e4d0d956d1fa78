"""The strategies give what they promise, agree with the codec, and shrink to the examples that people would write."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from trio_ws.codes import is_wire_code
from trio_ws.config import Limits
from trio_ws.errors import RemoteProtocolError
from trio_ws.http.head import MalformedRequest
from trio_ws.http.parser import RequestParser, check_http
from trio_ws.http.url import URL
from trio_ws.protocol.client_handshake import AcceptedHandshake, ClientHandshake
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.negotiation import ExtensionSyntaxError, accept_offer, parse_extensions
from trio_ws.protocol.server_handshake import read_upgrade
from trio_ws.testing.oracle import encode_frames, messages_of, parse_frames, violation_of
from trio_ws.testing.raw_frame import Opcode, RawFrame
from trio_ws.testing.strategies import (
    Conversation,
    binaries,
    close_codes,
    close_frames,
    compressions,
    control_frames,
    conversations,
    cuts,
    damaged,
    deflate_parameters,
    fragmented,
    frames,
    handshakes,
    json_values,
    messages,
    read_sizes,
    sizes,
    texts,
)

try:
    from trio_ws.protocol import speedups
except ImportError:
    speedups = None  # type: ignore[assignment]

SENDERS = pytest.mark.parametrize("sender", ["client", "server"])
DECODERS: list[Any] = [Decoder] if speedups is None else [Decoder, speedups.CompiledDecoder]
FINDING = settings(max_examples=2000, database=None, deadline=None, phases=[Phase.generate], derandomize=True)
SHRINKING = settings(FINDING, phases=[Phase.generate, Phase.shrink])
FEW = settings(max_examples=max(1, settings.default.max_examples // 3))
"""For what takes long to draw; `TRIO_WS_MAX_EXAMPLES` makes it more."""


def smallest(strategy: st.SearchStrategy[Any], condition: Any) -> Any:
    """Return what Hypothesis prints for a fault that `condition` finds."""
    return find(strategy, condition, settings=SHRINKING)


def drawn(strategy: st.SearchStrategy[Any], condition: Any) -> Any:
    """Return a value that is drawn and fulfils `condition`, not made smaller."""
    return find(strategy, condition, settings=FINDING)


def find_all(strategy: st.SearchStrategy[Any], kinds: Any, wanted: set[Any]) -> None:
    """Draw until each wanted kind was seen; `kinds` returns those of one value."""
    seen: set[Any] = set()

    def complete(value: Any) -> bool:
        seen.update(kinds(value))
        return seen >= wanted

    try:
        find(strategy, complete, settings=FINDING)
    except NoSuchExample:
        pytest.fail(f"never drawn: {wanted - seen}")


def read(decoder: Any, sender: str, *pieces: bytes) -> list[Any]:
    """Return the items that a decoder makes of what `sender` sends."""
    made = decoder(client=sender == "server", max_message_size=1 << 20, max_fragments=1000)
    items: list[Any] = []
    for piece in pieces:
        made.decode(memoryview(piece), items, 1 << 40, 1 << 40)
    return items


# --- what they give -------------------------------------------------------------------------------------------------


@given(texts(max_size=130, around=[130]))
def test_texts_are_unicode_and_not_larger_than_asked(text: str) -> None:
    assert len(text.encode()) <= 130


def test_texts_come_to_each_form_of_the_length() -> None:
    find_all(texts(), lambda text: {len(text.encode())}, {0, 125, 126, 127, 65_535, 65_536})


def test_texts_come_to_each_boundary_of_utf_8() -> None:
    find_all(texts(max_size=100), set, set("\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"))


def test_a_boundary_of_lengths_cuts_a_character() -> None:
    found = find(texts(), lambda text: len(text.encode()) == 126 and not text.isascii(), settings=FINDING)
    assert found.encode()[:125].decode(errors="replace").endswith("\ufffd")


def test_sizes_come_near_to_what_is_asked_for() -> None:
    find_all(sizes(around=[1000]), lambda size: {size}, {999, 1000, 1001})


@given(st.data(), st.integers(0, 3))
def test_json_values_come_back_from_json_the_same(data: st.DataObject, depth: int) -> None:
    value = data.draw(json_values(max_depth=depth))
    assert json.loads(json.dumps(value)) == value
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert str(value).count("[") < 200


def test_json_values_are_as_deep_as_is_allowed() -> None:
    deep = find(json_values(), lambda value: str(value).startswith("[" * 128), settings=SHRINKING)
    assert str(deep) == "[" * 128 + "]" * 128


@SENDERS
@given(st.data())
def test_valid_frames_are_accepted_by_codec_and_oracle(sender: Any, data: st.DataObject) -> None:
    frame = data.draw(frames(sender=sender))
    assert violation_of([frame], sender=sender) is None
    assert frame.masked is (sender == "client")
    for decoder in DECODERS:
        assert not any(isinstance(item, ViolationEvent) for item in read(decoder, sender, frame.encode()))


@SENDERS
@given(st.data())
def test_codec_answers_invalid_frames_with_the_oracles_code(sender: Any, data: st.DataObject) -> None:
    frame = data.draw(frames(valid=False, sender=sender))
    expected = violation_of([frame], sender=sender)
    assert expected is not None
    for decoder in DECODERS:
        (item,) = read(decoder, sender, frame.encode())
        assert item.code == expected.code, expected


@pytest.mark.slow
def test_invalid_frames_break_rules_of_each_section() -> None:
    wanted = {f"RFC 6455 {section}" for section in ("5.1", "5.2", "5.4", "5.5", "5.5.1", "7.4", "8.1")}
    find_all(frames(valid=False), lambda frame: {violation_of([frame]).section}, wanted)


@SENDERS
@FEW
@given(st.data())
def test_a_valid_conversation_is_received_as_it_says(sender: Any, data: st.DataObject) -> None:
    said = data.draw(conversations(sender=sender))
    pieces = data.draw(cuts(said.encode()))
    assert said.violation is None
    for decoder in DECODERS:
        items = read(decoder, sender, said.encode())
        assert [item for item in items if isinstance(item, str | bytes)] == said.messages
        assert read(decoder, sender, *pieces) == items


@SENDERS
@FEW
@given(st.data())
def test_an_invalid_conversation_ends_with_the_oracles_code(sender: Any, data: st.DataObject) -> None:
    said = data.draw(conversations(valid=False, sender=sender))
    assert said.violation is not None
    assert said.violation.index == len(said.frames) - 1
    for decoder in DECODERS:
        items = read(decoder, sender, said.encode())
        assert items[-1].code == said.violation.code, said.violation
        assert [item for item in items if isinstance(item, str | bytes)] == said.messages


@given(messages(max_size=300).flatmap(lambda message: st.tuples(st.just(message), fragmented(message))))
def test_fragments_carry_their_message(drawn: tuple[Any, Any]) -> None:
    message, parts = drawn
    assert messages_of(parts) == [message]
    assert messages_of(parts, sender="server") == []


def test_fragments_are_cut_inside_characters_unless_unwanted() -> None:
    def cut_inside(parts: tuple[RawFrame, ...]) -> bool:
        return len(parts) > 1 and parts[0].payload == b"\xe2"

    assert drawn(fragmented("€", controls=False), cut_inside)
    whole = fragmented("€€", controls=False, inside_characters=False)
    assert drawn(whole, lambda parts: [part.payload.decode() for part in parts] == ["€", "€"])


@given(close_frames(sender="server"), close_frames(valid=False, sender="server"))
def test_close_frames_are_valid_or_not(good: RawFrame, bad: RawFrame) -> None:
    assert violation_of([good], sender="server") is None
    assert violation_of([bad], sender="server") is not None
    assert good.close_code == 1005 or is_wire_code(good.close_code)


@given(close_codes(), close_codes(valid=False), control_frames())
def test_parts_of_frames_are_what_they_are_called(good: int, bad: int, control: RawFrame) -> None:
    assert is_wire_code(good)
    assert not is_wire_code(bad)
    assert control.opcode in (Opcode.PING, Opcode.PONG)


@given(st.binary(max_size=300), st.data())
def test_cuts_lose_nothing_and_no_piece_is_empty(content: bytes, data: st.DataObject) -> None:
    pieces = data.draw(cuts(content))
    assert b"".join(pieces) == content
    assert all(pieces)


@given(st.data(), read_sizes(max_size=5, max_reads=3))
def test_damage_is_bounded(data: st.DataObject, reads: list[int]) -> None:
    assert abs(len(data.draw(damaged(bytes(20), max_changes=2))) - 20) <= 6
    assert len(reads) <= 3
    assert all(1 <= size <= 5 for size in reads)


@given(st.lists(frames(), max_size=3), st.binary(max_size=3))
def test_frames_are_parsed_as_they_were_encoded(sent: list[RawFrame], rest: bytes) -> None:
    parsed, left = parse_frames(encode_frames(sent) + rest)
    assert parsed[: len(sent)] == sent
    assert b"".join(frame.encode() for frame in parsed[len(sent) :]) + left == rest


@given(frames(valid=False))
def test_broken_frames_are_parsed_as_they_were_encoded(frame: RawFrame) -> None:
    assert parse_frames(frame.encode()) == ([frame], b"")


# --- handshakes -----------------------------------------------------------------------------------------------------


def status_of(request: Any) -> int:
    """Return the status with which our server answers a request."""
    try:
        head = RequestParser(Limits()).feed(request.encode())
        check_http(head)
        parse_extensions(read_upgrade(head).extensions)
    except MalformedRequest as error:
        return error.status
    except ExtensionSyntaxError:
        return 400
    return 101


@given(handshakes())
def test_valid_requests_are_accepted(request: Any) -> None:
    assert request.valid
    assert status_of(request) == request.status == 101


@given(handshakes(valid=False))
def test_invalid_requests_get_the_status_they_name(request: Any) -> None:
    assert not request.valid
    assert status_of(request) == request.status, request.rule


@given(handshakes(side="server"))
def test_valid_responses_are_accepted(response: Any) -> None:
    assert isinstance(answered(response), AcceptedHandshake)


@given(handshakes(valid=False, side="server"))
def test_invalid_responses_are_refused(response: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        answered(response)


@pytest.mark.parametrize(
    ("side", "rules"),
    [("client", {"HTTP is older than 1.1", "the method is not GET"}), ("server", {"HTTP is older than 1.1"})],
)
def test_invalid_handshakes_come_to_each_part_of_a_first_line(side: Any, rules: set[str]) -> None:
    find_all(handshakes(valid=False, side=side), lambda handshake: {handshake.rule}, rules)


def test_invalid_deflate_parameters_come_to_each_kind() -> None:
    def kinds(offer: str) -> set[str]:
        words = [word.strip() for word in offer.split(";")[1:]]
        names = [word.partition("=")[0] for word in words]
        found = {"twice"} if len(set(names)) < len(names) else set()
        found |= {"a value" for word in words if "takeover=" in word}
        found |= {"no value" for word in words if word == "server_max_window_bits"}
        return found | {"unknown" for name in names if name in ("x", "mux")}

    find_all(deflate_parameters(valid=False), kinds, {"twice", "a value", "no value", "unknown"})


@pytest.mark.parametrize(("kind", "types"), [(None, {str, bytes}), ("text", {str}), ("binary", {bytes})])
def test_messages_have_the_kind_asked_for(kind: Any, types: set[type]) -> None:
    find_all(messages(kind), lambda message: {str if isinstance(message, str) else bytes}, types)


def test_invalid_close_codes_come_to_each_range() -> None:
    ranges = {range(1000), range(1000, 3000), range(5000, 65_536)}
    find_all(close_codes(valid=False), lambda code: {each for each in ranges if code in each}, ranges)


def answered(response: Any) -> object:
    handshake = ClientHandshake(URL.parse("ws://testserver/"))
    key = next(
        line for line in handshake.request().decode().split("\r\n") if line.lower().startswith("sec-websocket-key")
    )
    return handshake.feed(response.encode(key.split(":")[1].strip()))


@given(deflate_parameters(), deflate_parameters(valid=False), compressions())
def test_deflate_parameters_are_accepted_or_declined(good: str, bad: str, compression: Any) -> None:
    assert accept_offer(good, compression) is not None
    try:
        assert accept_offer(bad, compression) is None
    except ExtensionSyntaxError:
        pass


# --- how they shrink ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "fault", "example"),
    [
        (messages(), lambda message: isinstance(message, str), ""),
        (messages(), lambda message: isinstance(message, bytes), b""),
        (messages(), lambda message: isinstance(message, bytes) and len(message) > 2, bytes(3)),
        (texts(), lambda text: any(ord(character) > 0xFFFF for character in text), 1),
        (texts(), lambda text: any(character > "\ud7ff" for character in text), "\ue000"),
        (texts(), lambda text: len(text.encode()) > 125, "x" * 126),
        (texts(), lambda text: len(text.encode()) >= 200, "x" * 200),
        (sizes(), lambda size: size >= 1234, 1234),
        (binaries(), lambda data: len(data) > 0xFFFF, bytes(0x10000)),
        (json_values(), lambda value: isinstance(value, float) and value != int(value), 0.5),
        (json_values(), lambda value: isinstance(value, dict) and None in value.values(), {"": None}),
        (frames(), lambda frame: frame.opcode == Opcode.PING, RawFrame(Opcode.PING, masked=True)),
        (frames(), lambda frame: not frame.fin, RawFrame(Opcode.TEXT, fin=False, masked=True)),
        (frames(valid=False), lambda frame: frame.rsv1, RawFrame(Opcode.TEXT, rsv1=True, masked=True)),
        (frames(valid=False), lambda frame: not frame.masked, RawFrame(Opcode.TEXT)),
        (close_frames(), lambda frame: frame.close_reason, RawFrame(Opcode.CLOSE, b"\x03\xe80", masked=True)),
        (cuts(b"abcdef"), lambda pieces: pieces[0] == b"ab", (b"ab", b"cdef")),
        (cuts(b"abcdef"), lambda pieces: True, (b"abcdef",)),
        (fragmented("ab"), lambda parts: any(part.opcode == Opcode.PING for part in parts), 3),
        (
            conversations(max_size=200),
            lambda said: "" in said.messages,
            Conversation((RawFrame(Opcode.TEXT, masked=True),)),
        ),
        (
            conversations(max_size=200),
            lambda said: said.close_code == 1005,
            Conversation((RawFrame(Opcode.CLOSE, masked=True),)),
        ),
        (conversations(max_size=200), lambda said: len(said.messages) > 1, 2),
        (
            conversations(valid=False, max_size=200),
            lambda said: said.violation.section == "RFC 6455 5.4",
            Conversation((RawFrame(Opcode.CONTINUATION, masked=True),)),
        ),
        pytest.param(
            conversations(valid=False, max_size=200),
            lambda said: said.violation.rule == "a message ends before the next one begins",
            2,
            marks=pytest.mark.thorough("test_a_planted_fault_is_shown_by_its_smallest_example"),
        ),
    ],
)
def test_a_planted_fault_is_shown_by_its_smallest_example(strategy: Any, fault: Any, example: Any) -> None:
    """The example is what a person would write, or has as many frames."""
    found = smallest(strategy, fault)
    if isinstance(example, int) and not isinstance(found, int):
        assert len(getattr(found, "frames", found)) == example
    else:
        assert found == example


@pytest.mark.slow
def test_hypothesis_is_imported_with_the_strategies_only() -> None:
    program = "import sys, trio_ws.testing; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["False"], "")


@pytest.mark.parametrize("sender", ["client", "server"])
def test_close_frames_of_either_side_are_masked_as_it_has_to(sender: str) -> None:
    """Built anew here: what others have asked for is remembered."""
    build = close_frames.__wrapped__  # type: ignore[attr-defined]
    assert drawn(build(sender=sender), lambda frame: len(frame.payload) >= 2).masked == (sender == "client")
    assert drawn(build(valid=False, sender=sender), lambda frame: len(frame.payload) == 126)
    assert drawn(build(valid=False, sender=sender), lambda frame: frame.payload == b"\0")
