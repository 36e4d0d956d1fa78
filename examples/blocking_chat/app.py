"""A chat in plain functions, with a thread for each connection.

It is the chat room of Cello's documents. There all threads share a list of clients, which may change during an
iteration; here it is a room, which also announces clients whose connection was lost.

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
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
