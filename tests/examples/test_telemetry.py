"""The telemetry example: the spans that OpenTelemetry's own exporter gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from trio_ws import ConnectionRejected, WebSocketDisconnect, open_websocket

from .browser import EXAMPLES, load
from .process import PATIENCE, forked, launching

DIRECTORY = EXAMPLES / "telemetry"


@pytest.fixture
def example() -> Iterator[Any]:
    loaded = load("telemetry")
    yield loaded
    loaded.provider.shutdown()


@pytest.fixture
def exporter(example: Any) -> InMemorySpanExporter:
    made = InMemorySpanExporter()
    example.provider.add_span_processor(SimpleSpanProcessor(made))
    return made


def of_connections(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name.startswith("WebSocket ")]


async def test_connection_span_holds_messages_and_handler_spans(example: Any, exporter: InMemorySpanExporter) -> None:
    """A connection is a span with its messages and the handler's spans below."""
    async with example.app.test_client() as client:
        async with client.websocket_connect("/divide") as ws:
            for _ in range(2):
                await ws.send("10 4")
                assert await ws.receive() == "2.5"
    (span,) = of_connections(exporter)
    assert span.name == "WebSocket /divide"
    assert span.attributes == {
        "url.path": "/divide",
        "connection.id": 1,
        "http.response.status_code": 101,
        "websocket.close_code": 1000,
        "websocket.closed_by": "peer",
    }
    assert [(event.name, event.attributes["size"]) for event in span.events] == 2 * [("received", 4), ("sent", 3)]
    children = [each for each in exporter.get_finished_spans() if each.name == "divide"]
    assert [child.parent.span_id for child in children] == 2 * [span.context.span_id]


async def test_a_handler_that_fails_is_a_failed_span(example: Any, exporter: InMemorySpanExporter) -> None:
    client = example.app.test_client(raise_server_errors=False)
    async with client:
        with pytest.raises(WebSocketDisconnect):
            async with client.websocket_connect("/divide") as ws:
                await ws.send("1 0")
                await ws.receive()
    (span,) = of_connections(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ZeroDivisionError")
    assert [event.name for event in span.events] == ["received", "exception"]
    assert span.attributes["websocket.close_code"] == 1011


async def test_the_client_s_trace_goes_on(example: Any, exporter: InMemorySpanExporter) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with example.app.test_client() as client:
        async with client.websocket_connect("/divide", headers={"traceparent": parent}):
            pass
    (span,) = of_connections(exporter)
    assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" == parent[3:-3]


async def test_connections_do_not_see_each_other_s_spans(example: Any, exporter: InMemorySpanExporter) -> None:
    async with example.app.test_client() as client:
        async with client.websocket_connect("/divide") as one, client.websocket_connect("/divide") as other:
            for ws in (one, other):
                await ws.send("1 1")
                await ws.receive()
    spans = of_connections(exporter)
    assert len({span.context.trace_id for span in spans}) == 2
    assert all(span.parent is None for span in spans)


async def test_a_refused_handshake_without_a_route_is_no_span(example: Any, exporter: InMemorySpanExporter) -> None:
    async with example.app.test_client() as client:
        with pytest.raises(ConnectionRejected):
            async with client.websocket_connect("/nowhere"):
                pass
    assert of_connections(exporter) == []


async def test_one_command_runs_it_and_exports_spans_before_the_end() -> None:
    """One command runs it and spans are written at the end at the latest."""
    with trio.fail_after(PATIENCE):
        async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as server:
            async with open_websocket(f"ws://{await server.address()}/divide") as ws:
                await ws.send("1 4")
                assert await ws.receive() == "0.25"
            assert await server.interrupt() == 0
    assert '"name": "WebSocket /divide"' in server.output
    assert '"service.name": "calculator"' in server.output
