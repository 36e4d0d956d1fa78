"""A working directory with an application, and `trio-ws run --workers` over it."""

from __future__ import annotations

import pytest

from tests.workers.fleet import SHOP, Fleet


@pytest.fixture
async def fleet(tmp_path):
    """Workers of the application `shop`, started by `start`, and gone at the end of the test."""
    (tmp_path / "shop.py").write_text(SHOP)
    workers = Fleet(tmp_path)
    yield workers
    await workers.end()
