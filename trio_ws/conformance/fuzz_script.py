"""A failing conversation as wire bytes, and as a script that needs nothing but Python."""

from __future__ import annotations

from typing import Final

from trio_ws.conformance.case import Case
from trio_ws.conformance.opening import PLAIN_REQUEST
from trio_ws.conformance.server_under_test import ServerUnderTest
from trio_ws.conformance.steps import BY_FRAME, TOGETHER, Send
from trio_ws.escaping import printable

__all__ = ["script_of", "writes_of"]

_SCRIPT: Final = '''\
"""{title}"""

import socket
import ssl
import time

HOST, PORT, SECURE = {host!r}, {port}, {secure}
REQUEST = (
{request}
)
WRITES = [
{writes}
]

connection = socket.create_connection((HOST, PORT), 5)
if SECURE:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = context.wrap_socket(connection, server_hostname=HOST)
connection.sendall(REQUEST)
received = b""
while b"\\r\\n\\r\\n" not in received:
    data = connection.recv(65536)
    assert data, "the server left"
    received += data
head, _, received = received.partition(b"\\r\\n\\r\\n")
print(head.decode("latin-1"))
try:
    for write in WRITES:
        connection.sendall(write)
        time.sleep({pause})
    connection.settimeout(3)
    while data := connection.recv(65536):
        received += data
    print("the server ended the connection")
except TimeoutError:
    print("the server keeps the connection open")
except OSError as error:
    print("the connection broke:", error)
print("received:", received.hex(" "))
'''


def writes_of(case: Case) -> list[bytes]:
    """Return the bytes of a case's frames, as they are cut into writes."""
    writes: list[bytes] = []
    for step in case.steps:
        if isinstance(step, Send):
            pieces = [frame.encode() for frame in step.frames]
            if step.chop != BY_FRAME:
                whole = b"".join(pieces)
                size = len(whole) if step.chop == TOGETHER else step.chop
                pieces = [whole[start : start + size] for start in range(0, len(whole), max(size, 1))]
            writes += pieces
    return writes


def script_of(case: Case, target: ServerUnderTest, text: str) -> str:
    """Return a script that repeats the conversation.

    Args:
        case: what is sent.
        target: the server.
        text: what was wrong, for the docstring.
    """
    context = target.context()
    request = PLAIN_REQUEST.encode(context.host, context.target, context.request_lines())
    return _SCRIPT.format(
        title=printable(text).replace("\\", "\\\\").replace('"', "'"),
        host=target.url.hostname,
        port=target.url.port,
        secure=target.url.secure,
        request="\n".join(f"    {line!r}" for line in request.splitlines(keepends=True)),
        writes="\n".join(f'    bytes.fromhex("{write.hex()}"),' for write in writes_of(case)),
        pause=0.001 if len(writes_of(case)) > 20 else 0.05,
    )
