"""Traces of a small calculator with OpenTelemetry, written to standard output.

Each connection is a span, each message an event in it, and the work of the handler a child span:

    trio-ws connect ws://localhost:8000/divide
"""

import sys

from opentelemetry import context, propagate
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from trio_ws import App, CloseInfo, Instrument, WebSocket


class Tracing(Instrument):
    """Creates a span for each connection.

    Args:
        tracer: the tracer of the application.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._spans: dict[WebSocket, Span] = {}

    def connection_opened(self, websocket: WebSocket) -> None:
        """Begin a span, as a child of the client's if its request has a `traceparent`."""
        span = self._tracer.start_span(
            f"WebSocket {websocket.url.path}",
            context=propagate.extract(dict(websocket.headers)),
            kind=SpanKind.SERVER,
            attributes={"url.path": websocket.url.path, "connection.id": websocket.number},
        )
        self._spans[websocket] = span
        # This is the connection's task: the span is the current one in the handler, until the task ends.
        context.attach(set_span_in_context(span))

    def handshake_answered(self, websocket: WebSocket, status: int) -> None:
        """Record the HTTP status."""
        self._spans[websocket].set_attribute("http.response.status_code", status)

    def message_received(self, websocket: WebSocket, message: str | bytes | None) -> None:
        """Record a received message by its size, without its content."""
        self._spans[websocket].add_event("received", {"size": len(message or "")})

    def message_sent(self, websocket: WebSocket, message: str | bytes | bytearray | memoryview | None) -> None:
        """Record a sent message by its size."""
        self._spans[websocket].add_event("sent", {"size": len(message or "")})

    def handler_failed(self, websocket: WebSocket, error: BaseException) -> None:
        """Record the error, which marks the span as failed."""
        span = self._spans[websocket]
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))

    def connection_closed(self, websocket: WebSocket, close_info: CloseInfo | None) -> None:
        """End the span."""
        span = self._spans.pop(websocket)
        if close_info is not None:
            span.set_attributes({"websocket.close_code": int(close_info.code), "websocket.closed_by": close_info.by})
        span.end()


provider = TracerProvider(resource=Resource({"service.name": "calculator"}))
tracer = provider.get_tracer("calculator")
app = App(instruments=[Tracing(tracer)])


@app.websocket("/divide", receive_type="text")
async def divide(ws: WebSocket) -> None:
    """Answer "a b" with a / b."""
    async for message in ws:
        with tracer.start_as_current_span("divide"):
            dividend, divisor = map(float, message.split())
            await ws.send(f"{dividend / divisor:g}")


if __name__ == "__main__":
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
