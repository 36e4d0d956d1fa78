import asyncio
import sys

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    """Joins fragments, which this library leaves to its users."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._parts = bytearray()
        self._type = WSMsgType.TEXT

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type != WSMsgType.PONG:
            if frame.msg_type != WSMsgType.CONTINUATION:
                self._type = frame.msg_type
            self._parts += frame.get_payload_as_bytes()
            if frame.fin:
                transport.send(self._type, bytes(self._parts))
                self._parts.clear()


def listen(request: WSUpgradeRequest) -> Echo:
    return Echo()


async def main() -> None:
    server = await ws_create_server(listen, "127.0.0.1", int(sys.argv[1]), max_frame_size=16 << 20)
    await server.serve_forever()


asyncio.run(main())
