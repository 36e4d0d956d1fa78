"""Metrics: what Prometheus reads, parsed by its own client library."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.handlers import echo, until_gone

from trio_ws import App, ConnectionRejected
from trio_ws.app.metrics import FIGURES, Metrics
from trio_ws.runtime.command import WORKER_VARIABLE

PAGE = Path(__file__).parents[2] / "docs" / "seeing.md"


def application() -> App:
    app = App()

    app.websocket("/echo")(echo)

    return app


def samples(text: str) -> dict[str, float]:
    """Return the values by name and labels, as they are written."""
    found = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            shown = ",".join(f"{key}={what}" for key, what in sorted(labels.items()))
            found[f"{name}{{{shown}}}" if shown else name] = value
    return found


async def test_a_scrape_shows_the_server_s_statistics():
    app = application()
    app.metrics()
    async with app.test_client() as client:
        async with client.websocket_connect("/echo") as ws:
            await ws.send("hello")
            await ws.receive()
        with pytest.raises(ConnectionRejected):
            async with client.websocket_connect("/nowhere"):
                pass
        async with client.websocket_connect("/echo"):
            await until_gone(app.server, 1)
            answer = await client.get("/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    assert samples(answer.text) == {
        "trio_ws_connections": 2,
        "trio_ws_websockets": 1,
        "trio_ws_inbox_messages": 0,
        "trio_ws_outbox_bytes": 0,
        "trio_ws_draining": 0,
        "trio_ws_websockets_accepted_total": 2,
        "trio_ws_websockets_closed_total{code=1000}": 1,
        "trio_ws_connections_refused_total": 1,
        "trio_ws_http_answers_total{status=403}": 1,
        "trio_ws_messages_received_total": 1,
        "trio_ws_messages_sent_total": 1,
        "trio_ws_handler_errors_total": 0,
    }


async def test_two_applications_have_each_their_own_figures():
    one, other = application(), application()
    for app in (one, other):
        app.metrics("/figures")
    async with one.test_client() as client, other.test_client() as another:
        async with client.websocket_connect("/echo"):
            here, there = [samples((await each.get("/figures")).text) for each in (client, another)]
    assert (here["trio_ws_websockets"], there["trio_ws_websockets"]) == (1, 0)


async def test_metrics_of_the_application_s_own_stand_beside_them():
    app = application()
    registry = app.metrics()
    prometheus_client.Counter("jokes", "Told.", registry=registry).inc(3)
    async with app.test_client() as client:
        assert samples((await client.get("/metrics")).text)["jokes_total"] == 3


async def test_registry_of_the_application_includes_our_metrics():
    """A registry of the application's shows them with the others."""
    app, registry = application(), prometheus_client.CollectorRegistry(auto_describe=True)
    prometheus_client.Gauge("mood", "Good or bad.", registry=registry).set(1)
    assert app.metrics(registry=registry) is registry
    async with app.test_client() as client:
        found = samples((await client.get("/metrics")).text)
    assert (found["mood"], found["trio_ws_connections"]) == (1, 1)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        application().metrics(registry=registry)


def test_without_a_server_there_are_names_and_no_values():
    app = application()
    text = prometheus_client.generate_latest(app.metrics()).decode()
    assert "# TYPE trio_ws_connections gauge" in text
    assert samples(text) == {}


def test_a_path_that_is_taken_is_an_error():
    app = application()
    app.page("/metrics", lambda request: "mine")
    with pytest.raises(ValueError, match="there is a page at '/metrics' already"):
        app.metrics()


async def test_a_worker_s_figures_have_its_number(monkeypatch):
    monkeypatch.setenv(WORKER_VARIABLE, "3")
    app = application()
    app.metrics()
    async with app.test_client() as client:
        await client.get("/nothing")
        await until_gone(app.server)
        found = samples((await client.get("/metrics")).text)
    assert found["trio_ws_connections{worker=3}"] == 1
    assert found["trio_ws_http_answers_total{status=404,worker=3}"] == 1


async def test_a_server_that_shuts_down_says_so():
    app = application()
    registry = app.metrics()
    async with app.test_client() as client:
        client.server.shutdown()
        assert samples(prometheus_client.generate_latest(registry).decode())["trio_ws_draining"] == 1


def test_who_has_not_installed_the_extra_is_told_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install trio-ws\[metrics\]"):
        Metrics(lambda: None)


def test_the_documentation_lists_every_metric():
    listed = dict(re.findall(r"^\| `(trio_ws_\w+)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert listed == {
        figure.name + ("_total" if figure.counts else ""): "counter" if figure.counts else "gauge" for figure in FIGURES
    }
