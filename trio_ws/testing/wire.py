"""Recordings of the bytes of connections in memory, and the check that their frames are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from trio_ws.testing.memory_stream import Pipe, pipe_log
from trio_ws.testing.raw_head import HEAD_END
from trio_ws.testing.raw_reader import RawFrameReader, RawFrameRules

__all__ = ["Recording", "TornFrame", "check_recording", "recorded"]


class TornFrame(Exception):  # noqa: N818 - a state, not an error of ours
    """A side ended its connection inside a frame.

    Example:
        with pytest.raises(TornFrame, match="the client ended the connection inside a frame"):
            await cancel_everywhere(scenario)
    """


@attrs.frozen
class Recording:
    """The two directions of one connection."""

    to_server: Pipe
    to_client: Pipe


@contextmanager
def recorded() -> Iterator[list[Recording]]:
    """Record the connections in memory that are opened in the block, by its tasks."""
    recordings: list[Recording] = []
    token = pipe_log.set(lambda there, back: recordings.append(Recording(there, back)))
    try:
        yield recordings
    finally:
        pipe_log.reset(token)


def check_recording(recording: Recording) -> None:
    """Check the frames of both directions; connections without a WebSocket are left out.

    Raises:
        TornFrame: a side ended the connection inside a frame.
        InvalidFrame: a frame breaks a rule.
    """
    request = bytes(recording.to_server.record or b"")
    response = bytes(recording.to_client.record or b"")
    response_head, end, _ = response.partition(HEAD_END)
    if not end or not response_head.startswith(b"HTTP/1.1 101"):
        return
    compressed = b"permessage-deflate" in response_head
    _check_direction(request, recording.to_server, "client", compressed=compressed)
    _check_direction(response, recording.to_client, "server", compressed=compressed)


def _check_direction(data: bytes, pipe: Pipe, side: str, *, compressed: bool) -> None:
    reader = RawFrameReader(RawFrameRules(masked=side == "client", compressed=compressed))
    reader.feed(data.partition(HEAD_END)[2])
    while reader.next_frame() is not None:
        pass
    # A side whose peer has gone may stop anywhere; so may one that resets.
    if reader.unread and pipe.ended_whole:
        raise TornFrame(f"the {side} ended the connection inside a frame: {bytes(reader.unread[:60])!r}")
