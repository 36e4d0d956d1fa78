"""The internal names of the library that tests look behind the public ones for.

A test that needs one takes it from here, so that this table shows what the tests depend on.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

__all__ = ["INTERNALS", "internal", "set_internal"]

INTERNALS: Final = {
    # protocol and connection
    "_apply_mask": "a decoder's function that unmasks",
    "_message": "the message that a decoder gathers",
    "_partial": "a large message of the core's that a decoder gathers",
    "_between": "whether a decoder is between two messages",
    "_stream": "zlib's object of an inflater or deflater; a transport's stream",
    "_shared": "the compressors that all connections share",
    "_idle": "compressors that are not in use",
    "_get_library": "the zlib of the shared compressors",
    "_unparsed": "data that a reader keeps back",
    "_endpoint": "the protocol's state of a reader",
    "_heap": "the deadlines of `Timers`",
    "_callbacks": "callbacks that wait for room",
    "_advance": "the step of the incremental JSON reader",
    # transport
    "_sock": "the socket of a transport",
    "_fd": "the descriptor of a transport's socket",
    "_socket": "the transport below TLS",
    "_session": "the TLS session; a room's session",
    "_tls": "the `ssl.SSLObject` of a session",
    "_outgoing": "ciphertext that TLS has to send",
    "_plaintext": "the buffer that TLS decrypts into",
    "_continue_handshake": "the step of a TLS handshake",
    "_kqueue": "the kernel's queue of a selector",
    # http, server and client
    "_address": "the parser of a forwarded address",
    "_buffer": "data of a head that is not parsed yet",
    "_read": "the parser of a request in general",
    "_parse_common_request": "the parser of a request in its common form",
    "_early": "data that came before the handshake's answer",
    "_admission": "the limits of a server",
    "_ceiling": "the limit of descriptors",
    "_client": "the client of a test's connection that closes",
    "_OneService": "the responder with one service",
    # app and testing
    "_listener": "the listener of a test client's server",
    "_pieces": "the parts of a file that is sent",
    "_request": "the request of a resolver",
    "_recent": "the revocations of the last minute",
    "_websocket": "the connection of a resolver",
    # rooms
    "_open": "rooms that have members",
    "_known": "all rooms of a registry",
    "_place": "the registry of a room, and its topic",
    "_delivery": "the queues of a room's members",
    "_size": "bytes that wait in a member's queue",
    "_publishers": "tasks that publish; publishers that a stream has seen",
    "_subscriptions": "a backplane's subscriptions by room",
    # rooms on Redis
    "_local": "the delivery in this process",
    "_running_commands": "the queue of commands",
    "_waiting": "commands that are not sent",
    "_under_way": "commands that are sent and not answered",
    "_abandoned": "commands whose caller has gone",
    "_numbers": "the numbers of commands",
    "_reader": "the reader of all streams",
    "_streams": "streams that are read, by room",
    "_channels": "subscribed channels",
    "_opening": "rooms that are being opened",
    "_confirmer": "the check of streams over a connection",
    "_opener": "the opening of subscriptions",
    "_read_entries": "the step of the reader",
    "_query_runner": "the runner of queries",
    "_unreadable": "rooms that cannot be read",
    "_faults": "how often a room could not be read",
    "_end": "the query for the end of a stream",
    "_keys": "the names of keys",
    "_heads": "the newest entries of streams",
    "_process": "the id of this process",
    "_presence": "the presence of members",
    "_present": "members that are present",
    "_change": "the note of a change of presence",
    "_history": "the search for the newest entries that are ours",
    "_refresh_quiet": "the call that prolongs the presence in rooms without changes",
    "_to_rewrite": "rooms whose members are written from the beginning",
    "_poll_quiet": "the call that asks which rooms have entries to read",
    "_to_read": "rooms to read",
    # cli
    "_parser": "the parser of arguments",
    "_Supervisor": "the supervisor",
    "_Worker": "the supervisor's end of a worker",
    "_command": "the command line of a worker",
    "_launch": "the start of a worker",
    "_live": "workers that run",
    "_prepare": "the preparation of a worker's process",
    "_descriptors_in_use": "the count of descriptors",
}
"""Names, and what they are for the tests."""


def internal(owner: Any, path: str) -> Any:
    """Return an internal attribute of an object of the library.

    Args:
        owner: the object, a class or a module.
        path: attributes joined by dots; those that begin with an underscore are in `INTERNALS`.
    """
    unknown = [name for name in path.split(".") if name.startswith("_") and name not in INTERNALS]
    assert not unknown, f"not in support.internals.INTERNALS: {unknown}"
    return attrgetter(path)(owner)


def set_internal(owner: Any, path: str, value: Any) -> None:
    """Replace an internal attribute of an object of the library."""
    parent, _, name = path.rpartition(".")
    assert name in INTERNALS, f"not in support.internals.INTERNALS: {name}"
    setattr(internal(owner, parent) if parent else owner, name, value)
