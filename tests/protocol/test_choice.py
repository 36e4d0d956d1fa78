"""Which codec runs: the compiled one where it was built, the pure one where it is asked for or alone there."""

from __future__ import annotations

import subprocess
import sys
import zlib

import pytest
from codec_helpers import COMPILED, PURE

from trio_ws.config import Limits
from trio_ws.protocol import compressors, encoder
from trio_ws.protocol.codec import CODEC, PURE_PYTHON, RUNNING, choose
from trio_ws.protocol.compressors import STANDARD_ZLIB
from trio_ws.protocol.endpoint import Endpoint


@pytest.mark.skipif(COMPILED is None, reason="the compiled codec was not built")
@pytest.mark.parametrize("value", [None, "", "0"])
def test_the_compiled_codec_runs_if_it_is_there(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(PURE_PYTHON, raising=False)
    if value is not None:
        monkeypatch.setenv(PURE_PYTHON, value)
    assert COMPILED is not None
    assert choose()[:3] == ("compiled codec", COMPILED.decoder, COMPILED.encoder)


def test_the_pure_codec_runs_if_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PURE_PYTHON, "1")
    assert choose() == ("pure Python codec", PURE.decoder, PURE.encoder, encoder.plain_message)


@pytest.mark.skipif(COMPILED is None, reason="the compiled codec was not built")
def test_the_compiled_codec_runs_under_a_core_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PURE_PYTHON, "core")
    assert choose().name == "compiled codec"


def test_the_pure_codec_runs_if_the_other_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PURE_PYTHON, raising=False)
    monkeypatch.setitem(sys.modules, "trio_ws.protocol.speedups", None)
    assert choose().name == "pure Python codec"


def test_connections_have_the_codec_that_was_chosen() -> None:
    endpoint = Endpoint(client=False, limits=Limits())
    assert type(endpoint.decoder) is CODEC.decoder
    assert type(endpoint.encoder) is CODEC.encoder


@pytest.mark.slow
def test_the_command_says_which_codec_and_which_zlib_run() -> None:
    def version() -> str:
        command = [sys.executable, "-m", "trio_ws", "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PURE_PYTHON, "1")
        patch.setenv(STANDARD_ZLIB, "1")
        assert version().endswith(f", pure Python codec, zlib {zlib.ZLIB_RUNTIME_VERSION})\n")
    assert version().endswith(f", {RUNNING}, {compressors.choose().name})\n")
