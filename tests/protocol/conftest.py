"""The implementations of the frame codec: every test of the contract runs on each of them."""

from __future__ import annotations

from typing import Any

import pytest
from codec_helpers import COMPILED, PURE

NOT_BUILT = pytest.mark.skipif(COMPILED is None, reason="the compiled codec was not built")


@pytest.fixture(scope="session", params=[PURE, pytest.param(COMPILED, marks=NOT_BUILT)], ids=["pure", "compiled"])
def codec(request: pytest.FixtureRequest) -> Any:
    return request.param
