"""WebSocketMessage: its kinds, what each holds, and that it is a value."""

from __future__ import annotations

import pytest

from trio_ws import WebSocketMessage

KINDS = {
    "text": WebSocketMessage.text("hello"),
    "binary": WebSocketMessage.binary(b"hello"),
    "ping": WebSocketMessage.ping(b"hello"),
    "pong": WebSocketMessage.pong(b"hello"),
    "close": WebSocketMessage.close(4000, "bye"),
}


@pytest.mark.parametrize(("kind", "message"), KINDS.items(), ids=KINDS.keys())
def test_each_factory_makes_the_kind_that_one_predicate_confirms(kind, message):
    """Each factory makes its kind and exactly one test says so."""
    assert message.msg_type == kind
    assert [name for name in KINDS if getattr(message, f"is_{name}")()] == [kind]


def test_text_is_a_factory_on_class_and_a_value_on_instance():
    """Text is a factory on the class and a value on the instance."""
    message = WebSocketMessage.text("hello")
    assert message.text == "hello"
    assert message.data is None


@pytest.mark.parametrize("kind", ["binary", "ping", "pong"])
def test_the_payload_is_in_data(kind):
    assert KINDS[kind].data == b"hello"
    assert KINDS[kind].text is None


def test_binary_keeps_a_copy_of_what_can_change():
    data = bytearray(b"before")
    message = WebSocketMessage.binary(memoryview(data))
    data[:] = b"after "
    assert message.data == b"before"


def test_pings_pongs_and_closes_have_defaults():
    assert WebSocketMessage.ping().data == b""
    assert WebSocketMessage.pong().data == b""
    assert (WebSocketMessage.close().code, WebSocketMessage.close().reason) == (1000, "")


def test_a_close_holds_code_and_reason():
    message = KINDS["close"]
    assert (message.code, message.reason, message.text, message.data) == (4000, "bye", None, None)


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1006, ""), (77, ""), (1000, "x" * 124)])
def test_a_close_that_cannot_be_sent_is_not_made(code, reason):
    with pytest.raises(ValueError):  # noqa: PT011 - of the code or of the reason
        WebSocketMessage.close(code, reason)


def test_messages_are_values():
    assert WebSocketMessage.text("a") == WebSocketMessage.text("a")
    assert hash(WebSocketMessage.text("a")) == hash(WebSocketMessage.text("a"))
    assert WebSocketMessage.ping(b"a") != WebSocketMessage.pong(b"a")
    assert WebSocketMessage.text("a") != "a"
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize("name", ["msg_type", "text", "data", "code", "reason", "new"])
def test_a_message_cannot_be_changed(name):
    message = WebSocketMessage.text("a")
    with pytest.raises(AttributeError, match="immutable"):
        setattr(message, name, "b")
    with pytest.raises(AttributeError, match="immutable"):
        delattr(message, name)
    assert message == WebSocketMessage.text("a")


def test_its_repr_is_how_it_is_made():
    assert [repr(message) for message in KINDS.values()] == [
        "WebSocketMessage.text('hello')",
        "WebSocketMessage.binary(b'hello')",
        "WebSocketMessage.ping(b'hello')",
        "WebSocketMessage.pong(b'hello')",
        "WebSocketMessage.close(4000, 'bye')",
    ]
