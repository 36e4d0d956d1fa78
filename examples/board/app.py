"""A task board: sign-in, a room for each board, presence, typed changes with replies. Open http://localhost:8000.

Sign in as "ada", "alan" or "grace"; the password is "correct horse". In memory: python examples/board/app.py
With REDIS_URL and SECRET_KEY, in two processes: trio-ws run examples.board.app:app --workers 2
"""

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from trio_ws import App, BackplaneUnavailable, Budget, Credentials, Reply, Request, Response, Sessions, WebSocket
from trio_ws.rooms import PresenceDiff, Room, broadcast
from trio_ws.rooms.redis import RedisBackplane

BOARDS = {"team": {"ada", "alan", "grace"}, "plans": {"ada"}}
HOURS, MONTH = 12 * 3600, 30 * 24 * 3600
url, secret = os.environ.get("REDIS_URL"), os.environ.get("SECRET_KEY")
if "TRIO_WS_WORKER" in os.environ and not (url and secret):
    sys.exit("workers share boards and tokens: set REDIS_URL, and SECRET_KEY to 32 random bytes")
sessions = Sessions(secret_key=secret or secrets.token_urlsafe(32), same_site="strict", max_age=HOURS)
app = App(sessions=sessions, backplane=RedisBackplane(url, retention=MONTH) if url else None)
app.page("/", Path(__file__).with_name("index.html"))
app.client_script("/trio_ws.js")
app.static("/shared", Path(__file__).parents[1] / "shared")
app.reply_on(BackplaneUnavailable, lambda error: Reply(503, "saved or not: repeat it with the same key"))


async def sign_in(request: Request) -> Response:
    session = sessions.load(request)
    if (user := request.headers.get("x-user")) is not None:  # to sign in, or out; other sites cannot send it
        if session:
            await app.revoke(session["user"])  # the user's windows, at all workers: those of other browsers come back
        session.clear()
        password = request.headers.get("x-password", "").encode()
        if user in BOARDS["team"] and secrets.compare_digest(password, b"correct horse"):
            session.update(user=user, until=time.time() + HOURS)
    headers = [*sessions.header(session), ("Content-Type", "application/json")]
    return Response(body=json.dumps(session.get("user")).encode(), headers=headers)


app.page("/sign-in", sign_in)
Key = Annotated[str, Field(min_length=1, max_length=64)]
Title = Annotated[str, Field(pattern=r"\S", max_length=200)]
Column = Literal["todo", "doing", "done"]


class Change(BaseModel):
    """A new task, another title or column of one, or its end; made once, however often it is sent with its key."""

    type: Literal["put", "delete"]
    key: Key
    task: Key
    title: Title | None = None
    column: Column | None = None


class Board(BaseModel):
    """The board after the change with this key: pages publish it now and then, and need the latest messages only."""

    type: Literal["board"]
    key: Key
    tasks: dict[Key, tuple[Title, Column]]


@app.room_guard("board:*")
async def may_see(room: Room, ws: WebSocket) -> bool:
    return ws.session.get("user") in BOARDS.get(room.name.removeprefix("board:"), ())


@app.listener("/board/{board}", reference="ref", budget=Budget(messages=100, per=10))
async def edit(board: str, change: Annotated[Change | Board, Field(discriminator="type")]) -> dict[str, str]:
    return {"saved": await app.room(f"board:{board}").publish(change, key=f"{change.type} {change.key}")}


@edit.on_connect
async def begin(ws: WebSocket, board: str, since: str | None = None) -> None:
    user, until = ws.session.get("user"), ws.session.get("until")
    await ws.renew(Credentials(user, expires_at=until))
    joining = app.room(f"board:{board}").join(ws, since=since, user=user)
    await ws.join(joining)
    await ws.send_json({"recovered": joining.recovered})


async def show(room: Room, _: PresenceDiff) -> None:
    here = sorted({each.info["user"] for each in await room.presence()})
    await broadcast([each.websocket for each in room.members], {"here": here})


stamp = {"stamp": lambda identifier, message: {**json.loads(message), "id": identifier}}
gap = {"on_gap": lambda room, _: broadcast([each.websocket for each in room.members], {"recovered": False})}
app.room_options("board:*", history=500, resume=500, history_ttl=MONTH, on_presence=show, **stamp, **gap)

if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
