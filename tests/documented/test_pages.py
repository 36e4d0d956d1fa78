"""The programs of the pages by topic run, and do what the pages say."""

from __future__ import annotations

import argparse
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from support.internals import internal

from trio_ws import App, BackoffSettings, Limits, Query, Timeouts, WebSocket, WebSocketException
from trio_ws.cli import main as main_module
from trio_ws.client.backoff import should_reconnect

pytest_plugins = ["pytester"]

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNITS = {"MiB": 1024 * 1024, "KiB": 1024, "s": 1}


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def blocks(page: str, language: str = "python") -> list[str]:
    return [body for kind, body in FENCE.findall(text_of(page)) if kind == language]


def files_of(page: str) -> dict[str, str]:
    """Return the files of a page; one that is continued is written as a whole."""
    found: dict[str, str] = {}
    for _, body in FENCE.findall(text_of(page)):
        name = re.match(r"# ([\w.]+)(?:, continued)?\n", body)
        if name is not None:
            found[name[1]] = found.get(name[1], "") + body + "\n\n"
    return found


# --- pages with tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["authentication", "limits", "json", "asyncapi", "budgets", "credentials"])
def test_the_tests_of_a_page_pass(page: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(page)
    for name, content in files.items():
        Path(pytester.path, name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(pytester.path), *sys.path])
    monkeypatch.delitem(sys.modules, "app", raising=False)
    result = pytester.runpytest_inprocess("-p", "no:anyio", "-p", "no:cacheprovider", "-W", "error")
    sys.modules.pop("app", None)
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] >= files["test_app.py"].count("def test_") > 2


# --- clients -------------------------------------------------------------------------------------------------------


def make_server() -> App:
    """Return an application with the routes that the clients of the pages connect to."""
    app = App()
    visits = iter(range(1_000_000))

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.websocket("/full")
    async def full(ws: WebSocket) -> None:
        raise WebSocketException(4003, "the channel is full")

    @app.websocket("/headers")
    async def headers(ws: WebSocket) -> None:
        await ws.send_json([ws.headers["authorization"], ws.headers["x-client"], ws.cookies["session"]])

    @app.websocket("/restarting")
    async def restarting(ws: WebSocket) -> None:
        visit = next(visits)
        await ws.send(f"visit {visit}")
        if visit < 2:
            raise WebSocketException(1011, "again")

    @app.websocket("/resuming")
    async def resuming(ws: WebSocket, since: int = Query(default=-1)) -> None:
        assert ws.headers["authorization"] == "Bearer a fresh one"
        await ws.send_json({"id": since + 1, "message": f"message {since + 1}"})
        if since < 1:
            raise WebSocketException(1011, "again")

    return app


WRITTEN = {
    "client": [
        ["Hello!"],
        ["question 0", "question 1", "question 2"],
        ["closed with 4003: the channel is full"],
        ["['Bearer 2b7c', 'example', 'abc']"],
        ["still connected"],
    ],
    "reconnecting": [
        ["visit 0", "visit 1", "visit 2"],
        ["visit 0", "visit 1", "visit 2"],
        ["message 0", "message 1", "message 2"],
    ],
}


@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in WRITTEN for number in range(len(WRITTEN[page]))]
)
async def test_a_client_of_a_page_writes_what_it_received(
    page: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(blocks(page)) == len(WRITTEN[page])
    async with trio.open_nursery() as nursery:
        server = await nursery.start(make_server().serve, "127.0.0.1", 0)
        names: dict[str, Any] = {"__name__": "page"}
        program = blocks(page)[number].replace("ws://localhost:8000", server.urls[0])
        assert program != blocks(page)[number]
        exec(program.replace("BackoffSettings(initial=0.01", "BackoffSettings(initial=0.001"), names)
        with trio.fail_after(30):
            await names["main"]()
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out.splitlines() == WRITTEN[page][number]


def codes(cell: str) -> Iterator[int]:
    """Yield the close codes in a cell, ranges in full."""
    for first, last in re.findall(r"\b(\d{4})(?: to (\d{4}))?", cell):
        yield from range(int(first), int(last or first) + 1)


def test_the_table_of_delays_is_what_decides() -> None:
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", text_of("reconnecting"), re.MULTILINE)[1:]
    decided = {
        code: should_reconnect(code, BackoffSettings(initial=1.0), source=lambda: 0.5) for code in range(1000, 5000)
    }
    again, restarts, later, _, never = [set(codes(cell)) for cell, _ in rows]
    assert again == {code for code, what in decided.items() if what is True}
    assert {decided[code] for code in restarts} == {5.0}
    assert {decided[code] for code in later} == {30.0}
    assert never <= {code for code, what in decided.items() if what is False}
    assert "10 times" in rows[1][1]
    assert "30 times" in rows[2][1]


# --- tables --------------------------------------------------------------------------------------------------------


def shown(default: float | None) -> set[str]:
    """Return the ways to write a default in a table."""
    if default in (None, float("inf")):
        return {"none", "the descriptor limit minus 64"}
    return {f"{default:,g}", f"{default:,}"} | {f"{default / size:g} {unit}" for unit, size in UNITS.items()}


@pytest.mark.parametrize("settings", [Limits, Timeouts])
def test_the_page_has_each_limit_and_timeout_with_its_default(settings: type) -> None:
    found = {}
    for names, defaults in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) \|", text_of("limits"), re.MULTILINE):
        fields = re.findall(r"`(\w+)`", names)
        found |= dict(zip(fields, defaults.split(", ") if len(fields) > 1 else [defaults], strict=True))
    for field in attrs.fields(settings):
        assert found[field.name] in shown(field.default), field.name


@pytest.mark.parametrize("command", ["run", "connect", "asyncapi"])
def test_the_page_has_each_option_of_a_command_with_its_default(command: str) -> None:
    section = text_of("command-line").partition(f"## trio-ws {command}\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(--[\w-]+)[^`]*` \| (.*?) \|", section, re.MULTILINE))
    (subparsers,) = (
        each for each in internal(main_module, "_parser")()._actions if isinstance(each, argparse._SubParsersAction)
    )
    options = {
        action.option_strings[-1]: action
        for action in subparsers.choices[command]._actions
        if action.option_strings and action.help != argparse.SUPPRESS and action.dest != "help"
    }
    assert rows.keys() == options.keys()
    for name, action in options.items():
        if isinstance(action.default, (str, float)) and not isinstance(action.default, bool):
            assert rows[name] == (f"{action.default:g}" if isinstance(action.default, float) else action.default)


# --- FAQ -----------------------------------------------------------------------------------------------------------

FAQ = [
    (body, message) for body, message in re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)\n```", text_of("faq"), re.S)
]


def test_each_example_of_the_faq_has_a_message() -> None:
    assert len(FAQ) == len(blocks("faq")) == len(blocks("faq", "text"))


@pytest.mark.parametrize(("program", "message"), FAQ, ids=[message[:30] for _, message in FAQ])
def test_an_example_of_the_faq_raises_its_message(program: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    folded = re.sub(r"\s+", " ", message)
    program = re.sub(r"trio\.run\(main\)", "import trio; trio.run(main)", program)
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - the message is compared below
        exec(compile(program, "example.py", "exec", dont_inherit=True), {"__name__": "page"})
    assert folded in re.sub(r"\s+", " ", "".join(traceback.format_exception(raised.value)))
