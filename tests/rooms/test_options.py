"""Options of rooms and of backplanes that can never work: refused when they are given, with typed errors."""

from __future__ import annotations

import math
import re
import ssl
from contextlib import ExitStack
from typing import Any

import attrs
import pytest
import trio
from support.handlers import app_of
from support.internals import internal
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import App, LocalProtocolError, Timeouts, WebSocket
from trio_ws.rooms import Rooms, broadcast
from trio_ws.rooms.options import RoomOptions
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.options import Options

from .hall import hall_with

pytestmark = collects_coredis

HUGE = 10**400
BRIEF = Timeouts(ping_interval=None, send_timeout=None, close_timeout=0.1)


async def stamp_later(identifier: str, message: str | bytes) -> str:
    return f"{identifier} {message!s}"


def test_room_without_options_keeps_no_messages() -> None:
    assert attrs.asdict(App().room("r").options) == {
        "history": 0,
        "history_ttl": None,
        "resume": 0,
        "stamp": None,
        "policy": "disconnect",
        "backlog": 1024 * 1024,
    }


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("history", "50", TypeError),
        ("history", 1.5, TypeError),
        ("history", True, TypeError),
        ("history", [50], TypeError),
        ("history", -1, ValueError),
        ("history", HUGE, ValueError),
        ("history", 2**63, ValueError),
        ("resume", "50", TypeError),
        ("resume", -1, ValueError),
        ("backlog", "1 MiB", TypeError),
        ("backlog", math.inf, TypeError),
        ("backlog", 0, ValueError),
        ("policy", "drop", ValueError),
        ("policy", ["disconnect"], ValueError),
        ("policy", 7, ValueError),
        ("stamp", "stamp", TypeError),
        ("stamp", len, TypeError),
        ("stamp", lambda message: message, TypeError),
        ("stamp", stamp_later, TypeError),
    ],
)
def test_invalid_room_option_is_refused_and_makes_no_room(option: str, value: Any, error) -> None:
    """Room option that cannot work is refused and makes no room."""
    app = App()
    with pytest.raises(error, match=option):
        app.room("r", **{option: value})
    assert app.room("r").options.history == 0


@pytest.mark.parametrize(
    "option",
    ["history", "resume", "backlog", "stream_length", "max_message_size", "max_info_size", "max_waiting"],
)
def test_an_option_takes_both_ends_of_its_range(option: str) -> None:
    taker = RoomOptions if option in attrs.fields_dict(RoomOptions) else Options
    with pytest.raises(ValueError, match="must be from") as caught:
        taker(**{option: HUGE})
    least, most = map(int, re.findall(r"from (\d+) to (\d+)", str(caught.value))[0])
    for value in (least, most):
        assert getattr(taker(**{option: value}), option) == value
    for value in (least - 1, most + 1):
        with pytest.raises(ValueError, match=f"{option} must be from {least} to {most}, not {value}$"):
            taker(**{option: value})


def test_stamps_that_can_be_called_are_taken() -> None:
    rooms = Rooms()
    for number, stamp in enumerate([lambda *both: both, stamp_of_class, dict, "{} {}".format]):
        assert rooms.room(str(number), stamp=stamp).options.stamp is stamp


class stamp_of_class:  # noqa: N801 - it is called like a function
    def __init__(self, identifier: str, message: str | bytes) -> None:
        self.said = identifier, message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"callback_timeout": "5"}, TypeError),
        ({"callback_timeout": True}, TypeError),
        ({"callback_timeout": 0}, ValueError),
        ({"callback_timeout": math.nan}, ValueError),
        ({"backplane": 7}, TypeError),
        ({"backplane": RedisBackplane}, TypeError),
        ({"backplane": b"redis://localhost"}, TypeError),
        ({"backplane": "memory"}, ValueError),
    ],
    ids=str,
)
def test_option_of_all_rooms_that_cannot_work_is_refused(options, error) -> None:
    with pytest.raises(error, match=r"callback_timeout|backplane|begins with redis://"):
        Rooms(**options)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("prefix", 7, TypeError),
        ("prefix", b"chat", TypeError),
        ("prefix", "{chat}", ValueError),
        ("prefix", "\ud83d", ValueError),
        ("stream_length", "1000", TypeError),
        ("stream_length", 10.5, TypeError),
        ("stream_length", 0, ValueError),
        ("stream_length", HUGE, ValueError),
        ("max_message_size", 1e6, TypeError),
        ("max_message_size", 0, ValueError),
        ("max_message_size", 2**30, ValueError),
        ("max_info_size", "16 KiB", TypeError),
        ("max_info_size", 1, ValueError),
        ("max_waiting", math.inf, TypeError),
        ("max_waiting", 0, ValueError),
        ("publish_timeout", "10", TypeError),
        ("publish_timeout", None, TypeError),
        ("publish_timeout", math.inf, ValueError),
        ("publish_timeout", math.nan, ValueError),
        ("publish_timeout", 1e300, ValueError),
        ("publish_timeout", HUGE, ValueError),
        ("local_after", "1", TypeError),
        ("local_after", True, TypeError),
        ("local_after", -1, ValueError),
        ("local_after", math.nan, ValueError),
        ("command_timeout", 0, ValueError),
        ("command_timeout", math.inf, ValueError),
        ("presence_timeout", 0.0001, ValueError),
        ("presence_timeout", math.inf, ValueError),
        ("wait", "no", TypeError),
        ("wait", 1, TypeError),
    ],
)
def test_backplane_option_that_cannot_work_is_refused(option: str, value: Any, error) -> None:
    with pytest.raises(error, match=option):
        RedisBackplane("redis://localhost", **{option: value})


def test_unknown_backplane_option_is_named() -> None:
    with pytest.raises(TypeError, match="publish_timeuot"):
        RedisBackplane("redis://localhost", publish_timeuot=5)


@pytest.mark.parametrize("local_after", [None, 0, 0.5, math.inf])
def test_backplane_options_at_their_bounds_are_taken(local_after) -> None:
    bounds = {
        "stream_length": 1,
        "max_info_size": 2,
        "max_waiting": 1,
        "presence_timeout": 0.01,
        "publish_timeout": 1e9,
    }
    assert RedisBackplane("redis://localhost", local_after=local_after, **bounds).options.local_after == local_after


async def make_later() -> None:
    """Return no client of coredis."""


@pytest.mark.parametrize(
    "redis",
    [None, 7, b"redis://localhost", ["redis://localhost"], make_later, object()],
    ids=lambda value: type(value).__name__,
)
def test_redis_that_is_neither_url_nor_function_is_refused(redis: Any) -> None:
    with pytest.raises(TypeError, match="a URL, or a function"):
        RedisBackplane(redis)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "redis://",
        "redis://localhost:99999",
        "redis://localhost:0x10",
        f"redis://localhost:{'9' * 5000}",
        "redis://localhost/first",
        "redis://localhost/-1",
        "redis://localhost?db=first",
        "redis://localhost?no_such_option=1",
        "redis://local\ud83dhost",
        "redis+sentinel://localhost/mymaster/first",
        "redis+cluster://localhost:99999",
        "redis+cluster://localhost/1",
        "redis+cluster://localhost?db=2",
        "redis+cluster://one,,three",
        "redis+cluster://one:7000,:7001",
        "redis+sentinel://localhost/",
        "redis://localhost?ssl_ca_certs=/authority.pem",
        "rediss://localhost?ssl_ca_cert=/authority.pem",
        "redis://localhost?sentinel_password=x",
        "redis://localhost:0",
        "redis://localhost?db=",
        "unix://?db=0",
        "unix:///",
        "unix://relative/path",
    ],
    ids=repr,
)
def test_url_that_cannot_work_is_refused_when_given(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RedisBackplane(url)


@pytest.mark.parametrize("mark", ["/", "?", "#"])
@pytest.mark.parametrize("user", ["", "user"])
def test_password_that_is_not_escaped_is_not_named(mark: str, user: str) -> None:
    with pytest.raises(ValueError, match="in a password / is written %2F") as refusal:
        RedisBackplane(f"redis://{user}:sek{mark}ret@localhost:6379/0")
    assert "sek" not in str(refusal.value)
    assert "ret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/15?client_name=chat",
        "redis://ann:p%40w@[::1]:6379/",
        "rediss://localhost?ssl_check_hostname=false&db=2",
        "unix:///path/to/socket?db=3",
        "unix://ann:p@/path",
        "redis+sentinel://one,two:26380/mymaster/3?sentinel_username=a&sentinel_password=b",
        "redis+cluster://one:7000,two:7001,[::1]:7002/0",
    ],
)
def test_url_that_can_work_is_taken(url: str) -> None:
    RedisBackplane(url)


def test_tls_context_without_tls_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for redis in ("redis://localhost", "unix:///path", "redis+cluster://localhost", lambda: None):
        with pytest.raises(ValueError, match="ssl_context"):
            RedisBackplane(redis, ssl_context=context)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ssl_context"):
        RedisBackplane("rediss://localhost", ssl_context=True)  # type: ignore[arg-type]
    RedisBackplane("rediss+cluster://localhost", ssl_context=context)


# --- arguments --------------------------------------------------------------------------------------------------------


async def test_arguments_of_a_wrong_type_change_nothing(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        for websocket in (None, "ann", hall, WebSocket):
            with pytest.raises(TypeError, match="a member of a room is a WebSocket"):
                room.join(websocket)  # type: ignore[arg-type]
        for since in (7, b"1-1", ["1-1"]):
            with pytest.raises(TypeError, match="since is the id of a message"):
                room.join(ann.websocket, since=since)  # type: ignore[arg-type]
        assert (room.count, len(hall.rooms)) == (0, 0)
        async with room.join(ann.websocket):
            for exclude in (7, "ann", [ann.websocket, None], [ann]):
                with pytest.raises(TypeError, match="a member of a room is a WebSocket"):
                    await room.publish("never", exclude=exclude)  # type: ignore[arg-type]
                with pytest.raises(TypeError, match="a member of a room is a WebSocket"):
                    await broadcast([ann.websocket], "never", exclude=exclude)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="each a WebSocket, not str"):
                await broadcast([ann.websocket, "ben"], "never")  # type: ignore[list-item]
            await room.publish("said")
            assert await ann.heard(1) == ["said"]
            assert await ann.silent()


@pytest.mark.parametrize(
    "message",
    ["\ud83d", {"a": "\ud83d" * 2, "b": object()}, math.nan, {"a": math.inf}, {"a": {object()}}, object(), b"".join],
)
async def test_unsendable_message_is_refused_in_the_call_itself(message: Any, autojump_clock) -> None:
    """Message that cannot be sent is refused in the caller's call."""
    app = App()
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            for say in (room.publish, app.broadcast, lambda said: broadcast([ann.websocket], said)):
                with pytest.raises((TypeError, ValueError)):
                    await say(message)
            assert internal(room, "_publishers") == 0
            await room.publish("said")
            assert await ann.heard(1) == ["said"]


async def test_room_names_from_users_end_their_own_connection_only(autojump_clock) -> None:
    async def chat(ws: WebSocket) -> None:
        async for name in ws:
            async with app.room(name).join(ws) as room:
                await room.publish("joined")

    app = app_of(chat, "/chat", value_type="json")
    async with app.test_client(raise_server_errors=False) as client, client.websocket_connect("/chat") as healthy:
        for name in ('"\\ud83d"', "7", "null", '["a"]', '"' + "x" * 9000 + '"'):
            async with client.websocket_connect("/chat") as ws:
                await ws.send_text(name)
                with trio.fail_after(5):
                    await ws.recv()
                assert ws.close_code == 1011, name
        await healthy.send_text('"room"')
        assert await healthy.receive() == "joined"


async def test_rooms_refuse_members_before_they_run() -> None:
    with pytest.raises(LocalProtocolError):
        Rooms().nursery  # noqa: B018


# --- what clients come back with ----------------------------------------------------------------------------------


@needs_redis
@forgives_coredis
@pytest.mark.parametrize(
    "since",
    [
        "",
        "~",
        "0-0",
        "-",
        "\0everyone",
        "\ud83d",
        "9" * 5000,
        f"{'9' * 5000}-{'9' * 5000}",
        f"1-1~{'a' * 5000}-{'9' * 5000}",
        "1-1~a-1" * 100,
        "1-1" + "~a-1" * 5000,
        "1-1~a-\N{SUPERSCRIPT TWO}",
        "1-1~a-\N{ARABIC-INDIC DIGIT ONE}",
        "1-1~-1",
        "x" * 1_000_000,
    ],
    ids=lambda since: ascii(since)[:20],
)
@pytest.mark.parametrize("engine", ["memory", "redis"])
async def test_id_that_is_none_has_just_not_recovered(engine: str, since: str) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(redis_server()).url if engine == "redis" else None
        async with hall_with(backplane=Rooms(url).backplane, timeouts=BRIEF) as (hall, ann):
            room = hall.room("r", resume=5)
            joining = room.join(ann.websocket, since=since)
            async with joining:
                assert joining.recovered is False
                await room.publish("said")
                assert await ann.heard(1) == ["said"]
