"""`firstword account`: lists, shows, writes and deletes accounts of the shipped store."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from firstword.agent.accounts.account_json import AccountJSONError, accounts_of
from firstword.agent.accounts.account_store import StoreError
from firstword.agent.accounts.model import Account
from firstword.agent.accounts.sql_store import SQLStore
from firstword.agent.conversation.tools import SHIPPED_TOOLS
from firstword.agent.settings import SettingsError, read_store_url
from firstword.command.terminal import BAD_INPUT, fail, say, tell_json
from firstword.tuning.wording import amount


def command(
    show: Annotated[str | None, typer.Argument(metavar="[ID]", help="Print this account as JSON.")] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the accounts of a JSON file, in place of those with their ids; - is standard input.",
        ),
    ] = None,
    delete: Annotated[str | None, typer.Option(metavar="ID", help="Delete this account, and its last session.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print ids as JSON; an account always is.")] = False,
) -> None:
    """List, show, write and delete accounts of the shipped store.

    The store is the one of `FIRSTWORD_STORE_URL`, in the environment or in `.env.local`; else the file among the user's data. Without an
    argument, prints the id of each account in a line. docs/accounts.md has the fields of an account. A running worker sees what changed
    within a minute. It deletes what is cached of a deleted account within ten minutes.

    **Examples**

    `firstword account 1001`

    `firstword account --save ada.json`

    `firstword account --delete 1001`
    """
    if sum(each is not None for each in (show, save, delete)) > 1:
        fail("expected one of ID, --save and --delete", code=BAD_INPUT)
    try:
        accounts = None if save is None else accounts_of(_text(save), _tools())
        asyncio.run(_do(read_store_url(), show, accounts, delete, as_json=as_json))
    except (SettingsError, AccountJSONError) as error:
        fail(str(error), code=BAD_INPUT)
    except StoreError as error:
        fail(str(error))


async def _do(url: str, show: str | None, save: list[Account] | None, delete: str | None, *, as_json: bool) -> None:
    async with aclosing(await SQLStore.open(url)) as store:
        if save is not None:
            for account in save:
                await store.save(account)
            ids = [account.id for account in save]
            if as_json:
                tell_json({"written": ids})
            else:
                say(f"{amount(len(ids), 'account')} written")
            return
        wanted = show if delete is None else delete
        if wanted is None:
            listed = [id async for ids in store.ids() for id in ids]
            if as_json:
                tell_json({"accounts": listed})
            else:
                for id in listed:
                    say(id)
            return
        found = await store.account(wanted)
        if found is None:
            fail(f"no account {wanted!r}; expected one that `firstword account` lists")
        if delete is not None:
            await store.delete(wanted)
            if as_json:
                tell_json({"deleted": wanted})
            else:
                say(f"account {wanted} deleted")
        else:
            tell_json(asdict(found))


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--save {file} can't be read: {error}", code=BAD_INPUT)


def _tools() -> tuple[str, ...] | None:
    """The tools that there are; None where somebody's own parts have others, which the worker knows when it starts."""
    return None if os.environ.get("FIRSTWORD_PARTS") else tuple(SHIPPED_TOOLS)
