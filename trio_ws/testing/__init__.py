"""A test client that serves applications in memory, raw peers, for async and for plain tests.

Here: `TestClient`, its blocking twin, the network in memory, raw peers, the recorder of errors, the pytest plugin.
Not here: anything that a server needs in production.
Start with `client`.
"""

from trio_ws.testing.blocking import BlockingTestClient, BlockingTestWebSocket
from trio_ws.testing.client import TestClient
from trio_ws.testing.handshakes import HandshakeRequest, HandshakeResponse
from trio_ws.testing.http import TestResponse
from trio_ws.testing.oracle import Violation, encode_frames, messages_of, parse_frames, violation_of
from trio_ws.testing.raw_frame import Opcode, RawFrame, frame_bytes
from trio_ws.testing.raw_head import InvalidHead, RawRequest, RawResponse, accept_token, request_bytes, response_bytes
from trio_ws.testing.raw_input import RawConnectionEnded
from trio_ws.testing.raw_network import RawServer, raw_connect, raw_server
from trio_ws.testing.raw_peer import RawPeer
from trio_ws.testing.raw_reader import InvalidFrame
from trio_ws.testing.recorder import LeakedTask
from trio_ws.testing.timeouts import TestTimeout

__all__ = [
    "BlockingTestClient",
    "BlockingTestWebSocket",
    "HandshakeRequest",
    "HandshakeResponse",
    "InvalidFrame",
    "InvalidHead",
    "LeakedTask",
    "Opcode",
    "RawConnectionEnded",
    "RawFrame",
    "RawPeer",
    "RawRequest",
    "RawResponse",
    "RawServer",
    "TestClient",
    "TestResponse",
    "TestTimeout",
    "Violation",
    "accept_token",
    "encode_frames",
    "frame_bytes",
    "messages_of",
    "parse_frames",
    "raw_connect",
    "raw_server",
    "request_bytes",
    "response_bytes",
    "violation_of",
]
