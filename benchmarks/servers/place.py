"""The command line and the listening socket of every server."""

from __future__ import annotations

import argparse
import ctypes
import signal
import socket
import ssl

import attrs

BACKLOG = 4096
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@attrs.frozen
class Place:
    """The socket and the options of a server."""

    sock: socket.socket
    ssl_context: ssl.SSLContext | None
    certificate: str | None
    """The file of the context, with key and certificate."""
    deflate: bool
    broadcast: bool
    """Whether to send messages to all connections, instead of back."""


def place() -> Place:
    """Read the command line, listen on a free port of the loopback interface and print its number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", help="a file with key and certificate: serve TLS")
    parser.add_argument("--deflate", action="store_true", help="take permessage-deflate, without context takeover")
    parser.add_argument("--broadcast", action="store_true", help="send every message to all connections")
    arguments = parser.parse_args()
    context = None
    if arguments.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # who started us may be killed before it can end us
    sock = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    sock.setblocking(False)
    print(sock.getsockname()[1], flush=True)
    return Place(sock, context, arguments.certificate, arguments.deflate, arguments.broadcast)
