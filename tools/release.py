"""Builds a release from a clean tree: `make release`. Writes an sdist and a wheel into dist/, and publishes nothing.

Both are built twice, and must be the same bytes: whoever builds the same commit can check what was published. CONTRIBUTING.md says
what a person does before and after.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


class NotReady(Exception):
    """The tree is not one to release; the message says what was expected, and what to do."""


def git(*arguments: str) -> str:
    """What git says. Raises NotReady where it fails."""
    done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotReady(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def version_to_release() -> str:
    """The version of pyproject.toml. Raises NotReady unless the tree is clean and that version is tagged here and described."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if changed := git("status", "--porcelain"):
        raise NotReady(f"expected a clean tree; commit or remove:\n{changed}")
    if f"v{version}" not in git("tag", "--points-at", "HEAD").split():
        raise NotReady(f"expected the tag v{version} at this commit: git tag --annotate v{version}")
    if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        raise NotReady(f"expected a section [{version}] in CHANGELOG.md, made of what stands under [Unreleased]")
    return version


def built(folder: Path) -> dict[str, str]:
    """Build into `folder`. Returns the SHA-256 of each file by its name. Raises NotReady where the build fails."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct")}
    command = (sys.executable, "-m", "hatchling", "build", "-d", folder)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotReady(f"expected hatchling to build:\n{done.stderr.strip()}")
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def release() -> None:
    """Build twice, compare, keep the first."""
    version = version_to_release()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        files = built(Path(first))
        if files != built(Path(second)):
            raise NotReady("expected the same bytes twice; possible cause: a file that changes while it is built")
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(first, DIST)
    print(f"firstword {version}, built twice, the same bytes:")
    for name, digest in files.items():
        print(f"{digest}  dist/{name}")
    print("Nothing is published. CONTRIBUTING.md, Release, says what comes next.")


if __name__ == "__main__":
    try:
        release()
    except NotReady as error:
        sys.exit(f"release: {error}")
