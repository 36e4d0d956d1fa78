"""The table of the closing handshake: its shape, and the page that is drawn from it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from trio_ws import Limits
from trio_ws.protocol.closing import CONNECTION_LOST, TRANSITIONS, CloseAction, CloseInfo, ClosingMachine
from trio_ws.protocol.endpoint import Endpoint
from trio_ws.protocol.states import CloseEvent, State

TOOL = Path(__file__).parents[2] / "tools/closing_diagram.py"
CELLS = [(state, event) for state, row in TRANSITIONS.items() for event in row]


def test_every_state_has_a_row_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {cell.state for row in TRANSITIONS.values() for cell in row.values()} == set(State)


def test_every_event_and_action_is_used() -> None:
    assert {event for _, event in CELLS} == set(CloseEvent)
    assert {action for row in TRANSITIONS.values() for cell in row.values() for action in cell.actions} == set(
        CloseAction
    )


@pytest.mark.parametrize("state", State)
def test_the_network_may_end_in_every_state(state) -> None:
    """`DISCONNECT` ends the network connection: the state after that must be the one that the event leads to."""
    row = TRANSITIONS[state]
    after = row[CloseEvent.NETWORK_ENDS].state
    for event, cell in row.items():
        if CloseAction.DISCONNECT in cell.actions:
            assert cell.state is after, event
    assert TRANSITIONS[after][CloseEvent.NETWORK_ENDS].state is after


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_a_close_frame_is_sent_exactly_when_none_was(state, event) -> None:
    """RFC 6455 5.5.1: the first close frame of either side gets one of ours, and we send no second."""
    machine = ClosingMachine()
    machine.state = state
    sends = CloseAction.SEND_CLOSE in machine.actions(event)
    by_frame = event in (CloseEvent.WE_CLOSE, CloseEvent.WE_FAIL, CloseEvent.PEER_CLOSES)
    assert sends == (by_frame and state in (State.OPEN, State.DISCARDING))


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("discarding", [False, True])
def test_an_endpoint_makes_a_frame_where_the_table_sends_one(close, discarding) -> None:
    endpoint = Endpoint(client=False, limits=Limits())
    if discarding:
        endpoint.move(CloseEvent.WE_CLOSE_AFTER_EOF)
    elif close:
        endpoint.close(1000, "")
    sends = CloseAction.SEND_CLOSE in endpoint.actions(CloseEvent.WE_FAIL)
    assert bool(endpoint.fail(1002, "")) == sends


def test_the_first_end_is_the_close_info() -> None:
    machine = ClosingMachine()
    machine.move(CloseEvent.PEER_ENDS)
    machine.move(CloseEvent.WE_CLOSE_AFTER_EOF)
    assert machine.close_info is None
    machine.move(CloseEvent.PEER_CLOSES, CloseInfo(4001, "", "peer"))
    machine.move(CloseEvent.NETWORK_ENDS)
    assert machine.close_info == CloseInfo(4001, "", "peer")


def test_an_end_without_close_frame_is_1006() -> None:
    machine = ClosingMachine()
    machine.move(CloseEvent.NETWORK_ENDS)
    assert machine.close_info is CONNECTION_LOST
    assert machine.close_info.code == 1006


def test_the_page_is_drawn_from_the_table() -> None:
    """`python tools/closing_diagram.py --write` brings it up to date."""
    spec = importlib.util.spec_from_file_location("closing_diagram", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page_with(tool.drawn())
