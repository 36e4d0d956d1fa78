"""Signing in, with a session in a signed cookie and a guard: open http://localhost:8000.

Sign in as "ada" or "grace"; the password is "correct horse". Signing in is a plain GET with the password in the
Authorization header, so it is in no URL, and other sites cannot send it. The response sets the cookie. Signing out is a
WebSocket that clears the session before it accepts, so the answer to the handshake has the new cookie. Both WebSockets
check the origin, so other sites cannot open them with the user's cookie.

Sessions need an extra: pip install 'trio-ws[sessions]'
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import sys
from pathlib import Path

import trio

from trio_ws import App, Request, Response, Room, Sessions, WebSocket
from trio_ws.app import GuardContext

# Without a key of your own, sessions end with the process.
sessions = Sessions(secret_key=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(32), same_site="strict")
app = App(sessions=sessions)
app.page("/", Path(__file__).with_name("index.html"))
app.client_script("/trio_ws.js")
app.static("/shared", Path(__file__).parents[1] / "shared")

SIGNED_OUT = 4001
"""The close code for a user who has signed out in another window."""


def digest(password: str, salt: bytes) -> bytes:
    """Return the hash of a password, which is slow on purpose."""
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


SALTS = {user: secrets.token_bytes(16) for user in ("ada", "grace")}
USERS = {user: digest("correct horse", salt) for user, salt in SALTS.items()}


async def check(user: str, password: str) -> bool:
    """Return True if a password is right; unknown users take the same time."""
    found = await trio.to_thread.run_sync(digest, password, SALTS.get(user, b"nobody"))
    return hmac.compare_digest(found, USERS.get(user, b""))


def credentials(request: Request) -> tuple[str, str]:
    """Return name and password from the Authorization header (RFC 7617), empty ones if there are none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


async def sign_in(request: Request) -> Response:
    user, password = credentials(request)
    if not await check(user, password):
        return Response(status=401, body=b"wrong name or password\n")
    session = sessions.load(request)
    session["user"] = user
    return Response(status=204, headers=sessions.header(session))


def who(request: Request) -> dict[str, str | None]:
    return {"user": sessions.load(request).get("user")}


app.page("/sign-in", sign_in)
app.page("/who", who)


def is_signed_in(context: GuardContext) -> bool:
    return "user" in context.websocket.session


def room_of(user: str) -> Room:
    return app.room(f"notes of {user}", history=20, history_ttl=3600)


@app.websocket("/notes", guards=[is_signed_in], value_type="json")
async def notes(ws: WebSocket) -> None:
    """Pass notes between the windows of one user."""
    user = ws.session["user"]
    await ws.send({"user": user})
    async with room_of(user).join(ws) as room:
        async for note in ws:
            await room.publish({"note": str(note)})


# It finishes even if its window is closed in the meantime.
@app.websocket("/sign-out", guards=[is_signed_in], auto_accept=False, when_peer_leaves="finish")
async def sign_out(ws: WebSocket) -> None:
    """Forget the user, and close the connections of all their windows."""
    user = ws.session["user"]
    ws.session.clear()
    await ws.accept()
    async with trio.open_nursery() as nursery:
        for member in room_of(user).members:
            nursery.start_soon(member.websocket.ensure_closed, SIGNED_OUT, "signed out")


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
