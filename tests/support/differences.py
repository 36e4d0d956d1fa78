"""What is different under hypercorn: the one list of tests that do not hold there, and of the reasons.

Each reason is a row of the table in docs/asgi.md, by its name. A test listed here is expected to fail under hypercorn
and pytest prints why; if it passes, that fails, because the table is out of date. Tests that would wait for something
that never comes, or end the server, are not run.
"""

from __future__ import annotations

from typing import Literal

import attrs
import pytest


@attrs.frozen
class Difference:
    """Tests that do not hold under hypercorn.

    Args:
        row: of the table in docs/asgi.md.
        test: module and name.
        only: parts of the ids of those parameters that it is about; none for all.
        versions: of HTTP.
        run: False for what would hang or end the server, or fails at times.
    """

    row: str
    test: str
    only: tuple[str, ...] = ()
    versions: tuple[Literal["http1", "http2"], ...] = ("http1", "http2")
    run: bool = True

    def concerns(self, nodeid: str) -> bool:
        """Whether it is about a test, by its id."""
        name, _, parameters = nodeid.partition("[")
        words = parameters.rstrip("]")
        return (
            name.endswith(f"/{self.test}")
            and any(version in words.split("-") for version in self.versions)
            and (not self.only or any(part in words for part in self.only))
        )


def _all(row: str, module: str, *tests: str, run: bool = True) -> list[Difference]:
    return [Difference(row, f"{module}::{test}", run=run) for test in tests]


DIFFERENCES: tuple[Difference, ...] = (
    # --- documented examples ---
    *_all(
        "close-code",
        "documented/test_bocadillo.py",
        "test_events_are_for_the_handshake_and_the_end_too",
        "test_a_client_that_disconnects_is_an_exception_of_receive",
    ),
    Difference(
        "close-code",
        "documented/test_bocadillo.py::test_the_codes_that_are_caught",
        ("/default", "/block", "/with-1006", "/none"),
    ),
    Difference(
        "close-code",
        "documented/test_bocadillo.py::test_1006_is_a_connection_that_ended_without_a_close_frame",
        ("/default",),
    ),
    Difference(
        "close-code",
        "documented/test_bocadillo.py::test_a_code_that_is_not_caught_and_leaves_the_view_is_a_line_in_the_log",
        ("4000",),
    ),
    *_all(
        "close-code",
        "documented/test_cello.py",
        "test_messages_of_each_kind_are_received_and_then_the_close",
        "test_after_the_close_message_there_is_none",
    ),
    *_all(
        "close-code",
        "documented/test_ellar.py",
        "test_on_connect_accepts_by_itself_then_messages_come_then_on_disconnect",
        "test_on_disconnect_may_call_close_with_the_code_that_it_got",
    ),
    Difference("close-code", "documented/test_ellar.py::test_callbacks_take_as_much_as_they_want", ("code)-4000",)),
    *_all("pings", "documented/test_cello.py", "test_messages_of_each_kind_can_be_sent"),
    Difference(
        "http2-buffer",
        "documented/test_cello.py::test_who_does_not_read_keeps_nobody_waiting_in_the_chat_room",
        versions=("http2",),
        run=False,
    ),
    # --- contracts ---
    *_all(
        "pings",
        "contracts/test_sending.py",
        "test_send_takes_every_kind_of_message",
        "test_everyone_who_waits_to_send_wakes_when_the_connection_ends",
        "test_ping_waits_for_its_pong_and_returns_the_seconds_between",
        "test_pings_at_once_have_payloads_of_their_own_and_a_pong_answers_the_older_ones_too",
        "test_a_ping_whose_payload_waits_already_is_refused_and_the_first_goes_on",
        "test_a_ping_that_was_waiting_is_told_when_the_connection_ends",
        "test_a_pong_is_sent_unasked",
        run=False,
    ),
    *_all(
        "pings",
        "contracts/test_checkpoints.py",
        "test_a_cancelled_ping_was_sent_whole_or_not_at_all_and_the_next_is_answered",
        run=False,
    ),
    Difference(
        "close-code",
        "contracts/test_sending.py::test_a_send_after_the_end_raises_in_the_caller_whoever_it_is",
        ("peer's",),
    ),
    *_all(
        "close-code",
        "contracts/test_receiving.py",
        "test_every_receive_after_the_end_raises_again",
        "test_recv_gives_messages_with_their_kind_then_one_close_then_none",
        "test_receive_event_tells_messages_and_the_end_once",
    ),
    *_all("close-code", "contracts/test_closing.py", "test_state_before_during_and_after"),
    *_all(
        "close-code",
        "contracts/test_outcomes.py",
        "test_a_handlers_error_ends_its_own_connection_and_nothing_else",
        "test_a_clean_end_by_the_peer_is_echoed_and_raised",
        "test_an_unclean_end_is_1006",
    ),
    *_all(
        "after-close",
        "contracts/test_receiving.py",
        "test_what_arrived_before_our_close_can_be_received_what_came_after_is_dropped",
        run=False,
    ),
    Difference(
        "http2-close-ends",
        "contracts/test_closing.py::test_close_waits_at_most_close_timeout_and_the_handler_goes_on",
        versions=("http2",),
    ),
    *_all("errors", "contracts/test_outcomes.py", "test_strict_lets_the_error_out_of_serve_and_tells_everyone_else"),
    *_all(
        "breach",
        "contracts/test_outcomes.py",
        "test_a_breach_of_the_protocol_is_answered_then_the_connection_ends",
        run=False,
    ),
    *_all(
        "pings",
        "contracts/test_outcomes.py",
        "test_a_peer_without_a_pong_is_given_up_with_1011_and_may_answer_that_late",
        run=False,
    ),
    *_all(
        "early-frames",
        "contracts/test_opening.py",
        "test_what_came_behind_the_request_is_received",
        "test_what_came_behind_the_request_is_received_also_if_it_ends_with_a_close",
        run=False,
    ),
    *_all(
        "fragments",
        "contracts/test_streaming.py",
        "test_send_stream_sends_one_message_in_as_many_fragments",
        "test_each_fragment_leaves_as_soon_as_the_next_is_there",
        "test_other_senders_wait_until_the_message_is_complete_pings_and_pongs_do_not",
        "test_a_wrong_chunk_after_the_first_ends_the_connection_with_1011",
        "test_a_stream_that_fails_in_the_middle_ends_the_connection_and_its_error_reaches_the_caller",
        "test_a_cancelled_stream_ends_the_connection_if_any_of_it_was_sent",
        "test_receive_stream_gives_the_parts_as_they_come",
        "test_the_rest_of_an_abandoned_stream_is_dropped_by_the_next_receive",
        "test_an_abandoned_stream_over_gathered_parts_leaves_nothing_torn",
        "test_a_stream_object_whose_message_is_over_takes_nothing_of_the_next",
        "test_an_end_in_the_middle_of_a_message_is_a_disconnect",
        run=False,
    ),
    *_all(
        "transport",
        "contracts/test_memory.py",
        "test_nothing_is_left_of_a_connection_that_has_ended",
        "test_nothing_is_left_of_a_connection_that_was_refused",
        run=False,
    ),
    *_all(
        "transport",
        "contracts/test_shutdown.py",
        "test_a_draining_server_accepts_no_one_and_what_it_has_is_told",
        "test_cancelling_serve_tells_everyone_whatever_state_its_connection_is_in",
        "test_shutdown_without_grace_waits_for_nobody_who_has_said_nothing",
        run=False,
    ),
    *_all(
        "transport",
        "contracts/test_checkpoints.py",
        "test_serve_cancelled_at_each_checkpoint_tells_everyone",
        run=False,
    ),
)

NOT_RUN: dict[str, str] = {
    "contracts/test_backpressure.py": "transport",
    "contracts/test_corking.py": "transport",
    "contracts/test_disconnect.py": "transport",
    "contracts/test_held_openings.py": "transport",
    "contracts/test_keepalive.py": "pings",
    "contracts/test_model.py": "transport",
    "contracts/test_punctuality.py": "transport",
}
"""Contract modules that bring a network of their own, and so do not run under hypercorn. tests/asgi/test_fake.py holds
the bridge to the disconnect rule and to backpressure, with an ASGI server that does what the test says."""


def mark_differences(items: list[pytest.Item]) -> None:
    """Expect those tests to fail that are known to, with the reason."""
    for item in items:
        for each in DIFFERENCES:
            if each.concerns(item.nodeid):
                reason = f"under hypercorn: {each.row} (docs/asgi.md)"
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True, run=each.run))
