"""A test client that serves applications in memory, raw peers and bad networks, for async and for plain tests.

Here: `TestClient`, its blocking twin, networks, good and bad, raw peers, the recorder of errors, the pytest plugin.
Not here: anything that a server needs in production.
Start with `client`.
"""

from trio_ws.testing.blocking import BlockingTestClient, BlockingTestWebSocket
from trio_ws.testing.chaos_network import ChaosNetwork
from trio_ws.testing.chaos_steps import GENTLE_KINDS, ChaosScript, Deliver, HalfClose, Reset, Throttle
from trio_ws.testing.chaos_stream import ChaosStream
from trio_ws.testing.client import TestClient
from trio_ws.testing.handshakes import HandshakeRequest, HandshakeResponse
from trio_ws.testing.http import TestResponse
from trio_ws.testing.network import MemoryNetwork, Network, SocketNetwork
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
    "GENTLE_KINDS",
    "BlockingTestClient",
    "BlockingTestWebSocket",
    "ChaosNetwork",
    "ChaosScript",
    "ChaosStream",
    "Deliver",
    "HalfClose",
    "HandshakeRequest",
    "HandshakeResponse",
    "InvalidFrame",
    "InvalidHead",
    "LeakedTask",
    "MemoryNetwork",
    "Network",
    "Opcode",
    "RawConnectionEnded",
    "RawFrame",
    "RawPeer",
    "RawRequest",
    "RawResponse",
    "RawServer",
    "Reset",
    "SocketNetwork",
    "TestClient",
    "TestResponse",
    "TestTimeout",
    "Throttle",
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
