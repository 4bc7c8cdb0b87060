"""Where files of the worker lie, in containers of any kind, and who else may write there."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from firstword.agent import folders


def test_a_folder_is_made_for_its_user_alone(tmp_path: Path) -> None:
    """Whoever can write there steers greetings, prompts and flags."""
    folders.make_private(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_to_is_closed(tmp_path: Path) -> None:
    """As an umask of 002 leaves it."""
    tmp_path.chmod(0o775)
    folders.make_private(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name among the temporary files can be guessed, and be there before us."""
    if os.geteuid() == 0:  # root's own folder is nobody's trap
        os.chown(tmp_path, 4_001, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000)
    with pytest.raises(PermissionError, match="belongs to another user"):
        folders.make_private(tmp_path)


@pytest.mark.parametrize("home", ["missing", "not writable"])
def test_without_a_home_folder_files_lie_among_the_temporary_ones(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An arbitrary user id without a home, or a root file system that is read-only: one line each says where."""
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if home == "missing":

        def nobody(_: int) -> None:
            raise KeyError

        monkeypatch.setattr(pwd, "getpwuid", nobody)
    else:
        monkeypatch.setenv("HOME", "/dev/null")
    for _ in range(2):
        assert folders.cache_folder().parent == folders.data_folder().parent == tmp_path
    assert len(caplog.messages) == 2
    folders.make_private(folders.cache_folder())
