from __future__ import annotations

import pytest
from support.repetitions import has_its_turn, mark_repetitions


@pytest.fixture(params=[True, False], ids=["poller", "stream"])
def poller(request):
    """Both of our transports: the poller, and the one over Trio's streams."""
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what another library says once more to the same code above the transport."""
    mark_repetitions(items, "interop", is_repetition)


def is_repetition(item: pytest.Function) -> bool:
    """Return whether the poller runs the same: over streams a test has one of its values."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    values = [name for name in parameters if name != "poller"]
    return parameters.get("poller") is False and not all(has_its_turn(item, name, 1) for name in values)
