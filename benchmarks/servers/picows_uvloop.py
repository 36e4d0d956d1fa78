"""picows on uvloop, like the echo server of its documentation."""

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from place import BACKLOG, Place, place

members: set[WSTransport] = set()


class Listener(WSListener):
    def __init__(self, everyone: bool) -> None:
        super().__init__()
        self.everyone = everyone

    def on_ws_connected(self, transport: WSTransport) -> None:
        members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif not self.everyone:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        else:
            message = frame.get_payload_as_bytes()
            for member in members:
                member.send(frame.msg_type, message)


async def main(here: Place) -> None:
    def listener(request: WSUpgradeRequest) -> Listener:
        return Listener(here.broadcast)

    server = await ws_create_server(listener, sock=here.sock, ssl=here.ssl_context, backlog=BACKLOG)
    await server.serve_forever()


uvloop.run(main(place()))
