"""Other programs publish by HTTP, if they have a key, and nobody else does."""

from __future__ import annotations

import hmac
import json
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from documented.ways import Way
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import App, BackplaneUnavailable, PublishKey, RegistrationError, WebSocket
from trio_ws.app import publish_keys
from trio_ws.errors import BackplaneFull, MessageTooLarge
from trio_ws.rooms import Backplane, MemoryBackplane
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.testing import TestClient, TestResponse

pytestmark = collects_coredis

BEARER = "the-key-of-a-program"
SIGNING = "whsec_" + b64encode(b"k" * 32).decode()
OTHER_SIGNING = "whsec_" + b64encode(b"o" * 32).decode()
AUTHORIZED = {"Authorization": f"Bearer {BEARER}", "Content-Type": "application/json"}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def make_app(*keys: PublishKey | str, backplane: Backplane | None = None, **options: Any) -> App:
    app = App(backplane=backplane)
    app.publish_endpoint("/publish", keys=keys or (BEARER, SIGNING), **options)

    @app.websocket("/ws/{room}", rooms=["{room}"])
    async def read(ws: WebSocket) -> None:
        await ws.wait_closed()

    @app.websocket("/joined/{room}", rooms=["{room}"])
    async def joined(ws: WebSocket) -> None:
        await ws.send("joined")  # on Redis that is later than the answer to the handshake
        await ws.wait_closed()

    return app


def signed(
    body: bytes, *, secret: str = SIGNING, identifier: str = "msg_1", at: float | None = None, **changed: str
) -> dict[str, str]:
    """Return headers by Standard Webhooks, made apart from the library's own code."""
    timestamp = str(int(NOW if at is None else at))
    content = f"{identifier}.{timestamp}.".encode() + body
    key = b64decode(secret.removeprefix("whsec_"))
    signature = b64encode(hmac.new(key, content, sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }


def body_of(room: str = "r", **fields: Any) -> bytes:
    return json.dumps({"room": room, **(fields or {"message": {"n": 1}})}).encode()


@asynccontextmanager
async def client_of(app: App, **options: Any) -> AsyncIterator[TestClient]:
    async with app.test_client(**options) as client:
        yield client


# --- what is published --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["poller", "stream", "memory", "http1", "http2"])
async def test_a_member_receives_what_is_posted(name: Any) -> None:
    app = make_app()
    async with Way(name).visit(app) as visitor, visitor.connect("/ws/r") as ws:
        first = await visitor.post("/publish", body_of(), AUTHORIZED)
        assert (first.status, [*first.json()]) == (200, ["id"])
        body = body_of(message="text")
        second = await visitor.post("/publish", body, signed(body))
        assert await visitor.post("/publish", body, signed(body)) == attrs_like(second)
        assert (await visitor.post("/publish", body_of(binary="/w=="), AUTHORIZED)).status == 200
        assert [await ws.receive() for _ in range(3)] == ['{"n":1}', "text", b"\xff"]
        assert (await visitor.post("/publish", body, {})).status == 401
        assert (await visitor.get("/publish")).status == 405
        assert (await visitor.post("/elsewhere", body, AUTHORIZED)).status == 405
        large = await visitor.post("/publish", b"x" * 70_000, AUTHORIZED)
        assert (large.status, large.text) == (413, "the body is larger than 65536 bytes\n")


def attrs_like(answer: TestResponse) -> Any:
    """Return something equal to an answer with the same status and body."""

    class Like:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, TestResponse) and (other.status, other.body) == (answer.status, answer.body)

        __hash__ = None  # type: ignore[assignment]

    return Like()


@pytest.mark.parametrize(
    ("message", "received"),
    [("text", "text"), ("", ""), ({"a": "ü"}, '{"a":"ü"}'), ([1], "[1]"), (None, "null"), (1.5, "1.5"), (True, "true")],
)
async def test_messages_are_those_of_publish(message: Any, received: str, autojump_clock: Any) -> None:
    async with client_of(make_app()) as client, client.websocket_connect("/ws/r") as ws:
        await client.post("/publish", json={"room": "r", "message": message}, headers=AUTHORIZED)
        assert await ws.receive() == received


async def test_a_member_may_be_left_out_and_a_key_given(autojump_clock: Any) -> None:
    app = make_app()
    async with client_of(app) as client, client.websocket_connect("/ws/r") as ann, client.websocket_connect("/ws/r"):
        first, _ = app.room("r").members
        await client.post(
            "/publish", json={"room": "r", "message": "others", "exclude": [first.id]}, headers=AUTHORIZED
        )
        answers = [
            await client.post("/publish", json={"room": "r", "message": "once", "key": "k"}, headers=AUTHORIZED)
            for _ in range(2)
        ]
        assert answers[0].json() == answers[1].json() == {"id": await app.room("r").publish("again", key="k")}
        await app.room("r").publish("end")
        assert [await ann.receive(), await ann.receive()] == ["once", "end"]


async def test_a_key_is_for_its_rooms(autojump_clock: Any) -> None:
    app = make_app(PublishKey(BEARER, rooms=["board:*", "lobby"]), PublishKey(SIGNING, rooms="r"))
    async with client_of(app) as client:
        for room, status in (("board:1", 200), ("lobby", 200), ("r", 403), ("lobby2", 403), ("Board:1", 403)):
            assert (await client.post("/publish", body_of(room), headers=AUTHORIZED)).status == status
            body = body_of(room)
            by_signature = await client.post("/publish", body, headers=signed(body))
            assert by_signature.status == (200 if room == "r" else 403)


async def test_an_included_app_may_have_the_endpoint(autojump_clock: Any) -> None:
    outer = App()
    outer.include(make_app(), prefix="/api")
    async with client_of(outer) as client, client.websocket_connect("/api/ws/r") as ws:
        assert (await client.post("/api/publish", body_of(), headers=AUTHORIZED)).status == 200
        assert await ws.receive_json() == {"n": 1}
        assert (await client.post("/publish", body_of(), headers=AUTHORIZED)).status == 405


async def test_without_the_call_there_is_no_endpoint(autojump_clock: Any) -> None:
    async with client_of(App()) as client:
        assert (await client.post("/publish", body_of(), headers=AUTHORIZED)).status == 405


def test_plain_tests_post_too() -> None:
    with make_app().test_client() as client:
        assert client.post("/publish", json={"room": "r", "message": 1}, headers=AUTHORIZED).status == 200
        assert client.post("/publish", b"{", headers=AUTHORIZED).status == 400


# --- who is refused -----------------------------------------------------------------------------------------------

NOW = time.time()
BODY = body_of()
GOOD = signed(BODY)


@pytest.fixture(autouse=True)
def clock_of_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock stands still: a run of all tests lasts longer than a signature is good for."""
    monkeypatch.setattr(publish_keys, "time", SimpleNamespace(time=lambda: NOW))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"Authorization": BEARER}, id="no scheme"),
        pytest.param({"Authorization": f"Basic {BEARER}"}, id="another scheme"),
        pytest.param({"Authorization": "Bearer"}, id="no key"),
        pytest.param({"Authorization": "Bearer "}, id="an empty key"),
        pytest.param({"Authorization": f"Bearer {BEARER}x"}, id="longer"),
        pytest.param({"Authorization": f"Bearer {BEARER[:-1]}"}, id="shorter"),
        pytest.param({"Authorization": "Bearer ü"}, id="not ASCII"),
        pytest.param({"Authorization": f"Bearer {SIGNING}"}, id="the secret of signatures as a bearer"),
        pytest.param([("Authorization", f"Bearer {BEARER}")] * 2, id="two keys"),
        pytest.param({**GOOD, "Authorization": "Bearer wrong-wrong-wrong"}, id="a wrong key beside a signature"),
        pytest.param(signed(BODY, secret=OTHER_SIGNING), id="signed by another"),
        pytest.param(signed(BODY + b" "), id="another body"),
        pytest.param({**GOOD, "webhook-id": "msg_2"}, id="another id"),
        pytest.param({**GOOD, "webhook-id": ""}, id="an empty id"),
        pytest.param(signed(BODY, identifier="a.1"), id="an id with a dot"),
        pytest.param(signed(BODY, identifier="x" * 257), id="a long id"),
        pytest.param({**GOOD, "webhook-timestamp": str(int(NOW) - 1)}, id="another time"),
        pytest.param(signed(BODY, at=NOW - 400), id="too old"),
        pytest.param(signed(BODY, at=NOW + 400), id="from the future"),
        pytest.param({**GOOD, "webhook-timestamp": "9" * 400}, id="a long number"),
        pytest.param({**GOOD, "webhook-timestamp": "-5"}, id="a negative time"),
        pytest.param({**GOOD, "webhook-timestamp": "1e9"}, id="a float"),
        pytest.param({**GOOD, "webhook-signature": ""}, id="no signature"),
        pytest.param({**GOOD, "webhook-signature": GOOD["webhook-signature"][3:]}, id="no version"),
        pytest.param({**GOOD, "webhook-signature": "v1a," + GOOD["webhook-signature"][3:]}, id="another version"),
        pytest.param({**GOOD, "webhook-signature": "v1,x " * 40 + GOOD["webhook-signature"]}, id="too many"),
        pytest.param([*GOOD.items(), ("webhook-id", "msg_2")], id="two ids"),
    ],
)
async def test_a_request_without_proof_publishes_nothing(headers: Any, autojump_clock: Any) -> None:
    app = make_app()
    async with client_of(app) as client, client.websocket_connect("/ws/r") as ws:
        pairs = [*headers.items()] if isinstance(headers, dict) else headers
        if all(name != "Content-Type" for name, _ in pairs):
            pairs = [*pairs, ("Content-Type", "application/json")]
        answer = await client.post("/publish", BODY, headers=pairs)
        assert answer.status == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        await app.room("r").publish("end")
        assert await ws.receive() == "end"


async def test_one_of_several_signatures_is_enough(autojump_clock: Any) -> None:
    """As while a secret is exchanged for another one."""
    both = f"v1,{'A' * 44} v1a,x {GOOD['webhook-signature']}"
    async with client_of(make_app(OTHER_SIGNING, SIGNING)) as client:
        assert (await client.post("/publish", BODY, headers={**GOOD, "webhook-signature": both})).status == 200


@pytest.mark.parametrize(("off", "status"), [(-301, 401), (-300, 200), (300, 200), (301, 401)])
async def test_a_request_may_be_as_old_or_new_as_the_tolerance(
    off: int, status: int, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_keys, "time", SimpleNamespace(time=lambda: float(int(NOW))))
    async with client_of(make_app()) as client:
        assert (await client.post("/publish", BODY, headers=signed(BODY, at=NOW + off))).status == status


async def test_signatures_are_refused_where_no_key_signs(autojump_clock: Any) -> None:
    async with client_of(make_app(BEARER)) as client:
        assert (await client.post("/publish", BODY, headers=GOOD)).status == 401
    async with client_of(make_app(SIGNING)) as client:
        assert (await client.post("/publish", BODY, headers=AUTHORIZED)).status == 401


async def test_a_replay_publishes_nothing(autojump_clock: Any) -> None:
    app = make_app()
    async with client_of(app) as client, client.websocket_connect("/ws/r") as ws:
        headers = signed(BODY)
        answers = [await client.post("/publish", BODY, headers=headers) for _ in range(3)]
        assert len({answer.body for answer in answers}) == 1
        again = signed(BODY, identifier="msg_2")
        assert (await client.post("/publish", BODY, headers=again)).json() != answers[0].json()
        await app.room("r").publish("end")
        assert [await ws.receive() for _ in range(3)] == ['{"n":1}', '{"n":1}', "end"]


async def test_ids_of_two_keys_are_no_replay_of_each_other(autojump_clock: Any) -> None:
    async with client_of(make_app(SIGNING, OTHER_SIGNING)) as client:
        one = await client.post("/publish", BODY, headers=signed(BODY))
        assert (await client.post("/publish", BODY, headers=signed(BODY, secret=OTHER_SIGNING))).json() != one.json()


@needs_redis
@forgives_coredis
async def test_a_replay_to_another_process_publishes_nothing(redis: RedisServer) -> None:
    first, second = (make_app(backplane=RedisBackplane(redis.url)) for _ in range(2))
    here, there = (client_of(app, timeout=60) for app in (first, second))
    async with here as here, there as there, there.websocket_connect("/joined/r") as ws:
        assert await ws.receive() == "joined"
        headers = signed(BODY)
        answers = [await client.post("/publish", BODY, headers=headers) for client in (here, there, here)]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert len({answer.body for answer in answers}) == 1
        await first.room("r").publish("end")
        assert [await ws.receive() for _ in range(2)] == ['{"n":1}', "end"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/jsonp"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": 'Application/JSON; Charset="UTF-8"'}, 200),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
async def test_a_body_of_another_type_is_refused(headers: Any, status: int, autojump_clock: Any) -> None:
    async with client_of(make_app()) as client:
        answer = await client.post("/publish", BODY, headers={**headers, "Authorization": f"Bearer {BEARER}"})
        assert answer.status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 60_000, 400),
        (b'{"room": "r", "message": NaN}', 400),
        (b'{"room": "r", "message": ' + b"9" * 5000 + b"}", 400),
        (b"[]", 422),
        (b"5", 422),
        (b"{}", 422),
        (b'{"room": "r"}', 422),
        (b'{"message": 1}', 422),
        (b'{"room": 5, "message": 1}', 422),
        (b'{"room": "\\ud83d", "message": 1}', 422),
        (b'{"room": "' + b"x" * 8193 + b'", "message": 1}', 422),
        (b'{"room": "r", "message": "\\ud83d"}', 422),
        (b'{"room": "r", "message": 1, "binary": ""}', 422),
        (b'{"room": "r", "binary": "?"}', 422),
        (b'{"room": "r", "binary": 5}', 422),
        (b'{"room": "r", "message": 1, "key": ""}', 422),
        (b'{"room": "r", "message": 1, "key": 5}', 422),
        (b'{"room": "r", "message": 1, "key": null}', 422),
        (b'{"room": "r", "message": 1, "exclude": "a-1"}', 422),
        (b'{"room": "r", "message": 1, "exclude": ["a b"]}', 422),
        (b'{"room": "r", "message": 1, "exclude": [5]}', 422),
        (b'{"room": "r", "message": 1, "exclude": [' + b",".join([b'"a"'] * 1001) + b"]}", 422),
        (b'{"room": "r", "message": 1, "rooms": []}', 422),
    ],
)
async def test_a_body_that_says_nothing_to_publish_is_refused(body: bytes, status: int, autojump_clock: Any) -> None:
    async with client_of(make_app()) as client:
        answer = await client.post("/publish", body, headers=AUTHORIZED)
        assert answer.status == status
        assert [*answer.json()] == ["error"]


async def test_a_thousand_members_can_be_excluded(autojump_clock: Any) -> None:
    async with client_of(make_app()) as client:
        body = body_of(message=1, exclude=[f"member-{number}" for number in range(1000)])
        assert (await client.post("/publish", body, headers=AUTHORIZED)).status == 200


async def test_nothing_secret_is_logged(autojump_clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = make_app()
    async with client_of(app) as client:
        for headers in (
            AUTHORIZED,
            {"Authorization": f"Bearer wrong {BEARER}"},
            GOOD,
            signed(BODY, secret=OTHER_SIGNING),
        ):
            await client.post("/publish", BODY, headers=headers)
    assert "may not publish: the key is not known" in caplog.text
    assert "may not publish: the signature is wrong" in caplog.text
    assert BEARER not in caplog.text
    assert SIGNING[6:] not in caplog.text
    assert BEARER not in repr(PublishKey(BEARER))


# --- when it cannot be published ----------------------------------------------------------------------------------


def delivered(error: BackplaneUnavailable) -> BackplaneUnavailable:
    """Return an error of a message that members of the process have received."""
    error.local = True
    return error


@pytest.mark.parametrize(
    ("error", "status", "content"),
    [
        (BackplaneUnavailable("redis://internal is away", uncertain=True), 503, {"uncertain": True}),
        (BackplaneFull("no memory"), 503, {"uncertain": False}),
        (delivered(BackplaneUnavailable("away")), 503, {"uncertain": True}),
        (MessageTooLarge(10, 5), 413, {}),
    ],
)
async def test_a_failure_of_the_backplane_has_a_status(
    error: Any, status: int, content: Any, autojump_clock: Any
) -> None:
    class Failing(MemoryBackplane):
        async def publish(self, *_: Any, **__: Any) -> str:
            raise error

    async with client_of(make_app(backplane=Failing())) as client:
        answer = await client.post("/publish", BODY, headers=AUTHORIZED)
        assert answer.status == status
        assert content.items() <= answer.json().items()
        assert "internal" not in answer.text
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


async def test_a_backplane_that_does_not_answer_has_a_status_in_time(autojump_clock: Any) -> None:
    class Silent(MemoryBackplane):
        async def publish(self, *_: Any, **__: Any) -> str:
            await trio.sleep_forever()
            raise AssertionError

    async with make_app(backplane=Silent()).test_client(timeout=20) as client:
        answer = await client.post("/publish", BODY, headers=AUTHORIZED)
        assert (answer.status, answer.json()["uncertain"]) == (503, True)


# --- the body on the wire -----------------------------------------------------------------------------------------


def head(*lines: str, method: str = "POST", key: str = BEARER, version: str = "1.1") -> bytes:
    fixed = ("Host: testserver", f"Authorization: Bearer {key}", "Content-Type: application/json")
    return "\r\n".join([f"{method} /publish HTTP/{version}", *fixed, *lines, "", ""]).encode()


async def exchange(client: TestClient, *parts: bytes | float) -> bytes:
    """Send parts, with pauses between, and return all that comes back."""
    async with client.raw("/publish", handshake=False, timeout=100) as peer:
        for part in parts:
            if isinstance(part, float):
                await trio.sleep(part)
            else:
                await peer.send(part)
        return await peer.receive_all()


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ((head(f"Content-Length: {len(BODY)}"), BODY), b"HTTP/1.1 200 OK"),
        ((head(f"Content-Length: {len(BODY)}"), BODY + b"GET / HTTP/1.1\r\n\r\n"), b"HTTP/1.1 200 OK"),
        ((head(f"Content-Length: {len(BODY)}"), *(bytes([each]) for each in BODY)), b"HTTP/1.1 200 OK"),
        ((head(f"Content-Length: {len(BODY)}"), 7.0, BODY[:5], 7.0), b"HTTP/1.1 408 "),
        (
            (head(f"Content-Length: {len(BODY)}", "Expect: 100-Continue"), BODY),
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200",
        ),
        ((head("Content-Length: 70000", "Expect: 100-continue"),), b"HTTP/1.1 413 "),
        ((head("Content-Length: 5", key="wrong" * 5),), b"HTTP/1.1 401 "),
        ((head("Content-Length: 999999999999999999999"),), b"HTTP/1.1 4"),
        ((head("Content-Length: -5"),), b"HTTP/1.1 400 "),
        ((head("Content-Length: 5", "Content-Length: 6"),), b"HTTP/1.1 400 "),
        ((head("Transfer-Encoding: chunked"), b"1\r\n{\r\n0\r\n\r\n"), b"HTTP/1.1 411 "),
        ((head("Transfer-Encoding: chunked", "Content-Length: 5"), b"0\r\n\r\n"), b"HTTP/1.1 4"),
        ((head(),), b"HTTP/1.1 411 "),
        ((head("Content-Length: 0"),), b"HTTP/1.1 400 "),
        ((head(method="PUT"),), b"HTTP/1.1 405 "),
        ((head(method="GET"),), b"HTTP/1.1 405 "),
        ((head(method="HEAD"),), b"HTTP/1.1 405 "),
        ((head(method="OPTIONS"),), b"HTTP/1.1 405 "),
    ],
)
async def test_bodies_are_read_strictly(parts: Any, answer: bytes, autojump_clock: Any) -> None:
    async with client_of(make_app()) as client:
        received = await exchange(client, *parts)
        assert received.startswith(answer), received


async def test_a_client_that_leaves_within_its_body_publishes_nothing(autojump_clock: Any) -> None:
    app = make_app()
    async with client_of(app) as client, client.websocket_connect("/ws/r") as ws:
        async with client.raw("/publish", handshake=False) as peer:
            await peer.send(head(f"Content-Length: {len(BODY)}") + BODY[:-1])
        async with client.raw("/publish", handshake=False) as peer:
            await peer.send(head(f"Content-Length: {len(BODY)}") + BODY[:-1])
            await peer.half_close()
            assert await peer.receive_all() == b""
        await app.room("r").publish("end")
        assert await ws.receive() == "end"


# --- registration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"keys": []}, ValueError),
        ({"keys": BEARER}, TypeError),
        ({"keys": None}, TypeError),
        ({"keys": [5]}, TypeError),
        ({"keys": ["short"]}, ValueError),
        ({"keys": ["with a space in it"]}, ValueError),
        ({"keys": ["ü" * 20]}, ValueError),
        ({"keys": ["whsec_"]}, ValueError),
        ({"keys": ["whsec_" + "A" * 28]}, ValueError),
        ({"keys": ["whsec_???"]}, ValueError),
        ({"keys": [BEARER, PublishKey(BEARER, rooms="r")]}, ValueError),
        ({"keys": [BEARER], "max_body": 0}, ValueError),
        ({"keys": [BEARER], "max_body": "1"}, TypeError),
        ({"keys": [BEARER], "tolerance": 0}, ValueError),
        ({"keys": [BEARER], "tolerance": "1"}, TypeError),
        ({"keys": [BEARER], "path": "publish"}, ValueError),
        ({"keys": [BEARER], "path": "/page"}, ValueError),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    app = App()
    app.page("/page", lambda _: "page")
    with pytest.raises(error):
        app.publish_endpoint(options.pop("path", "/publish"), **options)


@pytest.mark.parametrize(
    ("least", "most", "secret"),
    [(16, 512, "x".__mul__), (24, 64, lambda size: "whsec_" + b64encode(bytes(size)).decode())],
    ids=["bearer", "signing"],
)
def test_a_secret_is_refused_outside_its_sizes(least: int, most: int, secret: Callable[[int], str]) -> None:
    for size in (least, most):
        assert PublishKey(secret(size)).secret == secret(size)
    for size in (least - 1, most + 1):
        with pytest.raises(ValueError, match=f"from {least} to {most} "):
            PublishKey(secret(size))


@pytest.mark.parametrize("rooms", [5, [5], [], "x" * 9000, ["\ud83d"]])
def test_a_pattern_that_cannot_be_is_refused(rooms: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        PublishKey(BEARER, rooms=rooms)


def test_a_path_has_one_endpoint_or_page() -> None:
    app = make_app()
    with pytest.raises(ValueError, match="there is a page at '/publish' already"):
        app.page("/publish", lambda _: "page")
    with pytest.raises(ValueError, match="there is a page at '/publish' already"):
        app.publish_endpoint("/publish", keys=[BEARER])
    outer = App()
    outer.include(app)
    outer.publish_endpoint("/publish", keys=[BEARER])
    with pytest.raises(RegistrationError, match="two pages have the path"):
        outer.checked_routes()
