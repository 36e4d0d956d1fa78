"""The public names and their signatures, compared with the recorded list."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_public_names_and_signatures_are_those_on_record() -> None:
    """A change here is a change for users: run `python tools/public_api.py --write` and put it into the changelog."""
    command = [sys.executable, "tools/public_api.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    recorded = (ROOT / "tests" / "public_api.txt").read_text(encoding="utf-8")
    difference = difflib.unified_diff(recorded.splitlines(), done.stdout.splitlines(), "recorded", "now", lineterm="")
    assert list(difference) == []
