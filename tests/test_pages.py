"""The pages lead somewhere: links have their files and headings, a reader finds each page from the index, Python on them runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def links(page: Path) -> list[tuple[Path, str]]:
    """The files that a page leads to, with the heading or nothing; no addresses of other places."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    return [
        ((page.parent / file).resolve() if file else page, heading)
        for file, _, heading in (target.partition("#") for target in targets)
    ]


def headings(page: Path) -> set[str]:
    """As GitHub names them in an address: small letters, no punctuation, hyphens for blanks."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in links(page):
        assert target.exists(), f"{page.name} leads to {target}"
        if heading:
            assert heading in headings(target), f"{page.name} leads to {heading} of {target.name}"


def test_the_index_has_every_page() -> None:
    """Those of the decisions have an index of their own."""
    index = ROOT / "docs/README.md"
    there = {target for target, _ in links(index)}
    assert set(ROOT.glob("docs/*.md")) - there == {index}
    decisions = ROOT / "docs/decisions/README.md"
    assert set(ROOT.glob("docs/decisions/*.md")) - {target for target, _ in links(decisions)} == {decisions}


def program_on(page: str) -> str:
    """The only Python on a page."""
    (program,) = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    return program


def test_a_claim_is_signed_as_the_page_says() -> None:
    """With the account, the room, and an end within ten minutes."""
    environment = {"FIRSTWORD_CLAIM_KEY": "k" * 32}
    program = (sys.executable, "-c", program_on("docs/accounts.md"))
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    claim = jwt.decode(done.stdout.strip(), "k" * 32, algorithms=["HS256"])
    assert (claim["sub"], claim["room"]) == ("1001", "call-7f3a")


def test_the_first_call_asks_for_the_agent(tmp_path: Path) -> None:
    """The program on the page of the first hour prints the server's address and a token that brings the agent."""
    program = program_on("docs/first-hour.md")
    settings = "LIVEKIT_URL=ws://127.0.0.1:7880\nLIVEKIT_API_KEY=key\nLIVEKIT_API_SECRET=" + "s" * 32
    (tmp_path / ".env.local").write_text(settings)
    done = subprocess.run((sys.executable, "-c", program), cwd=tmp_path, env={}, capture_output=True, text=True)
    address, token = done.stdout.split()
    claims = jwt.decode(token, "s" * 32, algorithms=["HS256"])
    assert address == "ws://127.0.0.1:7880"
    assert claims["roomConfig"]["agents"] == [{"agentName": "firstword"}]
    assert claims["video"]["room"].startswith("first-call-")
