"""A chat in plain functions: each connection has a thread of its own, and waits in it.

It is the chat room of Cello's documents. There a list of clients is shared by all threads, and changed while others go
through it; here it is a room, which also tells everyone who has left when nobody is there to say so any more.

Try it with two `trio-ws connect ws://localhost:8000/ws/chat`.
"""

import json
import sys

from trio_ws import App, BlockingWebSocket
from trio_ws.rooms import Member

app = App()
chatroom = app.room("chat")


@app.websocket("/ws/chat")
def chat(ws: BlockingWebSocket) -> None:
    with ws.join(chatroom) as room:
        ws.send_text(json.dumps({"type": "system", "message": "Welcome to the chat!", "users_online": room.count}))
        while True:
            msg = ws.recv()
            if msg is None or msg.is_close():
                break
            if msg.is_text():
                room.publish({"type": "message", "text": msg.text})


@chatroom.on_join
async def joined(member: Member, count: int) -> None:
    news = {"type": "system", "message": "A new user joined", "users_online": count}
    await chatroom.publish(news, exclude=member.websocket)


@chatroom.on_leave
async def left(member: Member, count: int) -> None:
    await chatroom.publish({"type": "system", "message": "A user left", "users_online": count})


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # the port is taken, say
        sys.exit(str(error))
