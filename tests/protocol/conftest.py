"""The implementations of the frame codec: every test of the contract runs on each of them."""

from __future__ import annotations

from typing import Any

import pytest
from codec_helpers import PURE


@pytest.fixture(scope="session", params=[PURE], ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Any:
    return request.param
