"""A part that is not installed: one line with the command that installs it, and a fault of our own stays a fault."""

from __future__ import annotations

import importlib

import pytest

from firstword.telemetry.extras import needed


def test_a_missing_package_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """It names who needs the package, the package, and the command."""
    with pytest.raises(SystemExit) as ended, needed("audit", "firstword blame"):
        importlib.import_module("no_such_package.part")
    assert ended.value.code == 2
    line = "firstword blame needs the package no_such_package; expected: pip install 'firstword[audit]'\n"
    assert capsys.readouterr().err == line


def test_what_is_imported_later_is_looked_for_now(capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs import it in processes of their own, where nobody reads a line."""
    with pytest.raises(SystemExit), needed("worker", "the worker", "json", "no_such_package", "no_such_either"):
        pytest.fail("an import went before the look")
    line = "the worker needs the package no_such_package; expected: pip install 'firstword[worker]'\n"
    assert capsys.readouterr().err == line


def test_a_missing_module_of_ours_is_no_missing_extra() -> None:
    """No extra would bring it."""
    with pytest.raises(ModuleNotFoundError), needed("worker", "the worker"):
        importlib.import_module("firstword.no_such_module")
