"""`firstword account`: what is written is read again, and what is wrong is one line."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.agent.accounts.examples import ACCOUNTS
from firstword.agent.accounts.model import GENERIC, Account
from firstword.agent.conversation.tools import SHIPPED_TOOLS
from firstword.command.__main__ import app

PAGE = Path(__file__).parents[2] / "docs" / "accounts.md"


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRSTWORD_STORE_URL", f"sqlite:///{tmp_path / 'accounts.db'}")
    monkeypatch.delenv("FIRSTWORD_PARTS", raising=False)


def account(*arguments: str, given: str | None = None) -> tuple[int, str]:
    """Exit code, and what was printed on either."""
    result = CliRunner().invoke(app, ["account", *arguments], input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output.strip()


def test_accounts_are_listed_shown_and_deleted() -> None:
    """None of LiveKit's settings is needed."""
    assert account() == (0, "\n".join(each.id for each in ACCOUNTS))
    code, shown = account("1001")
    assert (code, json.loads(shown)) == (0, json.loads(json.dumps(asdict(ACCOUNTS[0]))))
    assert account("--delete", "1001") == (0, "account 1001 deleted")
    assert account("1001") == (1, "firstword: no account '1001'; expected one that `firstword account` lists")


def test_the_account_of_the_page_is_written() -> None:
    """What it leaves out is as for a caller whom nobody knows."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert account("--save", "-", given=example) == (0, "1 account written")
    written = json.loads(account("2001")[1])
    assert written == {**json.loads(json.dumps(asdict(GENERIC))), **json.loads(example)}


def test_accounts_of_a_file_are_written(tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    file.write_text(json.dumps([{"id": "a", "name": "Ada"}, {"id": "b", "name": "Bea"}]))
    assert account("--save", str(file)) == (0, "2 accounts written")
    assert {"a", "b"} < set(account()[1].split())


def test_the_pages_fields_and_tools_are_the_codes() -> None:
    """The schema of the shipped store."""
    page = PAGE.read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page[page.index("| field | is |") :], re.MULTILINE)
    assert [name for name, _ in rows] == [field.name for field in fields(Account)]
    assert re.findall(r"`(\w+)`", dict(rows)["tools"]) == list(SHIPPED_TOOLS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "expected JSON; possible cause: "),
        ("[1]", "account 1: expected an object, not int"),
        ('{"name": "Ada"}', "account 1: 'id' is missing"),
        ('{"id": "a", "name": ""}', "account 1: 'name' is missing"),
        ('[{"id": "a", "name": "Ada"}, {"id": "b", "name": 1}]', "account 2: 'name' is int, expected a text"),
        ('{"id": "a", "name": "Ada", "tool": []}', "account 1: 'tool' is no field; expected id, name, "),
        ('{"id": "a", "name": "Ada", "tools": "look_up"}', "account 1: 'tools' is str, expected a list of texts"),
        (
            '{"id": "a", "name": "Ada", "tools": ["transfer"]}',
            "account 1: 'tools' has 'transfer', expected of current_time, look_up, end_call",
        ),
        (
            '{"id": "a", "name": "Ada", "time_zone": "CEST/Berlin"}',
            "account 1: 'time_zone' is 'CEST/Berlin', expected a name as Europe/Berlin",
        ),
    ],
)
def test_what_is_no_account_is_one_line_and_writes_nothing(given: str, said: str) -> None:
    before = account()
    code, printed = account("--save", "-", given=given)
    assert (code, printed.startswith(f"firstword: {said}"), "\n" in printed) == (2, True, False), printed
    assert account() == before


def test_tools_of_own_parts_are_the_workers_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTWORD_PARTS", "own_parts:OwnTool")
    given = '{"id": "a", "name": "Ada", "tools": ["opening_hours"]}'
    assert account("--save", "-", given=given) == (0, "1 account written")


def test_ids_are_json_for_programs() -> None:
    given = '{"id": "a", "name": "Ada"}'
    assert json.loads(account("--save", "-", "--json", given=given)[1]) == {"written": ["a"]}
    assert json.loads(account("--delete", "a", "--json")[1]) == {"deleted": "a"}
    assert json.loads(account("--json")[1]) == {"accounts": [each.id for each in ACCOUNTS]}


def test_two_wishes_at_once_and_a_wrong_store_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert account("1001", "--delete", "1001") == (2, "firstword: expected one of ID, --save and --delete")
    monkeypatch.setenv("FIRSTWORD_STORE_URL", "mysql://user:hush@host/db")
    code, printed = account()
    assert (code, "hush" in printed) == (2, False)
    assert printed.startswith(
        "firstword: FIRSTWORD_STORE_URL is wrong (a secret, not shown); expected `sqlite:///FILE`"
    )
