"""TLSSession alone, without sockets: two sessions whose output is each other's input."""

from __future__ import annotations

import os
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tls import contexts

from trio_ws.transport.tls_session import RECORD_BYTES, RECORDS, TLSSession

BUFFER_BYTES = 256 * 1024


def make_pair() -> tuple[TLSSession, TLSSession]:
    """Return a server's and a client's session, before the handshake."""
    server, client = contexts()
    return TLSSession(server), TLSSession(client, "localhost")


def connected() -> tuple[TLSSession, TLSSession]:
    """Return a server's and a client's session after the handshake."""
    server, client = make_pair()
    client.do_handshake()
    while not (server.handshake_done and client.handshake_done):
        for source, target in ((client, server), (server, client)):
            if source.pending_output:
                target.feed(source.take_ciphertext())
                if not target.handshake_done:
                    target.do_handshake()
    if server.pending_output:
        client.feed(server.take_ciphertext())  # tickets, in TLS 1.3
    assert decrypted(client) == b""
    return server, client


def decrypted(session: TLSSession, size: int = BUFFER_BYTES) -> bytes:
    """Return what one call decrypts."""
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: session.decrypt(buffer)])


def test_new_session_has_neither_input_nor_an_end():
    for session in make_pair():
        assert (session.has_input, session.eof, session.error) == (False, False, None)
        assert (session.handshake_done, session.pending_output) == (False, 0)


def test_data_passes_both_ways_after_handshake():
    server, client = connected()
    server.feed(client.encrypt(b"hello"))
    assert decrypted(server) == b"hello"
    client.feed(server.encrypt(b"hi"))
    assert decrypted(client) == b"hi"
    for session in (server, client):
        assert (session.has_input, session.eof) == (False, False)


def test_handshake_of_several_records_needs_one_feed():
    """A hello of more than a record is put into OpenSSL's buffer in parts."""
    server, _ = make_pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([f"{number:0250}" for number in range(100)])
    client = TLSSession(context, "localhost")
    client.do_handshake()
    hello = client.take_ciphertext()
    assert len(hello) > RECORD_BYTES
    server.feed(hello)
    assert not server.do_handshake()
    assert server.pending_output


@pytest.mark.parametrize("early", [b"", b"x"], ids=["nothing behind", "data behind"])
def test_handshake_leaves_input_only_if_data_is_behind_it(early):
    server, client = make_pair()
    client.do_handshake()
    server.feed(client.take_ciphertext())
    assert not server.do_handshake()
    assert not server.has_input
    client.feed(server.take_ciphertext())
    assert client.do_handshake()
    assert not client.has_input
    last = client.take_ciphertext()
    server.feed(last + client.encrypt(early) if early else last)
    assert server.do_handshake()
    assert server.has_input == bool(early)
    assert decrypted(server) == early


def test_garbage_in_handshake_raises_and_ends_session():
    server, _ = make_pair()
    server.feed(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        server.do_handshake()
    assert server.error is caught.value
    assert server.eof
    assert server.has_input


@pytest.mark.parametrize("size", [0, 1, RECORD_BYTES, RECORD_BYTES + 1, 5 * RECORD_BYTES])
def test_plaintext_of_any_size_comes_out_whole(size):
    server, client = connected()
    data = os.urandom(size)
    if size:
        server.feed(client.encrypt(data))
    assert decrypted(server) == data


def test_records_beyond_a_turn_stay_for_next_call_without_feed():
    server, client = connected()
    server.feed(b"".join(client.encrypt(b"x") for _ in range(2 * RECORDS + 1)))
    sizes = []
    while server.has_input:
        sizes.append(len(decrypted(server)))
    assert sizes == [RECORDS, RECORDS, 1]


def test_rest_of_input_survives_change_of_its_memory():
    """The input is in a buffer that other connections use afterwards."""
    server, client = connected()
    shared = bytearray(b"".join(client.encrypt(bytes([65 + number]) * 8000) for number in range(8)))
    server.feed(memoryview(shared))
    first = decrypted(server, 2 * RECORD_BYTES)
    assert server.has_input
    shared[:] = bytes(len(shared))
    data = first
    while server.has_input:
        data += decrypted(server)
    assert data == b"".join(bytes([65 + number]) * 8000 for number in range(8))


def test_no_more_plaintext_than_the_buffer_holds():
    server, client = connected()
    server.feed(client.encrypt(bytes(6 * RECORD_BYTES)))
    sizes = []
    while server.has_input:
        sizes.append(len(decrypted(server, 3 * RECORD_BYTES)))
    assert sum(sizes) == 6 * RECORD_BYTES
    assert max(sizes) <= 3 * RECORD_BYTES


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=4), st.data())
def test_input_cut_anywhere_gives_the_same_plaintext(sizes, data):
    server, client = connected()
    messages = [os.urandom(size) for size in sizes]
    cipher = b"".join(client.encrypt(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(cipher)), max_size=5)))
    received = b""
    for start, end in zip([0, *cuts], [*cuts, len(cipher)], strict=True):
        if start < end:
            server.feed(cipher[start:end])  # also while input is left
        if data.draw(st.booleans()):
            received += decrypted(server)
    while server.has_input:
        received += decrypted(server)
    assert received == b"".join(messages)


def test_data_before_close_notify_is_returned_before_the_end():
    server, client = connected()
    server.feed(client.encrypt(b"last") + client.close_notify())
    assert decrypted(server) == b"last"
    assert (server.eof, server.has_input, server.error) == (True, True, None)


def test_data_before_a_broken_record_is_returned_and_error_kept():
    server, client = connected()
    broken = bytearray(client.encrypt(b"second"))
    first, broken[-1] = client.encrypt(b"third"), broken[-1] ^ 1
    server.feed(bytes(broken) + first)
    assert decrypted(server) == b""
    assert isinstance(server.error, ssl.SSLError)
    assert server.eof
    assert server.pending_output  # the alert


def test_encrypt_takes_pending_output_along():
    """In TLS 1.3 a server's tickets are pending after the handshake."""
    server, client = make_pair()
    client.do_handshake()
    server.feed(client.take_ciphertext())
    server.do_handshake()
    client.feed(server.take_ciphertext())
    assert client.do_handshake()
    server.feed(client.take_ciphertext())
    assert server.do_handshake()
    assert server.pending_output
    client.feed(server.encrypt(b"x"))
    assert not server.pending_output
    assert decrypted(client) == b"x"


def test_close_notify_ends_the_peers_input():
    server, client = connected()
    client.feed(server.close_notify())
    assert decrypted(client) == b""
    assert client.eof


def test_abort_drops_the_rest_and_is_an_end():
    server, client = connected()
    server.feed(b"".join(client.encrypt(bytes(RECORD_BYTES)) for _ in range(3)))
    server.abort()
    assert server.eof
    assert server.has_input
    assert server.error is None


@pytest.mark.parametrize("way", ["abort", "broken record", "close_notify", "no TLS"])
def test_a_session_that_has_ended_keeps_none_of_its_input(way):
    """The rest of it is in a buffer that others use, or as large as one."""
    if way == "no TLS":
        (server, _), begin = make_pair(), b"GET / HTTP/1.1\r\n\r\n"
    else:
        server, client = connected()
        begin = client.close_notify() if way == "close_notify" else client.encrypt(b"x")
        if way == "broken record":
            begin = begin[:-1] + bytes([begin[-1] ^ 1])
    shared = bytearray(begin.ljust(3 * RECORD_BYTES))
    server.feed(memoryview(shared))
    if way == "abort":
        server.abort()
    elif way == "no TLS":
        with pytest.raises(ssl.SSLError):
            server.do_handshake()
    else:
        assert decrypted(server) == b""
    assert server.eof
    shared.clear()  # which fails as long as there is a view of it


@pytest.mark.parametrize("polite", [True, False], ids=["close_notify", "cut"])
def test_read_returns_one_record_then_none_then_the_end(polite):
    server, client = connected()
    client.feed(server.encrypt(b"one") + server.encrypt(b"two"))
    assert (client.read(), client.has_input) == (b"one", True)
    assert (client.read(), client.has_input) == (b"two", False)
    assert (client.read(), client.has_input) == (None, False)
    if polite:
        client.feed(server.close_notify())
    else:
        client.feed_eof()
    assert (client.read(), client.eof, client.has_input) == (b"", True, True)


def test_name_without_certificate_is_refused():
    with pytest.raises(ValueError, match="label empty"):
        TLSSession(contexts()[1], ".localhost")
