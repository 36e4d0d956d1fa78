"""The example of validated callbacks: a coffee bar that only hears what makes sense."""

from __future__ import annotations

import pytest

from trio_ws import open_websocket

from .browser import EXAMPLES, load
from .process import forked, launching

DIRECTORY = EXAMPLES / "validated"
ORDER = {"type": "order", "drink": "espresso", "cups": 2}


def test_orders_are_placed_and_cancelled_by_number() -> None:
    with load("validated").app.test_client() as client, client.websocket_connect("/bar") as ws:
        assert ws.receive_json() == {"menu": ["espresso", "cappuccino", "filter"]}
        ws.send_json(ORDER)
        assert ws.receive_json() == {"statusCode": 201, "body": {"number": 1, "order": ORDER}}
        ws.send_json({"type": "cancel", "number": 1})
        assert ws.receive_json() == {"statusCode": 200, "body": ORDER}
        ws.send_json({"type": "cancel", "number": 1})
        assert ws.receive_json() == {"statusCode": 404, "body": "there is no order 1"}


@pytest.mark.parametrize(
    ("message", "loc"),
    [
        ({"type": "order", "drink": "tea"}, ["order", "drink"]),
        ({"type": "order", "drink": "filter", "cups": 11}, ["order", "cups"]),
        ({"type": "cancel"}, ["cancel", "number"]),
        ({"type": "pay"}, []),
    ],
)
def test_invalid_input_is_answered_and_the_guest_may_go_on(message: object, loc: list) -> None:
    """What makes no sense is answered with what is wrong and the guest may go on."""
    with load("validated").app.test_client() as client, client.websocket_connect("/bar") as ws:
        ws.receive()
        ws.send_json(message)
        answer = ws.receive_json()
        assert answer["statusCode"] == 400
        assert [error["loc"] for error in answer["body"]["errorList"]] == [loc]
        ws.send_json(ORDER)
        assert ws.receive_json()["statusCode"] == 201


def test_each_guest_has_a_tab_of_their_own() -> None:
    with load("validated").app.test_client() as client, client.websocket_connect("/bar") as first:
        first.receive()
        first.send_json(ORDER)
        first.receive()
        with client.websocket_connect("/bar") as second:
            second.receive()
            second.send_json({"type": "cancel", "number": 1})
            assert second.receive_json()["statusCode"] == 404


async def test_one_command_runs_it_and_logs_guests_leaving_early() -> None:
    """One command runs it and says who leaves without the coffee."""
    async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as bar:
        async with open_websocket(f"ws://{await bar.address()}/bar", send_type="json") as ws:
            await ws.send(ORDER)
            await ws.receive()
            await ws.receive()
            await ws.close(4000)
        await bar.until("A guest left with 4000; 2 cups wasted so far.")
        assert await bar.interrupt() == 0
