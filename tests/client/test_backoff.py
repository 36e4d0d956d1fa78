"""Backoff and should_reconnect: when a client comes back, and after how long."""

from __future__ import annotations

import ssl
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws.client.backoff import MAX_RETRY_AFTER, Backoff, BackoffSettings, should_reconnect
from trio_ws.errors import (
    ConnectError,
    ConnectionRejected,
    ConnectTimeout,
    LocalProtocolError,
    RemoteProtocolError,
    WebSocketDisconnect,
)

NOW = 1_700_000_000.0


def judge(why: Exception | int, random: float = 0.5) -> bool | float:
    return should_reconnect(why, source=lambda: random, now=lambda: NOW)


NOW_LATER = "(" * 5000 + formatdate(NOW + 90, usegmt=True)
"""A date that is longer than dates are."""


def rejected(status: int, retry_after: str | None = None) -> ConnectionRejected:
    headers = [("Server", "x")] + ([] if retry_after is None else [("retry-AFTER", retry_after)])
    return ConnectionRejected(status, headers)


def connect_error(phase: str, cause: Exception | None = None) -> ConnectError:
    error = ConnectError(phase, "no")  # type: ignore[arg-type]
    error.__cause__ = cause
    return error


class TestPolicy:
    @pytest.mark.parametrize("code", [1001, 1006, 1011, 1014])
    def test_temporary_closes_are_tried_again(self, code):
        assert judge(WebSocketDisconnect(code)) is True
        assert judge(code) is True

    @pytest.mark.parametrize("code", [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 3000, 4000, 4403, 4999])
    def test_final_closes_are_not(self, code):
        assert judge(WebSocketDisconnect(code)) is False
        assert judge(code) is False

    @pytest.mark.parametrize(("random", "delay"), [(0.0, 5.0), (0.5, 2.5), (0.99, 0.05)])
    def test_a_restart_spreads_its_clients_over_five_seconds(self, random, delay):
        assert judge(1012, random) == pytest.approx(delay)
        assert judge(1012, random) > 0

    def test_try_again_later_waits_longer(self):
        assert judge(WebSocketDisconnect(1013)) == 15.0

    @pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 426])
    def test_refusals_by_status_are_final(self, status):
        assert judge(rejected(status)) is False
        assert judge(rejected(status, "5")) is False

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
    def test_temporary_refusals_are_tried_again(self, status):
        assert judge(rejected(status)) is True

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(
        ("value", "delay"),
        [
            ("7", 7.0),
            (" 7 ", 7.0),
            ("3601", MAX_RETRY_AFTER),
            ("9" * 5000, MAX_RETRY_AFTER),
            ("0" * 5000 + "7", 7.0),
            (formatdate(NOW + 90, usegmt=True), 90.0),
            ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
            ("Tue Nov 14 22:14:20 2023", 60.0),
            (formatdate(NOW + 10**6, usegmt=True), MAX_RETRY_AFTER),
        ],
    )
    def test_retry_after_is_respected_up_to_an_hour(self, status, value, delay):
        assert judge(rejected(status, value)) == delay

    @pytest.mark.parametrize(
        "value",
        ["0", "-1", "", "soon", "٣", formatdate(NOW - 1), "Mon, 99 Foo 2023 99:99:99 GMT", "0" * 5000, NOW_LATER],
    )
    def test_a_retry_after_that_is_past_or_nonsense_is_ignored(self, value):
        assert judge(rejected(503, value)) is True

    def test_retry_after_counts_for_429_and_503_only(self):
        assert judge(rejected(500, "7")) is True

    @pytest.mark.parametrize("phase", ["dns", "tcp", "proxy", "tls", "handshake"])
    def test_network_errors_and_timeouts_are_tried_again(self, phase):
        assert judge(connect_error(phase, OSError("lost"))) is True
        assert judge(ConnectTimeout(phase, "slow")) is True

    def test_a_proxys_refusal_is_judged_by_its_status(self):
        assert judge(connect_error("proxy", rejected(502))) is True
        assert judge(connect_error("proxy", rejected(503, "9"))) == 9.0

    @pytest.mark.parametrize(
        "error",
        [
            connect_error("url"),
            connect_error("tls", ssl.SSLCertVerificationError("self-signed")),
            connect_error("proxy", rejected(407)),
            connect_error("handshake", RemoteProtocolError("wrong Sec-WebSocket-Accept")),
            LocalProtocolError("closed twice"),
            ValueError("bad"),
        ],
    )
    def test_what_would_fail_the_same_way_again_is_not(self, error):
        assert judge(error) is False

    @given(st.text(max_size=40) | st.from_regex(r"\w{3}, \d+ \w{3} -?\d+ \d+:\d+:\d+ [+-]?\w+", fullmatch=True))
    @settings(deadline=None)
    def test_no_retry_after_value_makes_it_fail(self, value):
        verdict = judge(rejected(503, value))
        assert verdict is True or 0 < verdict <= MAX_RETRY_AFTER


class TestDelays:
    def test_the_range_doubles_up_to_the_maximum(self):
        backoff = Backoff(BackoffSettings(initial=1, maximum=5, factor=2), source=lambda: 0.5)
        assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 2.5, 2.5]

    def test_defaults_are_as_documented(self):
        backoff = Backoff(source=lambda: 1.0)
        assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]

    def test_the_delay_is_random_from_zero(self):
        numbers = iter([0.0, 0.25, 0.75])
        backoff = Backoff(BackoffSettings(initial=4, factor=1), source=lambda: next(numbers))
        assert [backoff.next() for _ in range(3)] == [0.0, 1.0, 3.0]

    def test_a_verdict_in_seconds_is_the_least_delay(self):
        backoff = Backoff(source=lambda: 0.5)
        assert backoff.next(15.0) == 15.25
        assert backoff.next(True) == 0.5

    def test_there_is_no_delay_after_a_no(self):
        with pytest.raises(ValueError, match="returned False"):
            Backoff().next(False)

    def test_a_connection_that_lived_long_enough_resets(self):
        backoff = Backoff(source=lambda: 1.0)
        backoff.next()
        backoff.lived(9.9)
        assert backoff.next() == 1.0
        backoff.lived(10.0)
        assert backoff.next() == 0.5

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ({"initial": 0}, "initial must be more than 0"),
            ({"maximum": float("nan")}, "maximum must be more"),
            ({"factor": 0.5}, "factor must be at least 1"),
            ({"stable_after": -1}, "stable_after"),
            ({"initial": 61}, "must not exceed maximum"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, bad, message):
        with pytest.raises(ValueError, match=message):
            BackoffSettings(**bad)

    def test_delays_may_be_as_long_from_the_beginning(self):
        backoff = Backoff(BackoffSettings(initial=4, maximum=4), source=lambda: 1.0)
        assert [backoff.next() for _ in range(2)] == [4, 4]
