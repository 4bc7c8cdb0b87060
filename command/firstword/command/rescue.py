"""`firstword rescue`: calls another agent to callers whose agent has died, until it is interrupted.

It reads what was typed and set. `firstword.command.rescuer` does the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlsplit

import typer

from firstword.command.environment import load_environment
from firstword.command.rescuer.livekit_rooms import LiveKitError
from firstword.command.rescuer.service import RescueEvent, ignore
from firstword.command.rescuer.watch import RescueOptions, watch
from firstword.command.terminal import BAD_INPUT, INTERRUPTED, fail, tell, tell_json

_NEEDED = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")


def command(
    agent: Annotated[
        list[str] | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="Name under which the workers register; give it once for each. Empty: workers of LiveKit's automatic "
            "dispatch. [default: FIRSTWORD_AGENT_NAME, else firstword]",
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.5, max=60, metavar="SECONDS", help="Time from one look at all rooms to the next.")
    ] = 2.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say in the log who would be called, and call nobody.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each event, one a line, on standard output.")
    ] = False,
) -> None:
    """Call another agent to callers whose agent has died, until Ctrl-C.

    A worker that is killed leaves its callers in rooms without an agent, and LiveKit calls no other. This service asks
    each agent every other second whether it lives. Where one gives no sign for 5 s while a caller is there, it calls
    another one, who says that the call was interrupted. So a caller waits some 7 s, where another worker is there.

    It calls one more agent to a room, never a third. It calls none where no agent of these names had come, and none where
    the agent ended its call by itself. Run as many as you like: they agree on who acts.

    LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET are the workers' own. With FIRSTWORD_CLAIM_KEY the account of a
    caller is known again.

    **Examples**

    `firstword rescue`

    `firstword rescue --agent reception --agent billing`

    `firstword rescue --dry-run`
    """
    environment = load_environment()
    names = frozenset(agent if agent is not None else [environment.get("FIRSTWORD_AGENT_NAME", "firstword")])
    options = _options(environment, names, every, dry_run=dry_run)
    of = ", ".join(repr(name) if name else "automatic dispatch" for name in sorted(names))
    tell(f"Watching rooms of {of} at {_place(options.url)}{'; nobody is called' if dry_run else ''}", err=True)
    try:
        asyncio.run(watch(options, _print if as_json else ignore))
    except LiveKitError as error:
        fail(str(error), code=BAD_INPUT)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _print(event: RescueEvent) -> None:
    """The stable keys of `rescue --json` (docs/rescue.md)."""
    tell_json({"time": round(time.time(), 3), **asdict(event)}, indent=None)


def _options(environment: Mapping[str, str], names: frozenset[str], every: float, *, dry_run: bool) -> RescueOptions:
    missing = [name for name in _NEEDED if not environment.get(name)]
    if missing:
        fail(f"{', '.join(missing)}: expected what the workers have; possible cause: not set here", code=BAD_INPUT)
    url = environment["LIVEKIT_URL"]
    if urlsplit(url).scheme not in ("ws", "wss", "http", "https") or not urlsplit(url).hostname:
        fail(f"LIVEKIT_URL is {_place(url)!r}; expected ws://HOST:PORT, wss, http or https", code=BAD_INPUT)
    return RescueOptions(
        url,
        environment["LIVEKIT_API_KEY"],
        environment["LIVEKIT_API_SECRET"],
        names,
        environment.get("FIRSTWORD_CLAIM_KEY") or None,
        every,
        dry_run,
    )


def _place(url: str) -> str:
    """The URL as it may be printed: neither user, password nor query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
