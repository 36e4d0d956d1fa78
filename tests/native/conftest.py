"""The core's tests run on the compiled core, with Trio's attributes and without, and on Python as the reference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trio_ws.native.choice import core
from trio_ws.websocket import compiled

NOT_BUILT = pytest.mark.skipif(core is None, reason="the compiled core does not run")


@pytest.fixture(params=[pytest.param("shortcut", marks=NOT_BUILT), pytest.param("public", marks=NOT_BUILT), "python"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How messages are received and sent: the core looks into tasks, or drives Trio's coroutines; or all is Python."""
    if request.param == "python" and core is not None:
        for name in ("receive", "__anext__", "send"):
            monkeypatch.setattr("trio_ws.WebSocket." + name, compiled.wired["websocket_" + name.strip("_")])
    elif core is not None:
        core.wire({**compiled.wired, "shortcut": request.param == "shortcut"})
    yield request.param
    if core is not None:
        core.wire(compiled.wired)
