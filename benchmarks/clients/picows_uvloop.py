"""picows on uvloop, whose frame callback counts and sends the next message."""

import uvloop
from meter import MESSAGE, Meter
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

PAYLOAD = MESSAGE.encode()


class Listener(WSListener):
    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter
        self.going = True

    def on_ws_connected(self, transport: WSTransport) -> None:
        for _ in range(self.meter.inflight):
            transport.send(WSMsgType.TEXT, PAYLOAD)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self.going:  # what had come with the last message
            return
        if frame.get_payload_as_utf8_text() != MESSAGE:
            raise RuntimeError("what came back is not what was sent")
        self.going = self.meter.tick()
        if self.going:
            transport.send(WSMsgType.TEXT, PAYLOAD)
        else:
            transport.disconnect()


async def main(meter: Meter) -> None:
    transport, _ = await ws_connect(lambda: Listener(meter), meter.url)
    await transport.wait_disconnected()
    meter.print()


uvloop.run(main(Meter()))
