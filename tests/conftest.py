"""What all tests share: how hard Hypothesis searches."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A deadline or a complaint about slow generation would measure the machine, not the library.
settings.register_profile(
    "trio_ws",
    deadline=None,
    max_examples=int(os.environ.get("TRIO_WS_MAX_EXAMPLES", "200")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("trio_ws")
