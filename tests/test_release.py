"""A release: from a clean, tagged, described tree, the same bytes wherever it is built; else one line that says what is missing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")


def git(tree: Path, *arguments: str) -> None:
    subprocess.run(("git", *IDENTITY, *arguments), cwd=tree, check=True, capture_output=True)


def release(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run((sys.executable, "tools/release.py"), cwd=tree, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone, with the files as they are here."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(clone))
    for name in ("tools/release.py", "pyproject.toml"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(
        changelog.read_text(encoding="utf-8").replace("## [Unreleased]", f"## [{VERSION}]"), encoding="utf-8"
    )
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", f"Release {VERSION}")
    return clone


def test_a_release_is_the_same_bytes_in_every_clone(tree: Path, tmp_path: Path) -> None:
    git(tree, "tag", f"v{VERSION}")
    git(tmp_path, "clone", "--quiet", str(tree), "other")
    done, other = release(tree), release(tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert done.stdout == other.stdout
    wheel = tree / "dist" / f"firstword-{VERSION}-py3-none-any.whl"
    assert "firstword/agent/data/worker.py" in zipfile.ZipFile(wheel).namelist()
    assert (tree / "dist" / f"firstword-{VERSION}.tar.gz").exists()


def test_what_is_no_release_is_refused(tree: Path) -> None:
    """Each in one line that says what to do; nothing is built."""
    missing = f"release: expected the tag v{VERSION} at this commit: git tag --annotate v{VERSION}"
    assert release(tree).stderr.strip() == missing
    (tree / "new.txt").touch()
    assert release(tree).stderr.strip() == "release: expected a clean tree; commit or remove:\n?? new.txt"
    assert not (tree / "dist").exists()
