"""What is read behind a request, before its answer."""

from __future__ import annotations

from trio_ws import Limits
from trio_ws.server.request_receiver import EARLY_BYTES, RequestReceiver


def test_bytes_behind_a_request_are_read_up_to_a_bound() -> None:
    receiver = RequestReceiver(Limits())
    receiver.data_received(memoryview(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 0.0)
    for size, wanted in ((0, True), (EARLY_BYTES - 1, True), (1, False)):
        receiver.data_received(memoryview(bytes(size)), 0.0)
        assert receiver.wants_data() == wanted
    assert receiver.take_early_bytes() == bytes(EARLY_BYTES)
    assert receiver.wants_data()
