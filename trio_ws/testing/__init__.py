"""A test client that serves applications in memory, raw peers and bad networks, for async and for plain tests.

Here: `TestClient`, its blocking twin, networks, good and bad, raw peers, the recorder of errors, the pytest plugin.
Not here: anything that a server needs in production.
Start with `client`.
"""

from trio_ws.testing.blocking import BlockingClock, BlockingTestClient, BlockingTestWebSocket
from trio_ws.testing.cancellation import CancellationPoint, LeakedDescriptor, cancel_everywhere, leaves_nothing
from trio_ws.testing.chaos_network import ChaosNetwork
from trio_ws.testing.chaos_steps import GENTLE_KINDS, ChaosScript, Deliver, HalfClose, Reset, Throttle
from trio_ws.testing.chaos_stream import ChaosStream
from trio_ws.testing.client import TestClient
from trio_ws.testing.clock import ClientClock, NoVirtualTime, virtual_time
from trio_ws.testing.cookies import ClientCookies
from trio_ws.testing.extras import UnusedOverride
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
from trio_ws.testing.wire import TornFrame

__all__ = [
    "GENTLE_KINDS",
    "BlockingClock",
    "BlockingTestClient",
    "BlockingTestWebSocket",
    "CancellationPoint",
    "ChaosNetwork",
    "ChaosScript",
    "ChaosStream",
    "ClientClock",
    "ClientCookies",
    "Deliver",
    "HalfClose",
    "HandshakeRequest",
    "HandshakeResponse",
    "InvalidFrame",
    "InvalidHead",
    "LeakedDescriptor",
    "LeakedTask",
    "MemoryNetwork",
    "Network",
    "NoVirtualTime",
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
    "TornFrame",
    "UnusedOverride",
    "Violation",
    "accept_token",
    "cancel_everywhere",
    "encode_frames",
    "frame_bytes",
    "leaves_nothing",
    "messages_of",
    "parse_frames",
    "raw_connect",
    "raw_server",
    "request_bytes",
    "response_bytes",
    "violation_of",
    "virtual_time",
]
