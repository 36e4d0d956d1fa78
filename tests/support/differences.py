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
        "documented/test_bocadillo.py::test_uncaught_close_code_leaving_the_view_is_logged",
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
        "test_on_connect_accepts_then_messages_then_on_disconnect",
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
        "test_all_waiting_senders_wake_when_the_connection_ends",
        "test_ping_waits_for_its_pong_and_returns_the_seconds_between",
        "test_concurrent_pings_are_unique_and_pong_answers_older_ones",
        "test_ping_with_outstanding_payload_is_refused",
        "test_waiting_ping_gets_a_disconnect_when_connection_ends",
        "test_a_pong_is_sent_unasked",
        run=False,
    ),
    *_all(
        "pings",
        "contracts/test_checkpoints.py",
        "test_cancelled_ping_is_whole_or_unsent_and_next_is_answered",
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
        "test_recv_gives_typed_messages_then_one_close_then_none",
        "test_receive_event_tells_messages_and_the_end_once",
    ),
    *_all("close-code", "contracts/test_closing.py", "test_state_before_during_and_after"),
    *_all(
        "close-code",
        "contracts/test_outcomes.py",
        "test_handler_error_ends_only_its_own_connection",
        "test_a_clean_end_by_the_peer_is_echoed_and_raised",
        "test_an_unclean_end_is_1006",
    ),
    *_all(
        "after-close",
        "contracts/test_receiving.py",
        "test_data_before_our_close_is_received_and_later_is_dropped",
        run=False,
    ),
    Difference(
        "http2-close-ends",
        "contracts/test_closing.py::test_close_waits_close_timeout_at_most_and_handler_goes_on",
        versions=("http2",),
    ),
    *_all("errors", "contracts/test_outcomes.py", "test_strict_raises_error_out_of_serve_and_closes_all"),
    *_all(
        "breach",
        "contracts/test_outcomes.py",
        "test_protocol_error_is_answered_then_the_connection_ends",
        run=False,
    ),
    *_all(
        "pings",
        "contracts/test_outcomes.py",
        "test_peer_without_pong_is_closed_with_1011_and_replies_late",
        run=False,
    ),
    *_all(
        "early-frames",
        "contracts/test_opening.py",
        "test_what_came_behind_the_request_is_received",
        "test_data_behind_the_request_is_received_even_with_a_close",
        run=False,
    ),
    *_all(
        "fragments",
        "contracts/test_streaming.py",
        "test_send_stream_sends_one_message_in_as_many_fragments",
        "test_each_fragment_leaves_as_soon_as_the_next_is_there",
        "test_other_senders_wait_for_the_stream_and_pings_do_not",
        "test_wrong_later_chunk_ends_the_connection_with_1011",
        "test_stream_failing_midway_ends_connection_and_raises_error",
        "test_cancelled_stream_ends_the_connection_if_partly_sent",
        "test_receive_stream_gives_the_parts_as_they_come",
        "test_next_receive_drops_the_rest_of_an_abandoned_stream",
        "test_abandoned_stream_over_gathered_parts_tears_nothing",
        "test_finished_stream_object_takes_nothing_of_next_message",
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
        "test_draining_server_accepts_none_and_closes_the_open_ones",
        "test_cancelling_serve_closes_connections_in_every_state",
        "test_shutdown_without_grace_waits_for_no_silent_client",
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
    "contracts/test_inline_listeners.py": "transport",
    "contracts/test_keepalive.py": "pings",
    "contracts/test_model.py": "transport",
    "contracts/test_punctuality.py": "transport",
}
"""Contract modules that bring a network of their own, and so do not run under hypercorn. tests/asgi/test_fake.py holds
the bridge to the disconnect rule and to backpressure, with an ASGI server that does what the test says."""


def mark_differences(items: list[pytest.Item]) -> None:
    """Expect those tests to fail that are known to, with the reason."""
    by_test: dict[str, list[Difference]] = {}
    for each in DIFFERENCES:
        by_test.setdefault(each.test, []).append(each)
    for item in items:
        name, _, _ = item.nodeid.partition("[")
        for each in by_test.get("/".join(name.split("/")[-2:]), ()):
            if each.concerns(item.nodeid):
                reason = f"under hypercorn: {each.row} (docs/asgi.md)"
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True, run=each.run))
