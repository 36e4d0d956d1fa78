"""An application's statistics in the Prometheus text format (extra `metrics`).

The figures are the server's own counters, read at each request for the page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from trio_ws.handler.service import Response
from trio_ws.runtime.command import WORKER_VARIABLE
from trio_ws.runtime.threads import in_loop

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

    from trio_ws.http.request import Request
    from trio_ws.server.server import Server

__all__ = ["FIGURES", "Figure", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every Prometheus accepts."""


@attrs.frozen
class Figure:
    """One metric, and the field of `Statistics` that it shows."""

    field: str
    name: str
    text: str
    counts: bool = False
    """Whether it only ever grows, until the process ends."""
    label: str = ""
    """The label of a mapping's keys; "" for a field that is no mapping."""


FIGURES: Final = (
    Figure("connections", "trio_ws_connections", "Network connections now."),
    Figure("websockets", "trio_ws_websockets", "Accepted WebSockets that are not over."),
    Figure("inbox_messages", "trio_ws_inbox_messages", "Messages that wait for their handlers."),
    Figure("outbox_bytes", "trio_ws_outbox_bytes", "Bytes that wait for the network."),
    Figure("draining", "trio_ws_draining", "1 while the server shuts down, else 0."),
    Figure("accepted", "trio_ws_websockets_accepted", "WebSockets accepted.", counts=True),
    Figure("closed", "trio_ws_websockets_closed", "WebSockets that are over, by close code.", True, "code"),
    Figure("refused", "trio_ws_connections_refused", "Connections that ended without a WebSocket.", counts=True),
    Figure("responses", "trio_ws_http_answers", "Answers other than 101, by HTTP status.", True, "status"),
    Figure("messages_received", "trio_ws_messages_received", "Messages received.", counts=True),
    Figure("messages_sent", "trio_ws_messages_sent", "Messages sent.", counts=True),
    Figure("over_budget", "trio_ws_messages_over_budget", "Messages beyond a budget, by outcome.", True, "over"),
    Figure("handler_errors", "trio_ws_handler_errors", "Handlers that ended with an unhandled error.", counts=True),
)


class Metrics:
    """A collector of prometheus-client's, and the page that shows its registry.

    Args:
        server: returns the server that runs, None if there is none.
        registry: where to register; None for one of its own.

    Raises:
        ImportError: prometheus-client is not installed.
    """

    def __init__(self, server: Callable[[], Server | None], registry: CollectorRegistry | None = None) -> None:
        try:
            import prometheus_client  # noqa: PLC0415 - an extra
        except ImportError:
            raise ImportError("metrics need prometheus-client: pip install trio-ws[metrics]") from None
        self._client = prometheus_client
        self._server = server
        self.registry: CollectorRegistry = prometheus_client.CollectorRegistry() if registry is None else registry
        worker = os.environ.get(WORKER_VARIABLE)
        self._labels = {} if worker is None else {"worker": worker}

    def register(self) -> None:
        """Become a part of the registry.

        Raises:
            ValueError: the registry has the metrics of another application.
        """
        self.registry.register(self)

    @in_loop  # the figures are the event loop's
    def page(self, request: Request) -> Response:
        """Answer a scrape."""
        body = self._client.generate_latest(self.registry)
        return Response(headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}, body=body)

    # --- what the registry calls ---------------------------------------------------------------------------------

    def describe(self) -> Iterator[Metric]:
        """Return the metrics without values: the registry learns their names."""
        return (self._family(figure, None) for figure in FIGURES)

    def collect(self) -> Iterator[Metric]:
        """Return the running server's metrics, without values while there is none."""
        server = self._server()
        values: Mapping[str, Any] = {}
        if server is not None:
            values = {**attrs.asdict(server.statistics()), "draining": int(server.draining)}
        return (self._family(figure, values.get(figure.field)) for figure in FIGURES)

    def _family(self, figure: Figure, value: Any) -> GaugeMetricFamily | CounterMetricFamily:
        core = self._client.metrics_core
        kind = core.CounterMetricFamily if figure.counts else core.GaugeMetricFamily
        names, labels = list(self._labels), list(self._labels.values())
        label_names = [*names, figure.label] if figure.label else names
        family: GaugeMetricFamily | CounterMetricFamily = kind(figure.name, figure.text, labels=label_names)
        if figure.label:
            for number, count in (value or {}).items():
                family.add_metric([*labels, str(number)], count)
        elif value is not None:
            family.add_metric(labels, value)
        return family
