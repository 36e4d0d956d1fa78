"""The measurements of a package's structure by `tools/house.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.structure import homonyms_of, house, module_of


def package(folder: Path, files: dict[str, str]) -> Path:
    """Write the modules of a package, and return its folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_help_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        house.main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: house.py")


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_modules_is_an_error(tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as caught:
        house.main([str(tmp_path / folder)])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: there is no Python module below {tmp_path / folder}\n")


@pytest.mark.parametrize("text", ["", "x = 1\n"])
def test_the_smallest_package_is_measured(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert house.main([str(package(tmp_path / "small", {"__init__.py": text})), "--details"]) == 0
    assert "modules over 400 lines" in capsys.readouterr().out


def test_details_list_a_private_access(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = package(tmp_path / "small", {"a.py": "import b\n\n\ndef f():\n    return b.thing._hidden\n"})
    assert house.main([str(folder), "--details"]) == 0
    assert f"{folder / 'a.py'}:5 b.thing._hidden" in capsys.readouterr().out


def test_a_class_name_in_two_modules_is_found(tmp_path: Path) -> None:
    """An underscore makes no other name; another library's interface does not count."""
    files = {"a.py": "class Plan: ...", "b/c.py": "class _Plan: ...", "b/d.py": "class Head: ..."}
    files["compat/trio_websocket/e.py"] = "class Head: ..."
    folder = package(tmp_path / "trio_ws", files)
    assert homonyms_of([module_of(path, folder) for path in sorted(folder.rglob("*.py"))]) == ["Plan"]
