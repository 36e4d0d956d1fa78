"""Names that other libraries have for parts of a connection, and what does the same here.

Each is a descriptor that raises `AttributeError`. A `__getattr__` would slow down the attributes that there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import getattr_static
from typing import Any, Final, NoReturn

__all__ = ["ELSEWHERE", "Hint", "WithoutHints", "install_hints"]

_ROOM: Final = "await ws.join(room) makes it a member, and room.publish(message) sends to all members"
_TEXT: Final = "send_text(text) does that"
_ANY: Final = "send(message) sends str as text and bytes as binary"
_NEXT: Final = "receive() returns the next message, and async for iterates over them"
_OPEN: Final = "`connected` is whether messages may be sent, `close_info` how the connection ended"
_END: Final = "`close_info` has code, reason and the side that closed first"
_ADDRESSES: Final = "`client`, `local_address` and `remote_address` are addresses with host and port"
_CODEC: Final = "receive_bytes() and send_bytes() carry any encoding"
_BROWSER: Final = "async for iterates over the messages, and @app.listener(path) has on_connect and on_disconnect"
_PERSON: Final = "a guard sets `ws.state.user`, and a parameter takes it by Depends()"
_REQUEST: Final = "`request` has method, path and root_path, the connection headers, url and query_parameters"


def _each(names: str, hint: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), hint)


ELSEWHERE: Final[dict[str, str]] = {
    # Starlette, FastAPI, Litestar
    **_each("scope base_url", f"{_REQUEST}; send_event() and receive_event() are ASGI's"),
    **_each("user auth", _PERSON),
    **_each("receive_data iter_data", "receive_type= of the route is what receive() returns"),
    "send_data": "send_type= of the route is what send() takes",
    **_each("receive_msgpack send_msgpack iter_msgpack", _CODEC),
    # Quart, Django Channels
    "args": "`query_parameters` has the query",
    "view_args": "`path_parameters` has the values from the path",
    **_each("channel_layer channel_name group_add group_send group_discard", _ROOM),
    # websockets
    **_each("open closed is_open is_closed is_connected ensure_open", _OPEN),
    **_each("path raw_path method", f"`request.path`: {_REQUEST}"),
    **_each("request_headers handshake_headers", "`headers` are the request's, `response_headers` the server's answer"),
    "response": "`response_headers` are those of the server's 101",
    "fail_connection": "close(code, reason) does that",
    **_each("recv_messages recv_events", _NEXT),
    **_each("host port", _ADDRESSES),
    "secure": "`url` begins with wss if the connection has TLS",
    "latency": "await ping() returns the seconds to the pong",
    "recv_streaming": "receive_stream() does that",
    **_each("close_rcvd close_sent close_exc close_rcvd_then_sent", _END),
    **_each("id sid uuid", "`number` is the connection's in its server, `state` holds what you give it"),
    "extensions": "compression= of App, route or open_websocket agrees on permessage-deflate",
    "protocol": "`subprotocol` is the one that was agreed on",
    "logger": "records are those of the logger 'trio_ws', with the connection's `number`",
    "broadcast": "app.broadcast(message) sends to all, trio_ws.broadcast(connections, message) to some",
    # aiohttp
    **_each("send_str send_string", _TEXT),
    **_each("receive_str receive_string", "receive_text() does that"),
    **_each("prepare can_prepare", "accept() answers the handshake; routes do it before the handler"),
    "prepared": "`accepted` is whether the handshake was accepted",
    "exception": f"receive() and send() raise WebSocketDisconnect: {_END}",
    **_each("get_extra_info transport peername", _ADDRESSES),
    "ws_protocol": "`subprotocol` is the one that was agreed on",
    "send_frame": "send(), ping(), pong(), close() and send_stream() send frames",
    # trio-websocket
    **_each("get_message read_message read", _NEXT),
    **_each("send_message write_message write", _ANY),
    **_each("local remote", _ADDRESSES),
    **_each("is_client is_server", "`response_headers` is None on a server"),
    "max_message_size": "Limits(max_message_size=...) of App, route or open_websocket bounds messages",
    # Tornado, gorilla
    "select_subprotocol": "subprotocols= of the route has them, the favourite first",
    "check_origin": "origins= of App or serve_websocket has those that may connect",
    "drain": "send() waits while too much waits to be sent",
    "set_nodelay": "it is always on: send() does not wait for more",
    "read_json": "receive_json() does that",
    "write_json": "send_json(value) does that",
    # socket.io, Phoenix
    **_each("emit push", f"send_json(value) sends to this connection, and {_ROOM}"),
    **_each("enter_room leave_room rooms to", _ROOM),
    "on": _BROWSER,
    "disconnect": "close(code, reason) does that",
    "handshake": _REQUEST,
    # browsers
    "readyState": "`client_state` and `connected` say that",
    "bufferedAmount": "send() waits while too much waits to be sent, and offer() returns False",
    **_each("onopen onmessage onclose onerror on_message on_close on_open addEventListener messages", _BROWSER),
}
"""A hint for each name."""


class Hint:
    """A name of another library; reading it raises an error with ours.

    Args:
        name: the name.
        hint: what does the same here.
    """

    __slots__ = ("_hint", "_name")

    def __init__(self, name: str, hint: str) -> None:
        self._name = name
        self._hint = hint

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}: {self._hint}")


class WithoutHints(type):
    """The type of classes that do not list their hints, so that `help` and completion show what there is."""

    def __dir__(cls) -> Iterable[str]:
        """List the names without those of hints."""
        return _without_hints(cls, super().__dir__())


def install_hints(owner: type[Any]) -> None:
    """Add the hints to a class, except for names that it has itself."""
    for name, hint in ELSEWHERE.items():
        if not hasattr(owner, name):
            setattr(owner, name, Hint(name, hint))
    setattr(owner, "__dir__", _listed)  # noqa: B010 - for type checkers it is a method of `object`


def _listed(instance: object) -> list[str]:
    return _without_hints(type(instance), object.__dir__(instance))


def _without_hints(owner: type[Any], names: Iterable[str]) -> list[str]:
    return [name for name in names if not isinstance(getattr_static(owner, name, None), Hint)]
